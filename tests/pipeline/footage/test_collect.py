"""Whole runs, from clips to data sets."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import cv2
import pytest

from detector.data.read import examine
from pipeline.config.build import load_run_config
from pipeline.core.arrays import ImageArray
from pipeline.core.errors import SourceError, UsageError
from pipeline.footage.collect import Collected, Collection
from pipeline.footage.settings import FootageSettings
from pipeline.runtime.runner import Runner

Scene = Callable[..., ImageArray]
Clip = Callable[..., Path]


def _quiet(_: Runner) -> AbstractContextManager[None]:
    return nullcontext()


def _collection(sources: list[Path | str], folder: Path, config: Mapping[str, Any] | None = None, **settings: Any
                ) -> Collection:  # fmt: skip
    values = {"sources": [str(source) for source in sources], **(config or {})}
    return Collection(load_run_config(None, values, []), FootageSettings(**settings), folder)


def _collect(*arguments: Any, **settings: Any) -> Collected:
    return _collection(*arguments, **settings).run(_quiet)


def _manifest(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "manifest.json").read_text()))


@pytest.fixture
def moving(clip: Clip, scene: Scene) -> Path:
    """Three seconds of a square that moves."""
    return clip("moving.mp4", [scene(0, left=3 * i) for i in range(30)])


def test_clips_become_pictures(clip: Clip, scene: Scene, moving: Path, tmp_path: Path) -> None:
    still = clip("still.mp4", [scene(1)] * 25)
    out = tmp_path / "out"
    collected = _collect([moving, still], out, every_s=0.5)
    assert collected.status == "completed"
    assert collected.class_names == ()
    assert {name: (c.frames, c.pictures) for name, c in collected.sources.items()} == {
        "moving": (30, 6),
        "still": (25, 1),
    }
    manifest = _manifest(out)
    assert [picture["frame"] for picture in manifest["pictures"]] == [0, 5, 10, 15, 20, 25, 0]
    for picture in manifest["pictures"]:
        assert (out / picture["file"]).is_file()
        assert picture["time_s"] == pytest.approx(picture["frame"] / 10)
    assert [source["address"] for source in manifest["sources"]] == [str(moving), str(still)]
    assert not (out / "data.yaml").exists()


@pytest.mark.parametrize("tracker", ["bytetrack", "none"])
def test_a_model_labels_the_pictures(tracker: str, moving: Path, small_weights: Path, tmp_path: Path) -> None:
    config = {"detector": {"weights": str(small_weights), "classes": ["person"]}, "tracker": {"kind": tracker}}
    collected = _collect([moving], tmp_path / "out", config, every_s=0.2, conf=0.6, unsure=0.3)
    assert collected.class_names == ("person",)
    assert collected.sources["moving"].boxes > 0
    for split in ("train", "val"):
        found, report = examine(tmp_path / "out" / "data.yaml", split, cache=False)
        assert not report.bad
        assert len(found.images) == collected.pictures[split] > 0
        assert all(len(image.xyxy) for image in found.images)
        document = json.loads((tmp_path / "out" / "annotations" / f"instances_{split}.json").read_text())
        sure = [label for label in document["annotations"] if not label["iscrowd"]]
        assert all(label["score"] >= 0.6 for label in sure)
        assert all(("track_id" in label) == (tracker == "bytetrack") for label in sure)


def test_an_interrupted_run_leaves_a_whole_data_set(moving: Path, small_weights: Path, tmp_path: Path) -> None:
    config = {"detector": {"weights": str(small_weights)}}
    collection = _collection([moving, moving], tmp_path / "out", config, every_s=0.1, min_difference=0)
    stopped = threading.Event()

    class _StopAfterTen:
        def __init__(self, runner: Runner) -> None:
            self._runner = runner
            self._ended = threading.Event()
            self._thread = threading.Thread(target=self._watch)

        def __enter__(self) -> None:
            self._thread.start()

        def __exit__(self, *_: object) -> None:
            self._ended.set()
            self._thread.join()

        def _watch(self) -> None:
            while not self._ended.wait(0.002):
                accounts = self._runner.ledger.snapshot().values()
                if sum(account.emitted for account in accounts) >= 10:
                    collection.stop()
                    stopped.set()
                    return

    collected = collection.run(_StopAfterTen)
    assert stopped.is_set()
    assert collected.status == _manifest(tmp_path / "out")["status"] == "interrupted"
    assert set(collected.sources) == {"moving"}, "the second one was not begun"
    pictures = sum(collected.pictures.values())
    assert 0 < pictures == len(_manifest(tmp_path / "out")["pictures"])
    found, report = examine(tmp_path / "out" / "data.yaml", "train", cache=False)
    assert len(found.images) == collected.pictures["train"]
    assert not report.bad


def test_a_source_that_is_full_is_read_no_further(clip: Clip, scene: Scene, tmp_path: Path) -> None:
    long = clip("long.mp4", [scene(i) for i in range(120)])
    collected = _collect([long], tmp_path / "out", every_s=0.1, max_per_source=4)
    assert collected.status == "completed"
    assert collected.sources["long"].pictures == 4
    assert collected.sources["long"].frames < 60


def test_limits_of_time_and_frames(moving: Path, tmp_path: Path) -> None:
    assert _collect([moving], tmp_path / "a", duration_s=1.0).sources["moving"].frames == 10
    assert _collect([moving], tmp_path / "b", {"max_frames": 7}).sources["moving"].frames == 7


def test_a_folder_of_images_is_a_source(scene: Scene, tmp_path: Path) -> None:
    folder = tmp_path / "stills"
    folder.mkdir()
    for number in range(4):
        cv2.imwrite(str(folder / f"{number}.png"), scene(number % 3))
    collected = _collect([folder], tmp_path / "out")
    count = collected.sources["stills"]
    assert (count.looked_at, count.look_alikes, count.pictures) == (4, 1, 3)


def test_a_broken_source_of_two_is_told_and_the_other_taken(moving: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video" * 100)
    collected = _collect([broken, moving], tmp_path / "out")
    assert collected.status == "partial"
    assert len(collected.errors) == 1
    assert "broken.mp4" in collected.errors[0]
    assert sum(collected.pictures.values()) == 3


def test_a_run_that_fails_before_its_first_picture_changes_nothing(moving: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    _collect([moving], out)
    before = _manifest(out)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video" * 100)
    config = load_run_config(None, {"sources": [str(broken)]}, [])
    with pytest.raises(SourceError, match=r"broken\.mp4"):
        Collection(config, FootageSettings(), out, exist_ok=True).run(_quiet)
    assert _manifest(out) == before
    with pytest.raises(SourceError, match=r"broken\.mp4"):
        _collect([broken], tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_run_that_is_stopped_before_its_first_picture_changes_nothing(moving: Path, tmp_path: Path) -> None:
    collection = _collection([moving], tmp_path / "out")
    collection.stop()
    collected = collection.run(_quiet)
    assert (collected.status, collected.pictures) == ("interrupted", {"train": 0, "val": 0})
    assert not (tmp_path / "out").exists()


def test_a_data_set_is_replaced_whole(moving: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    _collect([moving], out, every_s=0.1)
    config = load_run_config(None, {"sources": [str(moving)]}, [])
    with pytest.raises(UsageError, match="--exist-ok"):
        Collection(config, FootageSettings(), out)
    Collection(config, FootageSettings(split=(1.0,)), out, exist_ok=True).run(_quiet)
    assert sorted(path.name for path in (out / "images").rglob("*.jpg")) == [
        f"moving_{index:06d}.jpg" for index in (0, 10, 20)
    ]


def test_a_data_set_is_not_made_from_what_it_replaces(moving: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    _collect([moving], out)
    config = load_run_config(None, {"sources": [str(out / "images" / "train")]}, [])
    with pytest.raises(UsageError, match="apart from the data set"):
        Collection(config, FootageSettings(), out, exist_ok=True)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"sources": []}, "at least one source"),
        ({"detector": {"conf_thres": 0.5}}, "--conf and --unsure"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_written(
    config: Mapping[str, Any], told: str, moving: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=told):
        _collect([moving], tmp_path / "out", config)
    assert not (tmp_path / "out").exists()


class _Camera(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for jpeg in self.server.jpegs:  # type: ignore[attr-defined]
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            try:
                self.wfile.write(head.encode() + jpeg + b"\r\n")
            except OSError:
                return

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def camera(scene: Scene) -> Iterator[str]:
    """The URL of a live stream."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Camera)
    server.daemon_threads = False
    server.jpegs = [cv2.imencode(".jpg", scene(i))[1].tobytes() for i in range(400)]  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://user:secret-word@127.0.0.1:{server.server_port}/live"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_live_stream_ends_after_its_limit_and_keeps_its_secret(camera: str, tmp_path: Path) -> None:
    collected = _collect([camera], tmp_path / "out", {"max_frames": 12}, every_s=0.04)
    assert collected.status == "completed"
    assert sum(collected.pictures.values()) > 0
    assert "***@127.0.0.1" in (tmp_path / "out" / "manifest.json").read_text()
    for path in (tmp_path / "out").rglob("*"):
        assert "secret-word" not in str(path)
        assert path.is_dir() or b"secret-word" not in path.read_bytes()


@pytest.mark.reference
@pytest.mark.slow
def test_real_footage_is_labelled(data_dir: Path, tmp_path: Path) -> None:
    """Frames 66 to 196 show one woman, from 230 on a man; before and between the room is empty (looked at)."""
    clip = data_dir / "clips" / "one-by-one-person-detection.mp4"
    weights = data_dir / "weights" / "yolox_nano.pth"
    config = {"detector": {"weights": str(weights), "classes": ["person"], "precision": "fp32"}, "max_frames": 250}
    collected = _collect([clip], tmp_path / "out", config, every_s=0.5)
    pictures = _manifest(tmp_path / "out")["pictures"]
    assert collected.sources["one-by-one-person-detection"].look_alikes > 20
    assert 10 <= len(pictures) <= 30
    for picture in pictures:
        someone = 66 < picture["frame"] <= 196 or picture["frame"] >= 235
        if someone or picture["frame"] < 60 or 200 < picture["frame"] < 228:
            assert picture["boxes"] == int(someone), picture
