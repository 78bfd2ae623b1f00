"""Section `runtime.overload` and `runtime.scheduler`: mistakes told in one line, before anything is loaded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from pipeline.config import overload as overload_module
from pipeline.config.build import build_run, load_run_config
from pipeline.config.overload import build_ladder, overload_rules, scheduler_factory
from pipeline.config.schema import RunConfig
from pipeline.core.clock import SimulatedClock
from pipeline.core.detections import Detections
from pipeline.core.errors import ConfigError, UsageError
from pipeline.core.frame import Frame
from pipeline.runtime.overload import OverloadPolicy
from pipeline.streaming.schedulers import ShrinkingTail, StrideK


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ("overload=slower", r"runtime\.overload\.policy: .*'drop', 'every_nth', 'smaller_input'"),
        ("overload.polcy=drop", r"runtime\.overload\.polcy: unknown key; did you mean 'policy'\?"),
        ("overload.every_nth=3", r"runtime\.overload\.every_nth: wanted policy every_nth beside it, found drop"),
        (
            "overload={policy: every_nth, every_nth: 0}",
            r"runtime\.overload\.every_nth: wanted a whole number from 1, or auto",
        ),
        ("overload.ladder=[640, 416]", r"runtime\.overload\.ladder: wanted policy smaller_input, .*, found drop"),
        ("overload=smaller_input", r"runtime\.overload\.ladder: wanted two rungs or more for smaller_input, .*found 0"),
        (
            "overload={policy: smaller_input, ladder: [640, {img_size: 416, weights: a.pt}]}",
            r"ladder\.1: wanted img_size alone for smaller_input, found .*weights",
        ),
        (
            "overload={policy: lighter_model, ladder: [a.pt, 416]}",
            r"ladder\.1: wanted weights for lighter_model, found 416",
        ),
        ("overload={policy: smaller_input, ladder: [640, 640]}", r"ladder\.1: wanted each rung once, found 640 twice"),
        (
            "overload={policy: best, ladder: [{img_size: 640, accuracy: 0.4}, 416]}",
            r"ladder\.1\.accuracy: is needed for best, and absent",
        ),
        (
            "overload={policy: best, ladder: [{img_size: 640, accuracy: 40}, 416]}",
            r"runtime\.overload\.ladder\.0\.accuracy: .*less than or equal to 1, found 40",
        ),
        (
            "overload={policy: best, ladder: [{img_sze: 640}, 416]}",
            r"runtime\.overload\.ladder\.0\.img_sze: unknown key; did you mean 'img_size'",
        ),
        ("overload.max_missed=1", r"runtime\.overload\.max_missed: .*less than 1"),
        ("scheduler=idlefree", r"runtime\.scheduler: wanted idle-free, shrinking-tail.*found 'idlefree'"),
        ("scheduler=stride-0", r"runtime\.scheduler: wanted a whole number from 1, found 0"),
    ],
)
def test_a_mistake_is_told_in_one_line(settings: str, wanted: str) -> None:
    with pytest.raises(ConfigError, match=wanted) as caught:
        load_run_config(None, {}, [f"runtime.{settings}"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        (["runtime.overload=every_nth", "tracker={kind: none}"], r"to fill in with, found tracker\.kind none"),
        (
            [
                "runtime.overload={policy: best, ladder: [{accuracy: 1}, {img_size: 64, accuracy: 0.5}]}",
                "tracker={kind: none}",
            ],
            r"to tell for best how fast the scene changes, found tracker\.kind none",
        ),
        (["runtime.overload=every_nth", "runtime.scheduler=planned"], "every_nth picks frames by itself"),
        (
            ["runtime.overload={policy: smaller_input, ladder: [640, 416]}", "runtime.scheduler=stride-2"],
            "stride-2 leaves frames out that smaller_input would take for missed",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: list[str], wanted: str) -> None:
    with pytest.raises(ConfigError, match=wanted):
        load_run_config(None, {}, settings)


def _config(*settings: str) -> RunConfig:
    return load_run_config(None, {}, list(settings))


def test_short_forms() -> None:
    assert overload_rules(_config()).policy is OverloadPolicy.DROP
    rules = overload_rules(_config("runtime.overload=every_nth"))
    assert (rules.policy, rules.every_nth) == (OverloadPolicy.EVERY_NTH, None)
    rules = overload_rules(_config("runtime.overload={policy: every_nth, every_nth: 3, max_age_ms: 250}"))
    assert (rules.every_nth, rules.max_age_s) == (3, 0.25)
    config = _config(
        "runtime.overload={policy: lighter_model, ladder: [models/a.pt, {weights: b, img_size: [384, 640]}]}"
    )
    assert [rung.name for rung in config.runtime.overload.ladder] == ["a.pt", "b 384x640"]
    config = _config("runtime.overload={policy: best, ladder: [{accuracy: 0.4}, {img_size: 416, accuracy: 0.3}]}")
    assert [rung.name for rung in config.runtime.overload.ladder] == ["as detector", "416"]
    assert overload_rules(config).accuracy == (0.4, 0.3)


def test_schedulers_by_name() -> None:
    assert scheduler_factory(_config()) is None
    for name, kind in (("shrinking-tail", ShrinkingTail), ("stride-2", StrideK)):
        make = scheduler_factory(_config(f"runtime.scheduler={name}"))
        assert make is not None
        assert isinstance(make(), kind)
        # Each source has its own.
        assert make() is not make()


class _Rung:
    """Stands for a detector; remembers what it was made of."""

    def __init__(self, section: dict[str, object], class_names: tuple[str, ...] = ("thing",)) -> None:
        self.section, self.class_names, self.closed = section, class_names, False

    def close(self) -> None:
        self.closed = True


def _made(monkeypatch: pytest.MonkeyPatch, *class_names: tuple[str, ...]) -> list[_Rung]:
    made: list[_Rung] = []

    def make(section: dict[str, object], networks: object) -> _Rung:
        made.append(_Rung(section, class_names[len(made)] if class_names else ("thing",)))
        return made[-1]

    monkeypatch.setattr(overload_module, "_rung_detector", make)
    return made


def test_a_rung_is_the_detector_with_what_the_rung_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    made = _made(monkeypatch)
    config = _config(
        "runtime.overload={policy: lighter_model, ladder: [{weights: big.pt, weights_sha256: "
        + "a" * 64
        + "}, small.pt]}"
    )
    section = {"conf_thres": 0.1, "weights": "mine.pt", "weights_sha256": "b" * 64}
    ladder = build_ladder(section, config.runtime.overload.ladder, SimulatedClock())
    assert [rung.section for rung in made] == [
        {"conf_thres": 0.1, "weights": "big.pt", "weights_sha256": "a" * 64},
        {"conf_thres": 0.1, "weights": "small.pt", "weights_sha256": None},
    ]
    assert ladder.names == ("big.pt", "small.pt")
    ladder.close()
    assert all(rung.closed for rung in made)


def test_rungs_of_other_classes_are_refused_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = _made(monkeypatch, ("person", "car"), ("car", "person"))
    config = _config("runtime.overload={policy: lighter_model, ladder: [a.pt, b.pt]}")
    with pytest.raises(ConfigError, match=r"ladder\.1: wanted the classes of the first rung"):
        build_ladder({}, config.runtime.overload.ladder, SimulatedClock())
    assert all(rung.closed for rung in made)


def test_a_detector_that_is_given_has_no_ladder(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"")
    config = _config(
        f"sources=['{picture}']", "outputs=['null']", "runtime.overload={policy: smaller_input, ladder: [64, 32]}"
    )
    detector = SimpleNamespace(class_names=("thing",))
    with (
        pytest.raises(UsageError, match="detectors made by the run, found one that was given"),
        build_run(
            config,
            detector=detector,  # type: ignore[arg-type]
        ),
    ):
        pass


def test_rungs_of_one_network_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import detector.detector as detector_module

    opened: list[str] = []

    def network_for(config: detector_module.DetectorConfig) -> str:
        opened.append(config.weights)
        return f"network {len(opened)}"

    used: list[tuple[object, object]] = []

    class Detector:
        class_names: Sequence[str] = ("thing",)

        def __init__(self, config: detector_module.DetectorConfig, *, network: object) -> None:
            used.append((config.img_size, network))

    monkeypatch.setattr(detector_module, "network_for", network_for)
    monkeypatch.setattr(detector_module, "YoloDetector", Detector)
    config = _config(
        "runtime.overload={policy: lighter_model, ladder: [{weights: a, img_size: 64}, {weights: a, img_size: 32}, b]}"
    )
    build_ladder({"img_size": 96}, config.runtime.overload.ladder, SimulatedClock())
    assert used == [(64, "network 1"), (32, "network 1"), (96, "network 2")]
    assert opened == ["a", "b"]


class _SquareFinder:
    """Finds the bright square of a picture."""

    class_names = ("square",)

    def __init__(self) -> None:
        self.seen: list[int] = []

    def warmup(self) -> None: ...

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        self.seen += [frame.index for frame in frames]
        return [self._square(frame) for frame in frames]

    def _square(self, frame: Frame) -> Detections:
        rows, columns = np.nonzero(frame.image[:, :, 0] > 128)
        xyxy = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
        return Detections(xyxy, np.array([0.9], np.float32), np.zeros(1, np.int64))

    def close(self) -> None: ...


def test_a_folder_annotated_at_every_third_picture_has_an_object_on_each(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for k in range(24):
        picture = np.zeros((60, 200, 3), np.uint8)
        picture[20:40, 10 + 5 * k : 40 + 5 * k] = 255
        cv2.imwrite(str(pictures / f"{k:03}.png"), picture)
    out = tmp_path / "out.jsonl"
    config = _config(
        f"sources=['{pictures}']", f"outputs=['{out}']", "runtime.overload={policy: every_nth, every_nth: 3}"
    )
    detector = _SquareFinder()
    with build_run(config, detector=detector) as built:
        report = built.runner.run()
    assert sorted(detector.seen) == list(range(0, 24, 3))
    assert report.overload == {"policy": "every_nth", "every_nth": 3, "filled": 16}
    objects = [json.loads(line)["objects"] for line in out.read_text().splitlines()]
    assert all(len(found) == 1 for found in objects)
    assert {found[0]["track_id"] for found in objects} == {1}
    assert [found[0].get("predicted", False) for found in objects] == [k % 3 != 0 for k in range(24)]
    # The filter has learnt the speed after a few detections; from then on the boxes between follow the square.
    assert [found[0]["xyxy"][0] for found in objects[12:]] == pytest.approx(
        [10 + 5 * k for k in range(12, 24)], abs=1.5
    )
