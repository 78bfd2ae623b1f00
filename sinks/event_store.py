"""Events, heatmaps and the account of the run in a database that outlives it."""

from __future__ import annotations

import fnmatch
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

from pydantic import AwareDatetime, ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.core.errors import SinkError, TracklightError
from pipeline.core.event import Event, EventKind
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.result import FrameResult
from pipeline.core.run_facts import RunFacts
from pipeline.core.scene import Closing
from pipeline.records.address import parse_store_address
from pipeline.records.making import closing_records, event_record, layout_records, utc_of_ns
from pipeline.records.process import this_process
from pipeline.records.resume import take_over, unfinished_run
from pipeline.records.retention import Limits, Retention
from pipeline.records.rows import StoredRun, StoredSource
from pipeline.records.store import check_version, open_store
from pipeline.records.writer import StoreWriter
from sinks.clips import clip_path
from sinks.output_path import check_output
from sinks.snapshots import SnapshotWriter


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class EventStoreConfig:
    """Where records go, and which are kept."""

    url: str = Field(repr=False, description="file (.db .sqlite .sqlite3) or postgresql://user:password@host/database")
    resume: bool = Field(
        default=False, description="go on with the newest unfinished run of the same configuration and sources"
    )
    spool: int = Field(default=100_000, ge=100, description="most records that wait while the store is away")
    recorded_at: dict[str, AwareDatetime] = Field(
        default_factory=dict,
        description="when footage was recorded, by source id or pattern (cam*): ISO time with its offset from UTC",
    )
    snapshots: bool = Field(default=False, description="keep a picture of the beginning of each event")
    snapshot_kinds: tuple[EventKind, ...] = Field(
        default=tuple(kind for kind in EventKind if kind is not EventKind.OBJECT),
        description="kinds of events that get a picture",
    )
    snapshots_per_s: float = Field(default=5.0, gt=0, le=100, description="most pictures (1/s)")
    retention_days: float | None = Field(default=None, gt=0, description="delete events that are older (days)")
    retention_max_mb: float | None = Field(
        default=None, gt=0, description="delete the oldest events beyond this size of rows and pictures (MB)"
    )


class EventStoreSink:
    """Hands every event to a thread that writes it within a second; the pipeline never waits for the database.

    A store that exists is added to, never overwritten. One that cannot be opened when the run begins is an error; one
    that vanishes later is not: records wait in memory until it is back.

    Args:
        config: the store, and what is kept.
        class_names: names by class_id; events bring their own.

    Raises:
        UsageError: the address is no store's.
    """

    needs_image = False
    needs_main_thread = False
    is_live = False
    shared = True

    def __init__(self, config: EventStoreConfig, *, class_names: tuple[str, ...]) -> None:
        self._config = config
        self._address = parse_store_address(config.url)
        self.needs_image = config.snapshots
        self._facts = RunFacts()
        self._writer: StoreWriter | None = None
        self._snapshots: SnapshotWriter | None = None
        self._sources: dict[str, _Source] = {}
        self._before: dict[str, StoredSource] = {}
        """Live sources as the run that goes on left them."""
        self._is_closed = False

    @property
    def counters(self) -> Mapping[str, int]:
        """What happened to the records and pictures."""
        parts = (self._writer, self._snapshots)
        return {name: n for part in parts if part is not None for name, n in part.counters.items()}

    def begin_run(self, facts: RunFacts) -> None:
        """Keep what the run says of itself."""
        self._facts = facts

    def open(self, info: StreamInfo) -> None:
        """Open the store at the first source. Raises SinkError."""
        if self._writer is None:
            try:
                run = self._begin()
            except TracklightError as error:
                raise SinkError(str(error)) from error
            limits = Limits(self._config.retention_days, self._config.retention_max_mb)
            retention = None if limits == Limits() else Retention(limits)
            self._writer = StoreWriter(self._address, run, spool=self._config.spool, retention=retention)
            if self._config.snapshots:
                self._snapshots = SnapshotWriter(self._address, self._config.snapshots_per_s)
                self._snapshots.start()
            self._writer.start()
        name = info.source_id
        row = StoredSource(
            self._writer.run_id,
            name,
            self._facts.addresses.get(name, ""),
            info.is_live,
            info.width_px,
            info.height_px,
            first_utc=None,
            first_s=None,
            last_s=None,
            frames=0,
            ended=False,
        )
        # A camera that begins anew in the run goes on with what it has counted, as one of a run that is resumed.
        before = self._sources[name].row if name in self._sources else self._before.get(name)
        if before is not None and info.is_live:
            row = replace(
                row, first_utc=before.first_utc, first_s=before.first_s, last_s=before.last_s, frames=before.frames
            )
        self._sources[name] = _Source(row, self._recorded_at(name), name in self._facts.videos)
        self._writer.put_source(row)

    def write(self, result: FrameResult) -> None:
        """Hand the frame's events over. Raises SinkError if the sink is not open."""
        writer = self._open_writer(result.frame.source_id)
        source = self._sources[result.frame.source_id]
        source.see(result.frame)
        writer.put_source(source.row)
        if result.scene is not None and not source.has_layout:
            source.has_layout = True
            for record in layout_records(writer.run_id, result.frame.source_id, result.scene.layout):
                writer.put(record)
        for event in result.events:
            self._hand(writer, source, event, result.frame)

    def end_source(self, closing: Closing) -> None:
        """Hand over what the source's analytics say at its end. Raises SinkError if the sink is not open."""
        writer = self._open_writer(closing.source_id)
        source = self._sources[closing.source_id]
        for event in closing.events:
            self._hand(writer, source, event, None)
        for record in closing_records(writer.run_id, closing):
            writer.put(record)
        source.row = replace(source.row, ended=True)
        writer.put_source(source.row)

    def close(self) -> None:
        """Write what waits. Idempotent; what the store does not take goes to a file that a warning names."""
        self._is_closed = True
        if self._snapshots is not None:
            self._snapshots.close()
        if self._writer is not None:
            self._writer.close()

    def end_run(self, status: str) -> None:
        """Note how the run ended."""
        if self._writer is not None:
            self._writer.end_run(status)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _begin(self) -> StoredRun:
        """The run's row; the store is there and can be written then."""
        facts, now = self._facts, datetime.now(UTC)
        with open_store(self._address, read_only=False) as store:
            found = unfinished_run(store, facts.config_digest, facts.addresses) if self._config.resume else None
            if found is not None:
                run, sources = take_over(store, found, facts.command)
                self._before = {source.source_id: source for source in sources if source.is_live}
                return run
        # Sorts by start; two that begin in one millisecond differ in the rest.
        run_id = f"{now:%Y%m%d-%H%M%S}-{now.microsecond // 1000:03d}-{secrets.token_hex(2)}"
        return StoredRun(
            *(run_id, now, None, now, "running", version("tracklight")),
            *(facts.config_digest, facts.command, this_process()),
        )

    def _open_writer(self, source_id: str) -> StoreWriter:
        if self._writer is None or self._is_closed or source_id not in self._sources:
            raise SinkError(f"{self._address}: wanted open() before write(), found the sink not open for {source_id}")
        return self._writer

    def _recorded_at(self, source_id: str) -> datetime | None:
        found = (at for name, at in self._config.recorded_at.items() if fnmatch.fnmatchcase(source_id, name))
        return next(found, None)

    def _hand(self, writer: StoreWriter, source: _Source, event: Event, frame: Frame | None) -> None:
        picture = source.pictures.pop(event.event_id, "")
        if not picture and self._snapshots is not None and frame is not None and self._is_pictured(event, frame):
            picture = self._snapshots.take(writer.run_id, event, frame.image)
        if picture and event.end_s is None:
            source.pictures[event.event_id] = picture
        writer.put(event_record(writer.run_id, event, source.utc(event), picture, self._clip(source, event)))

    def _clip(self, source: _Source, event: Event) -> str:
        """Where footage of the event is, or will be: a recorder's clip, or a place in the video that is read."""
        if event.kind in self._facts.clip_kinds:
            return str(clip_path(Path(self._facts.clip_folder), event.source_id, event.event_id))
        return source.clip(event)

    def _is_pictured(self, event: Event, frame: Frame) -> bool:
        """An end without a picture gets none: what it shows is no longer its beginning."""
        return event.kind in self._config.snapshot_kinds and event.frame == frame.index and event.phase != "end"


def check_store(text: str) -> None:
    """Tell before a run what would keep its store from being opened; a store of an older version is left as it is.

    Raises:
        UsageError: no store's address, no store at that place, one of a newer version, or a folder that takes no files.
        MissingExtraError: PostgreSQL's driver is not installed.
        StoreError: the database cannot be reached.
    """
    address = parse_store_address(text)
    if address.path is not None:
        check_output(address.path, exist_ok=True)
        if not address.path.exists() or not address.path.stat().st_size:
            return
    check_version(address)


class _Source:
    """A source's row, and what turns its times into wall times."""

    def __init__(self, row: StoredSource, recorded_at: datetime | None, is_video: bool) -> None:
        self.row = row
        self.pictures: dict[str, str] = {}
        """By id of an event that goes on, so that its end does not lose it."""
        self.has_layout = False
        self._recorded_at = recorded_at
        self._is_video = is_video
        self._wall_minus_clock_ns = time.time_ns() - time.monotonic_ns()

    def see(self, frame: Frame) -> None:
        """A frame has passed."""
        row = self.row
        time_s = frame.captured_ns / 1e9 if row.is_live or frame.pts_s is None else frame.pts_s
        if row.first_s is None:
            row = replace(row, first_s=time_s, first_utc=self._utc(time_s, frame.captured_ns))
        self.row = replace(row, frames=row.frames + 1, last_s=time_s)

    def utc(self, event: Event) -> datetime | None:
        """Wall time of an event's beginning."""
        return self._utc(event.start_s, event.captured_ns)

    def clip(self, event: Event) -> str:
        """A media fragment of the video; empty where there is no footage, or it is played on the clock's time."""
        if not self._is_video or self.row.is_live:
            return ""
        end = f",{event.end_s:.3f}" if event.end_s is not None and event.end_s > event.start_s else ""
        return f"{self.row.address}#t={event.start_s:.3f}{end}"

    def _utc(self, time_s: float, captured_ns: int) -> datetime | None:
        if self.row.is_live:
            return utc_of_ns(captured_ns + self._wall_minus_clock_ns)
        return None if self._recorded_at is None else self._recorded_at + timedelta(seconds=time_s)
