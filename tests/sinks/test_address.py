from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import UsageError
from sinks.address import OutputAddress, OutputKind, parse_output, per_source_path


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("out.mp4", OutputKind.VIDEO_FILE, "out.mp4"),
        ("OUT.MP4", OutputKind.VIDEO_FILE, "OUT.MP4"),
        ("a/b.c/out.mkv", OutputKind.VIDEO_FILE, "a/b.c/out.mkv"),
        ("out.mov", OutputKind.VIDEO_FILE, "out.mov"),
        (" out.jsonl ", OutputKind.JSONL, "out.jsonl"),
        ("out.csv", OutputKind.CSV, "out.csv"),
        ("MOT17-02.txt", OutputKind.MOT_TXT, "MOT17-02.txt"),
        ("out.json", OutputKind.COCO_JSON, "out.json"),
        ("./display.json", OutputKind.COCO_JSON, "display.json"),
        ("display", OutputKind.DISPLAY, ""),
        ("null", OutputKind.NULL, ""),
        ("rtsp-serve:8554", OutputKind.RTSP_SERVE, "rtsp-serve:8554"),
        ("RTSP-serve:0/wall/", OutputKind.RTSP_SERVE, "rtsp-serve:0/wall"),
        ("record:recordings", OutputKind.RECORDER, "recordings"),
        ("record:/var/a b", OutputKind.RECORDER, "/var/a b"),
        ("live/cam.m3u8", OutputKind.HLS, "live/cam.m3u8"),
        ("web", OutputKind.WEB, "8080"),
        ("web:9000", OutputKind.WEB, "9000"),
        ("rtsp://host/live", OutputKind.RTSP, "rtsp://host/live"),
        ("rtsp://u:p%40ss@10.0.0.1:8554/a/b", OutputKind.RTSP, "rtsp://u:p%40ss@10.0.0.1:8554/a/b"),
        ("rtsp://[::1]:8554/live", OutputKind.RTSP, "rtsp://[::1]:8554/live"),
    ],
)
def test_the_form_picks_the_sink(text: str, kind: OutputKind, value: str) -> None:
    assert parse_output(text) == OutputAddress(kind, value)


def test_home_folder_is_expanded() -> None:
    assert parse_output("~/out.mp4").value == str(Path.home() / "out.mp4")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty text"),
        ("out.mp5", "did you mean .mp4?"),
        ("out.jsnl", "did you mean .json"),
        ("out.avi", "the suffix .avi"),
        ("disply", "did you mean display?"),
        ("folder/", "no suffix"),
        ("rtmp://host/live", "found rtmp://"),
        ("rtsp:///live", "no host"),
        ("rtsp://host:port/live", "port that is no number"),
        ("web:0", "from 1 to 65535"),
        ("rtsp-serve:", "wanted a port"),
        ("rtsp-serve:70000", "wanted a port"),
        ("rtsp-serve:8554/a b", "wanted a path"),
        ("rtsp-serve:8554/../x?y", "wanted a path"),
        ("record:", "no folder"),
        ("web:70000", "from 1 to 65535"),
        ("web:x", "from 1 to 65535"),
    ],
)
def test_an_unknown_form_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(UsageError, match="wanted") as caught:
        parse_output(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_credentials_stay_out_of_errors_and_repr() -> None:
    assert "canary" not in repr(parse_output("rtsp://user:canary-1@host/live"))
    with pytest.raises(UsageError) as caught:
        parse_output("rtmp://user:canary-2@host/live")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "expected"), [("out.mp4", "out.street.mp4"), ("a.b/run.1.jsonl", "a.b/run.1.street.jsonl")]
)
def test_the_source_comes_before_the_suffix(path: str, expected: str) -> None:
    assert per_source_path(Path(path), "street") == Path(expected)
