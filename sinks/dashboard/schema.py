"""What the interface for programs answers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from pipeline.core.control import SourceState, SourceStatus
from pipeline.core.latency_cost import LatencyCost
from pipeline.core.url import redact
from sinks.dashboard.history import STEP_S, HistoryStep
from sinks.dashboard.recent_events import RecentEvent
from sinks.dashboard.recent_tracks import RecentTrack


class ErrorAnswer(BaseModel):
    """What was wrong."""

    error: str = Field(description="one line: what was wanted, what was found")


class SourceAnswer(BaseModel):
    """One source at one moment."""

    id: str = Field(description="its name, unique within the run")
    state: SourceState = Field(description="what it is doing")
    is_live: bool | None = Field(description="whether it is a live one; null until it was open")
    width_px: int = Field(description="of its frames; 0 until it was open")
    height_px: int = Field(description="of its frames; 0 until it was open")
    produced: int = Field(description="frames it gave so far")
    emitted: int = Field(description="frames that were analysed so far")
    dropped: dict[str, int] = Field(description="frames left out, by reason")
    frames_per_s: float = Field(description="results of the last seconds, per second")
    latency_p50_ms: float = Field(description="capture to result, half of the last frames")
    latency_p95_ms: float = Field(description="capture to result, 95% of the last frames")
    age_s: float | None = Field(description="since the last result; null before the first")
    counters: dict[str, int] = Field(description="what it left out or went through: reconnects, corrupt, ...")
    error: str | None = Field(description="why it ended, else null")
    shown_age_ms: float | None = Field(
        description="age of what is shown when a frame arrives, on average; null: unknown"
    )
    staleness_frames: float | None = Field(description="the same in frames")
    ap50_lost: float | None = Field(
        description="share of AP50 that latency took in the last half minute, estimated without labels, 0 to 1; null "
        "for a recorded source, without a tracker, or before there is enough to tell"
    )

    @classmethod
    def of(cls, status: SourceStatus) -> SourceAnswer:
        """Without credentials."""
        cost = LatencyCost.shown(status.latency_costs)
        return cls(
            id=status.source_id,
            state=status.state,
            is_live=status.is_live,
            width_px=status.width_px,
            height_px=status.height_px,
            produced=status.produced,
            emitted=status.emitted,
            dropped=dict(status.dropped),
            frames_per_s=round(status.frames_per_s, 2),
            latency_p50_ms=round(status.latency_p50_ms, 1),
            latency_p95_ms=round(status.latency_p95_ms, 1),
            age_s=None if status.age_s is None else round(status.age_s, 3),
            counters=dict(status.counters),
            # What failed is the source, whose name stands above already.
            error=None if status.error is None else one_line(status.error.removeprefix(f"source:{status.source_id}: ")),
            shown_age_ms=_rounded(cost.age_ms if cost else None, 1),
            staleness_frames=_rounded(cost.staleness_frames if cost else None, 2),
            ap50_lost=_rounded(cost.ap50_lost if cost else None, 4),
        )


class AddSource(BaseModel):
    """A source to take in."""

    address: str = Field(min_length=1, max_length=4096, description="as after --source: a file, camera or URL")


class AddedSource(BaseModel):
    """The source that was taken in."""

    id: str = Field(description="the name it got")


class TrackAnswer(BaseModel):
    """One object that was seen lately."""

    track_id: int = Field(description="unique within the source")
    class_name: str = Field(description="at its last sighting")
    confidence: float = Field(description="of its last detection, 0 to 1")
    frames: int = Field(description="in how many frames it was seen")
    seen_s: float = Field(description="from its first to its last sighting")
    age_s: float = Field(description="since its last sighting")
    thumbnail: str | None = Field(description="address of a small picture of it, or null")

    @classmethod
    def of(cls, track: RecentTrack, now_ns: int, picture_url: str) -> TrackAnswer:
        """`picture_url`: where a picture of it is, if there is one."""
        return cls(
            track_id=track.track_id,
            class_name=track.class_name,
            confidence=round(track.confidence, 3),
            frames=track.frames,
            seen_s=round((track.last_ns - track.first_ns) / 1e9, 2),
            age_s=round(max(now_ns - track.last_ns, 0) / 1e9, 2),
            thumbnail=f"{picture_url}?v={track.jpeg_number}" if track.jpeg else None,
        )


class EventAnswer(BaseModel):
    """One event, as it was told last."""

    event_id: str = Field(description="the same whenever the same footage is analysed with the same rules")
    kind: str = Field(description="crossing, visit, loitering, ...")
    phase: str = Field(description="begin, end, or instant for what has no duration")
    rule: str = Field(description="name of the line or zone")
    source: str = Field(description="id of the source")
    start_s: float = Field(description="when it began: media time of a recorded source, capture time of a live one (s)")
    end_s: float | None = Field(description="when it ended (s); null while it goes on")
    wall_s: float = Field(description="when it began, seconds since 1970")
    track_ids: list[int] = Field(description="the objects involved")
    class_name: str | None = Field(description="of the object, null where there is none")
    values: dict[str, Any] = Field(description="what belongs to the kind")
    thumbnail: str | None = Field(description="address of a small picture of it, or null")

    @classmethod
    def of(cls, kept: RecentEvent, picture_url: str) -> EventAnswer:
        """`picture_url`: where a picture of it is, if there is one."""
        told = kept.event.to_json()
        same = ("event_id", "kind", "phase", "rule", "source", "start_s", "end_s", "track_ids", "values")
        return cls(
            **{name: told[name] for name in same},
            class_name=kept.event.class_name or None,
            wall_s=round(kept.wall_s, 3),
            thumbnail=picture_url if kept.jpeg else None,
        )


class StepAnswer(BaseModel):
    """Some seconds of a source."""

    age_s: float = Field(description="how long ago they began")
    frames: int = Field(description="results")
    latency_p50_ms: float = Field(description="capture to result, half of the frames")
    latency_p95_ms: float = Field(description="capture to result, 95% of the frames")
    objects_mean: float = Field(description="objects in a frame, on average")
    objects_max: int = Field(description="most objects in a frame")
    events: int = Field(description="how many happened")
    ap50_lost_percent: float = Field(
        description="share of AP50 that latency took, estimated; 0 where that is not known"
    )


class HistoryAnswer(BaseModel):
    """The last 15 minutes of a source. Steps without results are left out."""

    step_s: int = Field(description="length of a step")
    steps: list[StepAnswer] = Field(description="oldest first")

    @classmethod
    def of(cls, steps: list[HistoryStep], now_ns: int) -> HistoryAnswer:
        """`now_ns`: on the run's clock."""
        return cls(
            step_s=STEP_S,
            steps=[
                StepAnswer(
                    age_s=round((now_ns - step.begin_ns) / 1e9, 2),
                    frames=step.frames,
                    latency_p50_ms=round(step.latency_p50_ms, 1),
                    latency_p95_ms=round(step.latency_p95_ms, 1),
                    objects_mean=round(step.objects_mean, 2),
                    objects_max=step.objects_max,
                    events=step.events,
                    ap50_lost_percent=round(100 * step.ap50_lost, 1),
                )
                for step in steps
            ],
        )


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def one_line(text: str) -> str:
    """A text for people, without credentials and line breaks."""
    return " ".join(redact(text).split())
