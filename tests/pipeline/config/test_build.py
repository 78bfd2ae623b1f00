from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from pipeline.config.build import (
    build_sources,
    detector_section_for_tracking,
    load_run_config,
    tracker_config,
    tracker_factory,
    tracker_section,
)
from pipeline.config.outputs import build_sinks, check_outputs
from pipeline.core.clock import SimulatedClock
from pipeline.core.errors import ConfigError, UsageError
from pipeline.core.frame import StreamInfo

PIPELINES = sorted(Path(str(entry)) for entry in files("configs").joinpath("pipelines").iterdir())


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.name)
def test_every_shipped_pipeline_loads(path: Path) -> None:
    assert path.suffix == ".yaml"
    load_run_config(str(path), {}, [])


def test_flags_win_over_the_file_and_set_over_both(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("detector: {conf_thres: 0.1, iou_thres: 0.5, max_det: 9}\n")
    config = load_run_config(str(file), {"detector": {"conf_thres": 0.2, "iou_thres": 0.6}}, ["detector.iou_thres=0.7"])
    assert config.detector == {"conf_thres": 0.2, "iou_thres": 0.7, "max_det": 9}


def test_a_tracker_that_the_file_sets_up_can_be_switched_off(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("tracker: {kind: bytetrack, buffer_s: 2}\n")
    config = load_run_config(str(file), {"tracker": tracker_section("none")}, [])
    assert tracker_factory(config.tracker) is None


def test_secrets_of_flags_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As configs/pipelines/cameras.yaml tells people to write it."""
    monkeypatch.setenv("CAMERA_PASSWORD", "canary-3Hq8")
    config = load_run_config(None, {"sources": ["rtsp://user:${CAMERA_PASSWORD}@camera/stream"]}, [])
    assert config.sources == ("rtsp://user:canary-3Hq8@camera/stream",)
    monkeypatch.delenv("CAMERA_PASSWORD")
    with pytest.raises(ConfigError, match="CAMERA_PASSWORD is not set"):
        load_run_config(None, {"sources": ["rtsp://user:${CAMERA_PASSWORD}@camera/stream"]}, [])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("tracker: {bufer_s: 1}", r"c\.yaml: tracker\.bufer_s: unknown key; did you mean 'buffer_s'"),
        ("tracker: {kind: none, buffer_s: 1}", r"tracker\.kind is none, yet settings are given: buffer_s"),
        ("source: {network: {transprt: udp}}", r"source\.network\.transprt: unknown key; did you mean 'transport'"),
        ("source: {netwrk: {}}", r"source: wanted one of .*did you mean 'network'"),
        ("sink: {video_file: {crf: 99}}", r"sink\.video_file\.crf"),
        ("draw: {labls: true}", r"draw\.labls: unknown key; did you mean 'labels'"),
        ("runtime: {batch: 0}", r"runtime\.batch: .*greater than or equal to 1"),
        ("detector: {backend: tensorflow}", r"detector\.backend"),
    ],
)
def test_a_mistake_in_any_section_is_told_before_anything_is_loaded(text: str, wanted: str, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=wanted):
        load_run_config(str(file), {}, [])


def test_an_empty_section_is_as_good_as_none(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("source:\n  network:\nsink:\n  video_file:\n")
    assert load_run_config(str(file), {}, []).source == {"network": {}}


class TestTrackers:
    def test_each_source_gets_its_own(self) -> None:
        make = tracker_factory({"buffer_s": 2})
        assert make is not None
        info = StreamInfo("a", 8, 8, None, False, None)
        assert make(info) is not make(info)

    def test_none_means_none(self) -> None:
        assert tracker_factory({"kind": "none"}) is None

    @pytest.mark.parametrize("name", ["bytetrack", "bytetrack-mot20", "bytetrack-reference"])
    def test_names_of_the_command_line(self, name: str) -> None:
        kind, config = tracker_config(tracker_section(name))
        assert kind == "bytetrack"
        assert config.reference_compat == (name == "bytetrack-reference")

    def test_the_detector_keeps_what_the_tracker_looks_at(self) -> None:
        config = load_run_config(None, {}, ["tracker.low_score=0.05"])
        assert detector_section_for_tracking(config)["conf_thres"] == 0.05
        asked = load_run_config(None, {}, ["detector.conf_thres=0.4"])
        assert detector_section_for_tracking(asked)["conf_thres"] == 0.4
        assert detector_section_for_tracking(load_run_config(None, {}, ["tracker.kind=none"])) == {}


class TestSources:
    def test_recordings_play_at_their_rate_when_asked(self, tmp_path: Path) -> None:
        video = tmp_path / "street.mp4"
        video.touch()
        for realtime, wanted in ((False, "VideoFileSource"), (True, "ReplaySource")):
            config = load_run_config(None, {"sources": [str(video)], "runtime": {"realtime": realtime}}, [])
            [source] = build_sources(config, SimulatedClock())
            assert type(source).__name__ == wanted
            assert source.source_id == "street"

    def test_live_sources_reconnect(self) -> None:
        config = load_run_config(None, {"sources": ["rtsp://user:pw-canary@cam/1", "0"]}, [])
        made = build_sources(config, SimulatedClock())
        assert [type(source).__name__ for source in made] == ["ReconnectingSource"] * 2
        assert "pw-canary" not in " ".join(source.source_id for source in made)


class TestOutputs:
    def test_what_serves_one_source_is_made_for_each(self, tmp_path: Path) -> None:
        config = load_run_config(None, {"outputs": [str(tmp_path / "o.mp4"), str(tmp_path / "o.jsonl")]}, [])
        outputs = check_outputs(config, ["a", "b"])
        assert [(Path(output.value).name, output.source_id) for output in outputs] == [
            ("o.a.mp4", "a"),
            ("o.b.mp4", "b"),
            ("o.jsonl", None),
        ]
        assert not list(tmp_path.iterdir()), "checking writes nothing"
        bindings = build_sinks(config, outputs, ("person",))
        assert [binding.wants("a") for binding in bindings] == [True, False, True]

    def test_only_what_holds_no_port_can_be_made_beside_its_hanging_self(self, tmp_path: Path) -> None:
        forms = ["web", "metrics", "rtsp://host/live", str(tmp_path / "live.m3u8"), str(tmp_path / "o.jsonl")]
        config = load_run_config(None, {"outputs": forms}, [])
        bindings = build_sinks(config, check_outputs(config, ["a"]), ("person",))
        assert [type(binding.remake()).__name__ for binding in bindings if binding.remake] == ["RtspSink", "HlsSink"]

    @pytest.mark.parametrize("outputs", [["o.jsonl", "./o.jsonl"], ["null", "null"]])
    def test_no_output_twice(self, outputs: list[str]) -> None:
        with pytest.raises(UsageError):
            check_outputs(load_run_config(None, {"outputs": outputs}, []), ["a"])

    def test_the_report_may_not_overwrite_an_output(self, tmp_path: Path) -> None:
        same = str(tmp_path / "o.json")
        with pytest.raises(UsageError, match="another output"):
            check_outputs(load_run_config(None, {"outputs": [same], "report": same}, []), ["a"])

    def test_settings_of_a_section_and_of_drawing_reach_the_sink(self, tmp_path: Path) -> None:
        from pipeline.config.outputs import sink_config

        settings = ["sink.video_file.preset=medium", "draw.trails=false"]
        made = sink_config(load_run_config(None, {}, settings), "video_file", str(tmp_path / "o.mp4"))
        assert (made.preset, made.draw.trails) == ("medium", False)
