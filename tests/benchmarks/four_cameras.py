"""Four RTSP cameras on the default model, watched in the dashboard, written to JSON lines and pushed, for a while.

    python tests/benchmarks/four_cameras.py --minutes 15 --clips DIR/*.mp4

The cameras are real clips, looped at 25 frames per second by a server process each; the run is the command line's, in
a process of its own. One viewer has the wall open, another one reads the pushed stream. Told at the end: latency of
emitted frames minute by minute, resident memory, and whether every frame is accounted for.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import av
import httpx
import numpy as np
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "servers"))

from rtsp_process import SERVER, RtspServer

ROOT = Path(__file__).resolve().parents[2]
FPS = 25
WARM_S = 60.0
"""What comes before this is warm-up for the latency; memory is compared from the second minute on."""
MEMORY_FROM_S = 120.0


def annex_b(clip: Path, folder: Path) -> Path:
    """The clip's pictures as H.264 that a server can loop: no B-frames, a key frame every second."""
    path = folder / f"{clip.stem}.h264"
    with av.open(str(clip)) as source, av.open(str(path), "w", format="h264") as out:
        picture = source.streams.video[0]
        stream = out.add_stream("libx264", rate=FPS, options={"tune": "zerolatency", "preset": "fast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = picture.width // 2 * 2, picture.height // 2 * 2, "yuv420p"
        stream.gop_size = FPS
        for number, frame in enumerate(source.decode(picture)):
            fresh = frame.reformat(stream.width, stream.height, "yuv420p")
            fresh.pts = number
            fresh.pict_type = av.video.frame.PictureType.NONE
            out.mux(stream.encode(fresh))
        out.mux(stream.encode())
    return path


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def rss_mb(pid: int) -> float:
    """Resident memory of a process and all below it."""
    kb = 0
    for process in [pid, *_children(pid)]:
        try:
            status = Path(f"/proc/{process}/status").read_text()
        except OSError:
            continue
        kb += next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)
    return kb / 1e3


def _children(pid: int) -> list[int]:
    try:
        direct = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [*direct, *(grandchild for child in direct for grandchild in _children(child))]


class Wall(threading.Thread):
    """A browser's part: asks for the small picture of each camera in turn, as the page does."""

    def __init__(self, port: int, names: list[str]) -> None:
        super().__init__(name="wall")
        self._port, self._names = port, names
        self.stop = threading.Event()
        self.pictures = 0
        self.failure = ""

    def run(self) -> None:
        """Look until told to stop."""
        try:
            with connect(f"ws://127.0.0.1:{self._port}/api/v1/views") as views:
                newest = dict.fromkeys(self._names, 0)
                for name in self._names:
                    views.send(json.dumps({"source": name, "size": "small", "after": 0}))
                while not self.stop.is_set():
                    answer = views.recv(timeout=10)
                    header = json.loads(answer[4 : 4 + int.from_bytes(answer[:4])])
                    self.pictures += 1
                    name = header["source"]
                    newest[name] = header["number"]
                    views.send(json.dumps({"source": name, "size": "small", "after": newest[name]}))
        except (OSError, WebSocketException) as error:
            if not self.stop.is_set():
                self.failure = repr(error)


class Push(threading.Thread):
    """Reads the stream that the run pushes."""

    def __init__(self, url: str) -> None:
        super().__init__(name="push")
        self._url = url
        self.stop = threading.Event()
        self.pictures = 0
        self.failure = ""

    def run(self) -> None:
        """Read until told to stop."""
        try:
            with av.open(self._url, options={"rtsp_transport": "tcp"}, timeout=20) as stream:
                for packet in stream.demux(video=0):
                    self.pictures += packet.size > 0
                    if self.stop.is_set():
                        return
        except av.FFmpegError as error:
            if not self.stop.is_set():
                self.failure = repr(error)


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--clips", type=Path, nargs=4, required=True)
    parser.add_argument("--set", action="append", default=[], help="as for `run`")
    parser.add_argument("--keep", type=Path, help="keep the run's files in this folder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        print(json.dumps(measure(args.minutes * 60, args.clips, args.set, args.keep or Path(scratch)), indent=2))


def measure(seconds: float, clips: list[Path], settings: list[str], folder: Path) -> dict[str, object]:
    """Watch the cameras for so long; the figures."""
    folder.mkdir(parents=True, exist_ok=True)
    cameras = [RtspServer("--clip", str(annex_b(clip, folder)), "--fps", str(FPS)) for clip in clips]
    out = RtspServer("--quiet", program=SERVER.with_name("rtsp_record_server.py"))
    for server in (*cameras, out):
        server.start()
    names = [f"cam{number}" for number in range(len(cameras))]
    lines, port = folder / "tracks.jsonl", free_port()
    configuration = {
        "outputs": [f"web:{port}", str(lines)],
        "report": str(folder / "report.json"),
        "exist_ok": True,
        "cameras": {name: {"source": camera.url()} for name, camera in zip(names, cameras, strict=True)},
    }
    configuration["cameras"][names[0]]["outputs"] = [out.url()]
    (folder / "run.yaml").write_text(json.dumps(configuration))
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "run", "--config", str(folder / "run.yaml"), "--quiet"]
    command += [part for setting in settings for part in ("--set", setting)]
    memory: list[tuple[float, float]] = []
    with (folder / "stderr.txt").open("w") as messages:
        run = subprocess.Popen(command, stdout=messages, stderr=messages)
    wall, push = Wall(port, names), Push(out.url(path="/live/play"))
    try:
        begun_s = _wait_until_live(port, run)
        wall.start()
        time.sleep(3)
        push.start()
        while (passed_s := time.monotonic() - begun_s) < seconds and run.poll() is None:
            memory.append((passed_s, rss_mb(run.pid)))
            time.sleep(5)
        wall.stop.set()
        push.stop.set()
        wall.join()
        push.join()
        code: int | None = run.poll()
        if code is None:
            run.send_signal(signal.SIGTERM)
            code = run.wait(30)
    finally:
        run.kill()
        for server in (*cameras, out):
            server.kill()
    return figures(folder, code, memory, wall, push)


def _wait_until_live(port: int, run: subprocess.Popen[bytes]) -> float:
    """The moment from which every camera gives frames."""
    for _ in range(300):
        try:
            found = httpx.get(f"http://127.0.0.1:{port}/api/v1/sources").json()
            if len(found) == 4 and all(source["state"] == "live" for source in found):
                return time.monotonic()
        except (httpx.HTTPError, KeyError):
            if run.poll() is not None:
                raise SystemExit(f"the run ended with {run.returncode}") from None
        time.sleep(0.1)
    raise SystemExit("not every camera was live within 30 s")


def figures(folder: Path, code: int, memory: list[tuple[float, float]], wall: Wall, push: Push) -> dict[str, object]:
    """What came of it."""
    report = json.loads((folder / "report.json").read_text())
    emitted_ns, latency_ms = [], []
    with (folder / "tracks.jsonl").open() as lines:
        for line in lines:
            result = json.loads(line)
            emitted_ns.append(result["emitted_ns"])
            latency_ms.append(result["latency_ms"]["total"])
    at_s = (np.array(emitted_ns) - min(emitted_ns)) / 1e9
    age_ms = np.array(latency_ms)
    end_s = float(at_s.max())
    minutes = [age_ms[(at_s >= begin) & (at_s < begin + 60)] for begin in np.arange(WARM_S, end_s - 59, 60)]
    first, last = minutes[0], age_ms[at_s >= end_s - 60]
    p95 = [round(float(np.percentile(minute, 95)), 1) for minute in minutes]
    after = [mb for second, mb in memory if second >= MEMORY_FROM_S]
    sources = report["sources"]
    return {
        "exit_code": code,
        "cores": os.cpu_count(),
        "seconds": round(end_s),
        "frames_per_s": round(len(at_s) / end_s, 1),
        "latency_ms_by_minute": {"p50": [round(float(np.median(m)), 1) for m in minutes], "p95": p95},
        "p95_first_ms": round(float(np.percentile(first, 95)), 1),
        "p95_last_ms": round(float(np.percentile(last, 95)), 1),
        "p95_last_to_first": round(float(np.percentile(last, 95) / np.percentile(first, 95)), 3),
        "rss_mb": [round(mb, 1) for _, mb in memory[:: max(1, len(memory) // 12)]],
        "rss_growth_after_minute_2_mb": round(max(after) - after[0], 1) if after else None,
        "produced": {name: source["produced"] for name, source in sources.items()},
        "emitted": {name: source["emitted"] for name, source in sources.items()},
        "dropped": {name: source["dropped"] for name, source in sources.items()},
        "unaccounted": sum(s["produced"] - s["emitted"] - sum(s["dropped"].values()) for s in sources.values()),
        "lines_written": len(at_s),
        "wall_pictures": wall.pictures,
        "pushed_pictures_seen": push.pictures,
        "errors": [*report["errors"], *filter(None, (wall.failure, push.failure))],
        "messages": (folder / "stderr.txt").read_text().splitlines()[-20:],
    }


if __name__ == "__main__":
    main()
