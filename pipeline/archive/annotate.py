"""Annotates an archive: what is done already stays, the rest is shared out among workers."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.archive.account import Account, Progress
from pipeline.archive.archive import read_settings
from pipeline.archive.done import Done
from pipeline.archive.find import NO_TEXT, FoundArchive, FoundVideo, find_videos
from pipeline.archive.job import Job, Message, Outcome, Task, Unusable
from pipeline.archive.journal import Journal
from pipeline.archive.layout import LOCK, SETTINGS, WORK
from pipeline.archive.local_pool import LocalPool
from pipeline.archive.lock import locked
from pipeline.archive.manifest import Manifest
from pipeline.archive.results import Results
from pipeline.archive.settings import check_for_archive, difference, digest, result_settings, weights_name
from pipeline.config.build import detector_config, load_run_config
from pipeline.config.schema import RunConfig
from pipeline.config.yaml_file import merge
from pipeline.core.cores import usable_cores
from pipeline.core.errors import BackendError, SinkError, TracklightError, UsageError
from pipeline.core.whole_file import write_whole_json

MOST_WORKERS_ON_GPU = 2
"""By default: they share the card, and two keep it busy while one decodes."""


@dataclass(frozen=True, slots=True)
class Annotated:
    """What came of it.

    Attributes:
        status: completed, partial (some videos were given up) or interrupted.
        n_skipped: videos that were done before.
        n_done: videos done by this call.
        n_redone: of these, the ones that had results of another file or of other settings.
        given_up: (name, status, reason) of those that are `corrupt` or `failed`.
        progress: the last look.
    """

    status: str
    n_skipped: int
    n_done: int
    n_redone: int
    given_up: tuple[tuple[str, str, str], ...]
    progress: Progress


class Annotation:
    """One call of `annotate`.

    Args:
        config: sources, detector, tracker, rules.
        out: folder of the results; with `ray` one that all machines reach under the same path.
        workers: processes; None = one per core, or two on a GPU.
        ray: `local` or the address of a Ray cluster; None = processes of this machine.
        exist_ok: annotate again what was done with other settings, instead of refusing.
        verbose: workers log.

    Raises:
        UsageError, ConfigError: sources, settings or a folder that cannot work. Nothing was written then.
        SourceError: nothing there, or no video.
        CheckpointError: the weights cannot be had.
    """

    def __init__(
        self,
        config: RunConfig,
        out: Path,
        *,
        workers: int | None = None,
        ray: str | None = None,
        exist_ok: bool = False,
        verbose: bool = False,
    ) -> None:
        check_for_archive(config)
        if workers is not None and workers < 1:
            raise UsageError(f"--workers: wanted 1 or more, found {workers}")
        self._config = config
        # Workers on other machines start in other folders.
        self._out = out.expanduser().absolute()
        self._n_workers, self._ray, self._verbose = workers, ray, verbose
        self._found = find_videos(config.sources, self._out)
        self._settings = result_settings(config)
        _check_folder(self._out)
        if not exist_ok:
            _check_same(self._out, self._found, self._settings)
        self._stopping = threading.Event()
        self._account: Account | None = None

    def stop(self, *, at_once: bool = False) -> None:
        """Give up the videos in work; what is whole stays. From any thread, or a signal's handler; idempotent.

        Args:
            at_once: makes no difference.
        """
        self._stopping.set()

    def progress(self) -> Progress | None:
        """How far it is; None before it has begun."""
        return None if self._account is None else self._account.progress()

    def run(self, watch: Callable[[Annotation], AbstractContextManager[Any]] | None = None) -> Annotated:
        """Annotate what is not done.

        Args:
            watch: shows the progress while its context lasts.

        Raises:
            UsageError: another process works in the folder, or no worker can begin with these settings.
            BackendError: no worker can begin, or all die.
            SinkError: the folder cannot be written.
        """
        with _writing(self._out), locked(self._out):
            results = Results(self._out)
            head = {"format": 1, "root": str(self._found.root), "settings": self._settings}
            write_whole_json(self._out / SETTINGS, head)
            journal = Journal(self._out)
            journal.complete(results.done.values())
            manifest = Manifest(self._out, self._found, self._settings, weights_name(self._config), results.done)
            with watch(self) if watch else nullcontext():
                try:
                    return self._run(results, journal, manifest)
                finally:
                    results.clear()

    def _run(self, results: Results, journal: Journal, manifest: Manifest) -> Annotated:
        settings = digest(self._settings)
        current = {v.name for v in self._found.videos if _is_current(results.done.get(v.name), v, settings)}
        before = set(results.done) - current
        for name in current:
            manifest.finished(name)
        self._account = account = Account(
            self._found.videos, {name: results.done[name] for name in current}, most=self._config.max_frames
        )
        waiting = [video for video in self._found.videos if video.name not in current]
        given_up: list[tuple[str, str, str]] = []
        done: set[str] = set()
        status = "failed"
        try:
            for name in self._found.unnamed:
                given_up.append((name, "failed", NO_TEXT))
                journal.failed(*given_up[-1])
                manifest.give_up(*given_up[-1])
            manifest.write("running")
            for message in self._messages(waiting, settings):
                account.hear(message)
                if isinstance(message, Unusable):
                    raise (UsageError if message.is_usage else BackendError)(message.reason)
                if isinstance(message, Outcome):
                    if message.made is not None:
                        one = results.commit(message.made)
                        journal.finished(one)
                        manifest.finished(one.name)
                        account.finish(one)
                        done.add(one.name)
                    elif message.status != "stopped":
                        journal.failed(message.name, message.status, message.reason)
                        manifest.give_up(message.name, message.status, message.reason)
                        given_up.append((message.name, message.status, message.reason))
                    manifest.write_soon()
            left = len(waiting) + len(self._found.unnamed) - len(done) - len(given_up)
            status = "interrupted" if left else "partial" if given_up else "completed"
        finally:
            manifest.write(status)
        return Annotated(status, len(current), len(done), len(done & before), tuple(given_up), account.progress())

    def _messages(self, waiting: Sequence[FoundVideo], settings: str) -> Iterator[Message]:
        if not waiting:
            return
        # The longest first: a long one that begins last would keep one worker busy and the others idle.
        ordered = sorted(waiting, key=lambda video: -video.size)
        tasks = [Task(number, video) for number, video in enumerate(ordered)]
        names = tuple(video.name for video in self._found.videos)
        config = self._config.model_dump(mode="json")
        job = Job(config, self._found.root, self._out / WORK, uuid.uuid4().hex[:12], settings, names, threads=1)
        if self._ray is not None:
            from pipeline.archive.ray_pool import RayPool

            pool = RayPool(job, tasks, self._n_workers, self._stopping, address=self._ray)
            yield from pool.messages()
            return
        n_workers = min(self._n_workers or default_workers(self._config), len(tasks))
        job = replace(job, threads=max(usable_cores() // n_workers, 1))
        yield from LocalPool(job, tasks, n_workers, self._stopping, verbose=self._verbose).messages()


def annotate_archive(
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    weights: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    workers: int | None = None,
    ray: str | None = None,
    exist_ok: bool = False,
) -> Annotated:
    """Annotate all videos of folders, globs or files; a second call goes on where the first one ended.

    Workers are processes that import the calling script, which therefore calls this below `if __name__ == "__main__":`.
    `pipeline.archive.archive.read_archive` reads the results.

    Args:
        source: one or several folders, globs or files.
        out: folder of the results.
        weights: a weights file or a model name; default: the model that ships with the project.
        settings: nested settings as in a configuration file, such as `{"tracker": {"buffer_s": 2}}`.
        workers: processes; None = one per core, or two on a GPU.
        ray: `local` or the address of a Ray cluster; None = processes of this machine.
        exist_ok: annotate again what was done with other settings, instead of refusing.

    Raises:
        TracklightError: as for `Annotation`. Single videos that cannot be read raise nothing: see `given_up`.
    """
    sources = [str(one) for one in ([source] if isinstance(source, str | Path) else source)]
    flags: dict[str, Any] = {"sources": sources}
    if weights is not None:
        flags["detector"] = {"weights": str(weights)}
    config = load_run_config(None, merge(dict(settings or {}), flags), [])
    return Annotation(config, Path(out), workers=workers, ray=ray, exist_ok=exist_ok).run()


def default_workers(config: RunConfig) -> int:
    """One per core, each with one thread, does the most on a CPU; on a GPU two."""
    import torch

    device = str(detector_config(config.detector).device)
    on_gpu = device != "cpu" and (device != "auto" or torch.cuda.is_available())
    return MOST_WORKERS_ON_GPU if on_gpu else usable_cores()


def _is_current(done: Done | None, video: FoundVideo, settings: str) -> bool:
    """Whether results are of this very file, made with these settings."""
    if done is None:
        return False
    return (done.size, done.mtime_ns, done.settings) == (video.size, video.mtime_ns, settings)


def _check_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: wanted a folder for the results, found a file; name another")
    if out.is_dir() and not (out / SETTINGS).exists() and any(path.name not in (LOCK, WORK) for path in out.iterdir()):
        raise UsageError(f"{out}: wanted a new folder or one of an earlier annotate, found other files; name another")


def _check_same(out: Path, found: FoundArchive, settings: Mapping[str, Any]) -> None:
    """The folder was begun with the same videos and settings."""
    if not (out / SETTINGS).exists():
        return
    before = read_settings(out)
    now = {"root of the videos": str(found.root), **settings}
    differs = difference({"root of the videos": before["root"], **before["settings"]}, now)
    if differs is not None:
        raise UsageError(
            f"{out}: wanted the settings it was begun with, found {differs}; name another folder, or annotate what "
            "differs again with --exist-ok"
        )


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """What the system refuses becomes one line."""
    try:
        yield
    except OSError as error:
        if isinstance(error, TracklightError):
            raise
        raise SinkError(f"{folder}: wanted to write there, found: {error.strerror or error}") from error
