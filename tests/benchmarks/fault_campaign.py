"""Four RTSP cameras, broken in every way over and over, and what becomes of a run that watches them.

    python tests/benchmarks/fault_campaign.py --minutes 20 --seed 7

Each camera is a real server process behind a fault proxy. Everything random follows from the seed. It counts faults and
how long a camera takes to be live again once its server is back, ids that two people share, memory, threads and files.
The picture carries a number, the "person": where a break is longer than the tracker's memory, somebody else stands at
the same place afterwards.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "servers"))

import stamped_picture
from fault_proxy import FaultProxy
from rtsp_process import RtspServer

from pipeline.core.clock import MonotonicClock
from pipeline.core.detections import Detections
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.result import FrameResult
from pipeline.core.url import Url
from pipeline.runtime.runner import Runner
from pipeline.runtime.runner_settings import RunnerSettings
from pipeline.runtime.sink_worker import SinkBinding
from sources.network import NetworkConfig, NetworkSource
from sources.reconnect import ReconnectConfig, ReconnectingSource
from tracker.bytetrack import ByteTrackConfig, ByteTracker

PASSWORD = "campaign"
LIVE_AGAIN_S = 5.0
LONG_BREAK_S = 1.2
"""Longer than the tracker's memory (buffer_s, 1 s)."""
PLAUSIBLE_MS = 8000
WARM_S = 20.0


class PersonDetector:
    """One person at one place in every picture whose stamp can be read."""

    class_names = ("person",)

    def warmup(self) -> None:
        """Nothing to do."""

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """A box in the middle."""
        found = []
        for frame in frames:
            height, width = frame.shape_hw
            if stamped_picture.age_ms(frame.image) > PLAUSIBLE_MS:
                found.append(Detections.empty())
                continue
            box = np.array([[width * 0.4, height * 0.4, width * 0.6, height * 0.9]], np.float32)
            found.append(Detections(box, np.array([0.9], np.float32), np.array([0])))
        return found

    def close(self) -> None:
        """Nothing to do."""


class Watcher:
    """A recording sink that notes when each camera's newest picture was made, and who had which id."""

    needs_image = True
    needs_main_thread = False
    is_live = False
    shared = True

    def __init__(self) -> None:
        self.made_ms: dict[str, int] = {}
        self.people: dict[tuple[str, int], set[int]] = {}
        self.last_id: dict[str, int] = {}

    def open(self, info: StreamInfo) -> None:
        """Nothing to do."""

    def write(self, result: FrameResult) -> None:
        """Note a result."""
        name = result.frame.source_id
        made_ms, person = stamped_picture.read(result.frame.image)
        if stamped_picture.age_ms(result.frame.image) > PLAUSIBLE_MS:
            return
        self.made_ms[name] = made_ms
        for track_id in result.tracks.track_id.tolist():
            self.people.setdefault((name, track_id), set()).add(person)
            self.last_id[name] = track_id

    def close(self) -> None:
        """Nothing to do."""


@dataclass
class Outcome:
    """What a campaign found."""

    seed: int
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    back_s: dict[str, list[float]] = field(default_factory=dict)
    never_back: list[str] = field(default_factory=list)
    kept_ids: int = 0
    short_breaks: int = 0
    shared_ids: int = 0
    n_ids: int = 0
    threads_left: int = 0
    files_left: int = 0
    rss_mb: list[float] = field(default_factory=list)
    frames: int = 0
    reconnects: int = 0
    errors: tuple[str, ...] = ()

    def summary(self) -> dict[str, object]:
        """JSON-ready figures."""
        every = sorted(second for seconds in self.back_s.values() for second in seconds)
        return {
            "seed": self.seed,
            "seconds": round(self.seconds),
            "faults": sum(self.faults.values()),
            "by_kind": dict(sorted(self.faults.items())),
            "live_again_s": {
                kind: {"median": round(float(np.median(s)), 2), "max": round(max(s), 2)}
                for kind, s in sorted(self.back_s.items())
            },
            "live_again_worst_s": round(every[-1], 2) if every else None,
            "longer_than_5_s": sum(second > LIVE_AGAIN_S for second in every),
            "never_back": self.never_back,
            "short_breaks_that_kept_the_id": f"{self.kept_ids} of {self.short_breaks}",
            "ids": self.n_ids,
            "ids_of_two_people": self.shared_ids,
            "threads_left": self.threads_left,
            "files_left": self.files_left,
            "rss_mb": self.rss_mb[:: max(1, len(self.rss_mb) // 8)],
            "frames": self.frames,
            "reconnects": self.reconnects,
            "errors": self.errors,
        }


class Camera:
    """One server, its proxy, and the faults that are done to it, in a thread of its own."""

    def __init__(self, name: str, seed: int, watcher: Watcher, outcome: Outcome, stop: threading.Event) -> None:
        self.name = name
        self._random = random.Random(f"{seed} {name}")
        self._watcher, self._outcome, self._stop = watcher, outcome, stop
        self._person = 0
        self.server = RtspServer(*self._arguments())
        self.server.start()
        self.proxy = FaultProxy(self.server.port, seed=seed)
        self.thread = threading.Thread(target=self._loop, name=f"faults-{name}")

    def _arguments(self, *more: str, password: str = PASSWORD) -> tuple[str, ...]:
        return ("--user", "viewer", "--password", password, "--number", str(self._person), *more)

    def _restart(self, *more: str, password: str = PASSWORD) -> None:
        self.server.kill()
        self.server.arguments = self._arguments(*more, password=password)
        self.server.start()

    def _somebody_else(self) -> None:
        self._person = (self._person + 1) % 256

    # -- faults: each returns once all is well again, True if it was a short break of the same scene ------------------

    def kill(self) -> bool:
        """The process is gone for a while."""
        self.server.kill()
        self._somebody_else()
        self._stop.wait(self._random.uniform(LONG_BREAK_S, 4))
        self._restart()
        return False

    def freeze(self) -> bool:
        """The process stands still, its connections open."""
        self.server.freeze()
        self._stop.wait(self._random.choice([0.5, 2, 4, 11]))
        self.server.thaw()
        return False

    def refuse(self) -> bool:
        """Every connection is closed at once."""
        self.proxy.refusing = True
        self.proxy.cut()
        self._stop.wait(self._random.uniform(0.5, 6))
        self.proxy.heal()
        return False

    def unauthorized(self) -> bool:
        """The camera has another password for a while."""
        self._somebody_else()
        self._restart(password="another")
        self._stop.wait(self._random.uniform(LONG_BREAK_S, 4))
        self._restart()
        return False

    def new_size(self) -> bool:
        """The camera begins anew with another size and frame rate."""
        self.server.kill()
        self._somebody_else()
        self._stop.wait(LONG_BREAK_S)
        width, height = self._random.choice([(320, 180), (480, 272), (640, 360)])
        self._restart("--width", str(width), "--height", str(height), "--fps", str(self._random.choice([15, 25, 30])))
        return False

    def size_in_mid_stream(self) -> bool:
        """The size changes and the connection stays."""
        self.server.change_size()
        return False

    def garbage(self) -> bool:
        """Bytes are replaced on the way."""
        self.proxy.garbage = 0.2
        self._stop.wait(self._random.uniform(1, 3))
        self.proxy.heal()
        return False

    def lost_bytes(self) -> bool:
        """Pieces of the TCP stream are swallowed."""
        self.proxy.loss = 0.3
        self._stop.wait(self._random.uniform(1, 3))
        self.proxy.heal()
        return False

    def lost_packets(self) -> bool:
        """The server sends 70 % of its RTP packets."""
        self.server.kill()
        self._somebody_else()
        self._stop.wait(LONG_BREAK_S)
        self._restart("--loss", "0.3")
        self._stop.wait(self._random.uniform(2, 4))
        self.server.kill()
        self._somebody_else()
        self._stop.wait(LONG_BREAK_S)
        self._restart()
        return False

    def cut(self) -> bool:
        """The connection is cut."""
        self.proxy.cut()
        return True

    def slow(self) -> bool:
        """The network is late and thin."""
        self.proxy.delay_s, self.proxy.bytes_per_s = 0.3, 4000
        self._stop.wait(self._random.uniform(1, 3))
        self.proxy.heal()
        return False

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        faults: list[Callable[[], bool]] = [
            *(self.kill, self.freeze, self.refuse, self.unauthorized, self.new_size, self.size_in_mid_stream),
            *(self.garbage, self.lost_bytes, self.lost_packets, self.cut, self.slow),
        ]
        deck: list[Callable[[], bool]] = []
        while not self._stop.wait(self._random.uniform(0.5, 2)):
            if not deck:
                deck = self._random.sample(faults, len(faults))
            fault = deck.pop()
            id_before = self._watcher.last_id.get(self.name)
            same_scene = fault()
            if self._stop.is_set():
                return
            kind = fault.__name__
            logging.info("%s: %s is over", self.name, kind)
            back_s = self._wait_until_live()
            if self._stop.is_set():
                return
            self._outcome.faults[kind] += 1
            if back_s is None:
                self._outcome.never_back.append(f"{self.name} after {kind} at {time.strftime('%H:%M:%S')}")
                continue
            self._outcome.back_s.setdefault(kind, []).append(back_s)
            if back_s > LIVE_AGAIN_S:
                logging.warning("%s: back %.2f s after %s", self.name, back_s, kind)
            if same_scene:
                self._stop.wait(0.5)
                self._outcome.short_breaks += 1
                self._outcome.kept_ids += self._watcher.last_id.get(self.name) == id_before

    def _wait_until_live(self) -> float | None:
        """Seconds until a picture made from now on has come through; None where none comes in half a minute."""
        begun_s, begun_ms = time.monotonic(), stamped_picture.now_ms()
        while time.monotonic() - begun_s < 30:
            if self._watcher.made_ms.get(self.name, 0) > begun_ms:
                return time.monotonic() - begun_s
            if self._stop.wait(0.02):
                return None
        return None


def rss_mb() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def n_files() -> int:
    """Open file descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def campaign(seconds: float, seed: int, n_cameras: int = 4) -> Outcome:
    """Break `n_cameras` for so long, then look at what is left."""
    outcome, watcher, stop = Outcome(seed), Watcher(), threading.Event()
    threads_before, files_before = threading.active_count(), n_files()
    cameras = [Camera(f"cam{number}", seed, watcher, outcome, stop) for number in range(n_cameras)]
    clock = MonotonicClock()
    begun_s = time.monotonic()
    try:
        for camera in cameras:
            camera.proxy.__enter__()
        runner = Runner(
            [source_of(camera, clock) for camera in cameras],
            PersonDetector(),
            lambda _info: ByteTracker(ByteTrackConfig()),
            [SinkBinding("watcher", watcher)],
            RunnerSettings(keep_open=True),
            clock,
        )
        run = threading.Thread(target=runner.run, name="run")
        run.start()
        for camera in cameras:
            camera.thread.start()
        while (left_s := begun_s + seconds - time.monotonic()) > 0:
            stop.wait(min(left_s, 5.0))
            if time.monotonic() - begun_s > WARM_S:
                outcome.rss_mb.append(rss_mb())
        stop.set()
        for camera in cameras:
            camera.thread.join()
        runner.stop()
        run.join(20)
        report = runner.report()
    finally:
        stop.set()
        for camera in cameras:
            camera.proxy.__exit__()
            camera.server.kill()
    outcome.seconds = time.monotonic() - begun_s
    outcome.errors = report.errors
    outcome.frames = sum(source.produced for source in report.sources.values())
    outcome.reconnects = sum(source.counters["reconnects"] for source in report.sources.values())
    outcome.n_ids = len(watcher.people)
    outcome.shared_ids = sum(len(people) > 1 for people in watcher.people.values())
    outcome.threads_left = threading.active_count() - threads_before
    outcome.files_left = n_files() - files_before
    return outcome


def source_of(camera: Camera, clock: MonotonicClock) -> ReconnectingSource:
    """The camera as a run has it, with the settings that every run has; a fault may come before its first picture."""
    url = Url(camera.server.url(f"viewer:{PASSWORD}@", port=camera.proxy.port))
    config = NetworkConfig(url=url)
    return ReconnectingSource(
        ReconnectConfig(wait_for_first=True),
        lambda: NetworkSource(config, source_id=camera.name, clock=clock),
        source_id=camera.name,
        clock=clock,
    )


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--verbose", action="store_true", help="tell when each fault is over")
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else random.randrange(10_000)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO if args.verbose else logging.WARNING)
    print(f"seed {seed}", flush=True)
    print(json.dumps(campaign(args.minutes * 60, seed, args.cameras).summary(), indent=2))


if __name__ == "__main__":
    main()
