"""A detector on a stream, in exact simulated time: whole nanoseconds, nothing waits, nothing is rounded.

Source: Li, Wang and Ramanan, "Towards Streaming Perception" (arXiv 2005.10420).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pipeline.core.errors import UsageError
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.outputs import Output
from pipeline.streaming.schedulers import Scheduler
from pipeline.streaming.stream import Stream


@dataclass(frozen=True, slots=True)
class Run:
    """One frame on the device.

    Attributes:
        frame: which.
        begin_ns, end_ns: from when until when, ns since the stream's first frame arrived.
    """

    frame: int
    begin_ns: int
    end_ns: int


def simulate(stream: Stream, scheduler: Scheduler, draws: Iterator[int]) -> list[Run]:
    """Run one device on a stream that it is given the newest frame of.

    A run that does not end before the stream does (`stream.end_ns`) is lost.

    Args:
        stream: the stream.
        scheduler: says at each free moment whether to begin; its `begin` has been called for this stream.
        draws: runtimes in ns, one per run; left where it stands, so that several sequences can share it.

    Raises:
        UsageError: a drawn runtime that is not above 0, or no runtime left.
    """
    runs: list[Run] = []
    now, looked_at = 0, -1
    while now < stream.end_ns:
        newest = stream.newest(now)
        waited = newest == looked_at
        if waited:
            newest += 1
            if newest == stream.n_frames:
                break
            now = stream.arrival_ns(newest)
        looked_at = newest
        if not scheduler.take(now, newest, waited):
            continue
        begin, now = now, now + _drawn(draws, stream)
        if now < stream.end_ns:
            runs.append(Run(newest, begin, now))
    return runs


def simulate_unlimited(stream: Stream, draws: Iterator[int]) -> list[Run]:
    """Run every frame from its arrival on, on a device of its own; in the order in which they end.

    A frame may be overtaken by a later one; its result then replaces the newer one. Nothing is lost at the end.

    Args:
        stream: the stream.
        draws: runtimes in ns, one per frame.

    Raises:
        UsageError: a drawn runtime that is not above 0, or no runtime left.
    """
    arrivals = [stream.arrival_ns(frame) for frame in range(stream.n_frames)]
    runs = [Run(frame, arrival, arrival + _drawn(draws, stream)) for frame, arrival in enumerate(arrivals)]
    return sorted(runs, key=lambda run: run.end_ns)


def outputs(runs: Iterable[Run], boxes_of_frame: Callable[[int], Boxes]) -> list[Output]:
    """What these runs put out, given what the detector finds in each frame."""
    return [Output(run.end_ns, run.frame, boxes_of_frame(run.frame)) for run in runs]


def _drawn(draws: Iterator[int], stream: Stream) -> int:
    runtime = next(draws, None)
    if runtime is None:
        raise UsageError(f"{stream.name}: wanted a runtime for every run, found too few")
    if runtime <= 0:
        raise UsageError(f"{stream.name}: wanted runtimes above 0 ns, found {runtime}")
    return runtime
