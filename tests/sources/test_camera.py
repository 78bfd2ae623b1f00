"""Local cameras, as far as they go without one: names, options, errors. The contract tests read a stand-in."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from pipeline.core.clock import MonotonicClock
from pipeline.core.errors import SourceError
from sources import camera
from sources.camera import CameraConfig, CameraSource, device_target


def source_of(**config: object) -> CameraSource:
    return CameraSource(CameraConfig(**config), source_id="cam", clock=MonotonicClock())


@pytest.mark.parametrize(
    ("device", "device_format", "target"),
    [
        ("0", "v4l2", "/dev/video0"),
        ("/dev/video7", "v4l2", "/dev/video7"),
        ("1", "avfoundation", "1"),
        ("FaceTime HD", "avfoundation", "FaceTime HD"),
        ("1", "dshow", "video=Rear"),
        ("Front", "dshow", "video=Front"),
    ],
)
def test_numbers_and_names_on_every_platform(
    monkeypatch: pytest.MonkeyPatch, device: str, device_format: str, target: str
) -> None:
    monkeypatch.setattr(camera, "list_cameras", lambda _: ["Front", "Rear"])
    assert device_target(device, device_format) == target


@pytest.mark.parametrize(("there", "says"), [(["/dev/video1"], "/dev/video1"), ([], "none")])
def test_a_missing_camera_is_one_line_that_lists_those_that_exist(
    monkeypatch: pytest.MonkeyPatch, there: list[str], says: str
) -> None:
    monkeypatch.setattr(camera, "DEVICE_FORMATS", {"linux": "v4l2", "darwin": "v4l2", "win32": "v4l2"})
    monkeypatch.setattr(camera, "list_cameras", lambda _: there)
    source = source_of(device="987")
    with pytest.raises(SourceError, match=f"cameras of this machine: {says}$") as raised:
        source.open()
    assert "\n" not in str(raised.value)
    source.close()


def test_a_platform_without_camera_interface_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "DEVICE_FORMATS", {})
    with pytest.raises(SourceError, match="wanted one of the platforms"):
        source_of(device="0").open()


def test_what_is_asked_of_the_camera_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def refuse(target: str, options: object) -> None:
        seen.update(dict(options.options))
        raise camera.OpenFailure(OSError(5, "no"), ())

    monkeypatch.setattr(camera, "open_input", refuse)
    monkeypatch.setattr(camera, "DEVICE_FORMATS", {"linux": "v4l2", "darwin": "v4l2", "win32": "v4l2"})
    with pytest.raises(SourceError):
        source_of(device="0", width_px=640, height_px=480, fps=29.97, pixel_format="mjpeg").open()
    assert seen["video_size"] == "640x480"
    assert seen["framerate"] == "29.97"
    assert seen["input_format"] == "mjpeg"


def test_half_a_size_is_refused() -> None:
    with pytest.raises(ValidationError, match="together"):
        CameraConfig(device="0", width_px=640)
