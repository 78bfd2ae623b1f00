"""Section `cameras`, and a file that changes while its run goes on."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.config.build import build_run, load_run_config
from pipeline.config.reload import reload
from pipeline.core.detections import Detections
from pipeline.core.errors import ConfigError, TracklightError, UsageError
from pipeline.core.frame import Frame

pytestmark = pytest.mark.timeout(30)


class TwoBoxes:
    """A person at the left and a car at the right of every frame."""

    class_names = ("person", "car")

    def warmup(self) -> None: ...

    def detect(self, frames: list[Frame]) -> list[Detections]:
        boxes = np.array([[2, 2, 20, 40], [60, 2, 78, 40]], np.float32)
        return [Detections(boxes, np.array([0.9, 0.8], np.float32), np.array([0, 1])) for _ in frames]

    def close(self) -> None: ...


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (80, 60))
    for _ in range(25):
        writer.write(np.full((60, 80, 3), 99, np.uint8))
    writer.release()
    return path


@pytest.fixture
def configuration(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "run.yaml"
        path.write_text(text)
        return path

    return write


LOOP = "source: {replay: {loop: true}}\nruntime: {realtime: true}\n"


def settings(path: Path) -> object:
    return load_run_config(str(path), {}, ["outputs=['null']", "runtime.drain_s=5"])


def test_cameras_have_wishes_of_their_own(clip: Path, configuration: Callable) -> None:
    path = configuration(f"""
cameras:
  all: {clip}
  people: {{source: {clip}, classes: [person]}}
""")
    with pytest.raises(ConfigError, match=r"cameras\.all: wanted settings"):
        settings(path)
    path = configuration(f"""
outputs: [{clip.parent}/out.jsonl]
cameras:
  all: {{source: {clip}}}
  people: {{source: {clip}, classes: [person]}}
  right: {{source: {clip}, region: [[0.5, 0], [1, 0], [1, 1], [0.5, 1]]}}
  slow: {{source: {clip}, fps_cap: 5}}
  still: {{source: {clip}, motion_gate: {{every_s: 100, hold_s: 0}}}}
""")
    seen: dict[str, list[int]] = {}
    with build_run(load_run_config(str(path), {}, []), detector=TwoBoxes()) as built:
        emit = built.runner._emit

        def noting(result: object) -> None:
            seen.setdefault(result.frame.source_id, []).append(len(result.detections))
            emit(result)

        built.runner._emit = noting
        report = built.runner.run()
    assert all(set(seen[name]) == {2} for name in ("all", "slow", "still"))
    assert all(set(seen[name]) == {1} for name in ("people", "right"))
    assert report.sources["slow"].emitted == 5
    assert report.sources["slow"].counters["over_cap"] == 20
    assert report.sources["still"].emitted == 25
    assert report.sources["still"].counters["still"] == 24


@pytest.mark.parametrize(
    ("camera", "wanted"),
    [
        ("{source: nothing.mp4}", "nothing.mp4: wanted a file"),
        ("{source: CLIP, clases: [person]}", "clases: unknown key"),
        ("{source: CLIP, classes: [persn]}", "did you mean 'person'"),
        ("{source: CLIP, region: [[0, 0], [1, 1]]}", "3 points"),
        ("{source: CLIP, region: [[0, 0], [1, 1], [2, 0]]}", "from 0 to 1"),
        ("{source: CLIP, region: mask.png}", "wanted a mask image"),
        ("{source: CLIP, motion_gate: {evry_s: 1}}", "did you mean 'every_s'"),
        ("{source: CLIP, settings: {threds: 1}}", "cameras.a.settings.threds: unknown key"),
        ("{source: CLIP, rules: {lines: 3}}", "lines"),
    ],
)
def test_mistakes_are_told_in_one_line(clip: Path, configuration: Callable, camera: str, wanted: str) -> None:
    path = configuration(f"cameras:\n  a: {camera.replace('CLIP', str(clip))}\n")
    with pytest.raises(TracklightError, match=wanted) as raised, build_run(settings(path), detector=TwoBoxes()):
        pass
    assert "\n" not in str(raised.value)


def test_rules_of_a_camera_are_rules_like_all_others(clip: Path, configuration: Callable) -> None:
    line = "{name: door, points: [[0.1, 0.1], [0.9, 0.9]]}"
    config = settings(configuration(f"cameras:\n  a: {{source: {clip}, rules: {{lines: [{line}]}}}}\n"))
    assert config.analytics["sources"]["a"]["lines"][0]["name"] == "door"


@contextmanager
def running(path: Path) -> Iterator[object]:
    with build_run(settings(path), detector=TwoBoxes()) as built:
        thread = threading.Thread(target=built.runner.run)
        thread.start()
        try:
            yield built
        finally:
            built.runner.stop()
            thread.join(10)


def until(condition: Callable[[], bool]) -> None:
    waited = threading.Event()
    for _ in range(1000):
        if condition():
            return
        waited.wait(0.01)
    raise AssertionError("did not come about in 10 s")


def test_a_file_read_again_changes_cameras_and_leaves_the_others(
    clip: Path, configuration: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    path = configuration(f"{LOOP}cameras:\n  a: {{source: {clip}}}\n  b: {{source: {clip}}}\n  c: {{source: {clip}}}\n")
    with running(path) as built:

        def emitted() -> dict[str, int]:
            return {status.source_id: status.emitted for status in built.control.sources()}

        until(lambda: len(emitted()) == 3 and min(emitted().values()) > 3)
        readers = dict(built.runner._readers)
        configuration(
            f"{LOOP}cameras:\n  a: {{source: {clip}}}\n  b: {{source: {clip}, fps_cap: 5}}\n  d: {{source: {clip}}}\n"
        )
        reload(built.control, lambda: settings(path))
        assert caplog.messages[-1] == "configuration read again: added d; removed c; begun anew b"
        until(lambda: emitted().get("d", 0) > 3 and "c" not in emitted())
        assert built.runner._readers["a"] is readers["a"]
        assert readers["a"].worker.alive
        until(lambda: built.runner.report().sources["b"].counters.get("over_cap", 0) > 3)
        good = path.read_text()
        configuration("cameras: {a: {source: gone.mp4}}")
        reload(built.control, lambda: settings(path))
        assert "configuration not taken over" in caplog.messages[-1]
        configuration("tracker: {buffer_s: 3}\n" + good)
        reload(built.control, lambda: settings(path))
        assert caplog.messages[-1] == "configuration read again: tracker changed too, which needs a new start"
        before = emitted()
        until(lambda: all(emitted()[name] > count for name, count in before.items()))


def test_a_camera_has_outputs_of_its_own(clip: Path, configuration: Callable, tmp_path: Path) -> None:
    every, own, text = tmp_path / "all.jsonl", tmp_path / "a.jsonl", tmp_path / "a.txt"
    path = configuration(
        f"outputs: [{every}]\ncameras:\n  a: {{source: {clip}, outputs: [{own}, {text}]}}\n  b: {{source: {clip}}}\n"
    )
    with build_run(load_run_config(str(path), {}, []), detector=TwoBoxes()) as built:
        report = built.runner.run()
    assert not report.errors
    sources = [json.loads(line)["source"] for line in every.read_text().splitlines()]
    assert sorted(sources) == ["a"] * 25 + ["b"] * 25
    assert [json.loads(line)["source"] for line in own.read_text().splitlines()] == ["a"] * 25
    assert len({line.split(",")[0] for line in text.read_text().splitlines()}) == 25


def test_an_output_that_serves_a_whole_run_is_no_cameras(clip: Path, configuration: Callable) -> None:
    path = configuration(f"cameras:\n  a: {{source: {clip}, outputs: [web]}}\n")
    with (
        pytest.raises(UsageError, match=r"cameras\.a\.outputs: wanted outputs of this camera, found web"),
        build_run(settings(path), detector=TwoBoxes()),
    ):
        pass


def test_an_output_of_two_cameras_is_refused(clip: Path, configuration: Callable, tmp_path: Path) -> None:
    camera = f"{{source: {clip}, outputs: [{tmp_path / 'one.mp4'}]}}"
    path = configuration(f"cameras:\n  a: {camera}\n  b: {camera}\n")
    with (
        pytest.raises(UsageError, match="found that it is also another output"),
        build_run(settings(path), detector=TwoBoxes()),
    ):
        pass


def test_a_camera_that_joins_brings_its_outputs(clip: Path, configuration: Callable, tmp_path: Path) -> None:
    own = tmp_path / "b.jsonl"
    path = configuration(f"{LOOP}cameras:\n  a: {{source: {clip}}}\n")
    with running(path) as built:
        configuration(f"{LOOP}cameras:\n  a: {{source: {clip}}}\n  b: {{source: {clip}, outputs: [{own}]}}\n")
        reload(built.control, lambda: settings(path))
        until(lambda: any(s.source_id == "b" and s.emitted > 3 for s in built.control.sources()))
    assert {json.loads(line)["source"] for line in own.read_text().splitlines()} == {"b"}
