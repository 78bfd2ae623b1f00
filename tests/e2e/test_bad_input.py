"""What a person gets who makes a mistake: one line that says what to do, and an exit code; never a traceback."""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.cli import main

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def media(tmp_path: Path, clip: Path) -> dict[str, Path]:
    """Broken files of every kind."""
    whole = clip.read_bytes()
    files = {name: tmp_path / f"{name}.mp4" for name in ("empty", "truncated", "text", "audio")}
    files["empty"].touch()
    files["truncated"].write_bytes(whole[: len(whole) // 2])
    files["text"].write_text("not a video\n" * 50)
    with av.open(str(files["audio"]), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        sound.rate = 44100
        for packet in [*stream.encode(sound), *stream.encode(None)]:
            container.mux(packet)
    files["folder"] = tmp_path / "nothing_in_it"
    files["folder"].mkdir()
    return files


def _fails(capsys: pytest.CaptureFixture[str], *arguments: object, code: int) -> str:
    returned = main([str(argument) for argument in arguments])
    errors = capsys.readouterr().err
    told = [line for line in errors.splitlines() if line.startswith("tracklight: ")]
    assert "Traceback" not in errors
    assert len(told) == 1, errors
    assert returned == code, told[0]
    return told[0]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("empty", "empty"),
        ("truncated", "truncated|cut|moov|damaged|incomplete"),
        ("text", "video"),
        ("audio", "no video|audio"),
        ("folder", "image|video|empty"),
    ],
)
def test_sources_that_hold_no_video(
    name: str, wanted: str, media: dict[str, Path], small_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    source = media[name]
    line = _fails(capsys, "--source", source, "--weights", small_weights, "-o", "null", "--quiet", code=ANY_FAILURE)
    assert source.name in line
    assert re.search(wanted, line, re.IGNORECASE), line


class _AnyFailure:
    """Equal to every exit code but 0."""

    def __eq__(self, other: object) -> bool:
        return other in (1, 2)

    __hash__ = None  # type: ignore[assignment]


ANY_FAILURE = _AnyFailure()


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--source", "nowhere.mp4"], "nowhere.mp4"),
        (["--source", "97"], "camera"),
        (["--source", "rtsp://127.0.0.1:9/none"], "127.0.0.1:9"),
        (["--source", "{clip}", "--classes", "persn"], "did you mean 'person'"),
        (["--source", "{clip}", "--img-size", "7"], "7"),
        (["--source", "{clip}", "--img-size", "8193"], "wanted at most 8192 px, found (8193, 8193)"),
        (["--source", "{clip}", "--img-size", "64", "100000"], "wanted at most 8192 px, found (64, 100000)"),
        (["--source", "{clip}", "--device", "cuda:7"], "cuda"),
    ],
)
def test_what_cannot_run(
    arguments: list[str], wanted: str, clip: Path, small_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [text.format(clip=clip) for text in arguments]
    settings = ["--set", "source.reconnect.max_attempts=1"]
    line = _fails(capsys, *filled, *settings, "--weights", small_weights, "-o", "null", "--quiet", code=ANY_FAILURE)
    assert wanted in line


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], "--source"),
        (["--source", "{clip}", "-o", "out.mp5"], ".mp4"),
        (["--source", "{clip}", "-o", "web:99999"], "wanted a port from 1 to 65535"),
        (["--source", "{clip}", "-o", "{clip}", "--exist-ok"], "also the source"),
        (["--source", "{clip}", "-o", "{clip}"], "also the source"),
        (["--source", "{clip}", "--set", "tracker.bufer_s=2"], "did you mean 'buffer_s'"),
        (["--source", "{clip}", "--set", "trcker.buffer_s=2"], "did you mean 'tracker'"),
        (["--source", "{clip}", "--set", "sink.video_fil.crf=20"], "did you mean 'video_file'"),
        (["--source", "{clip}", "--set", "detector.conf_thres=2"], "detector.conf_thres"),
        (["--source", "{clip}", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--source", "{clip}", "--tracker", "bytetrak"], "bytetrack"),
        (["--source", "{clip}", "--max-frames", "0"], "max_frames"),
        (["--source", "{clip}", "--max-frames", "x"], "--max-frames"),
        (["--sorce", "{clip}"], "--sorce"),
    ],
)
def test_wrong_usage(arguments: list[str], wanted: str, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled = [text.format(clip=clip) for text in arguments]
    assert wanted in _fails(capsys, "run", *filled, code=2)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [(["rn"], "did you mean 'run'"), (["stream-eval"], "--truth"), (["check", "--set", "a"], "key.path=value")],
)
def test_wrong_verbs(arguments: list[str], wanted: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert wanted in _fails(capsys, *arguments, code=2)


def test_an_output_that_exists_is_kept(
    clip: Path, small_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    precious = tmp_path / "precious.jsonl"
    precious.write_text("mine\n")
    run = ("--source", clip, "--weights", small_weights, "--max-frames", 2, "--quiet", "-o", precious)
    assert "--exist-ok" in _fails(capsys, *run, code=2)
    assert precious.read_text() == "mine\n"
    assert main([*map(str, run), "--exist-ok"]) == 0
    assert len(precious.read_text().splitlines()) == 2


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o500)
    assert "not writable" in _fails(capsys, "run", "--source", clip, "-o", tmp_path / "o.mp4", code=2)


def test_an_output_below_a_file(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is a file, not a folder" in _fails(capsys, "run", "--source", clip, "-o", clip / "o.mp4", code=2)


@pytest.mark.parametrize("content", [b"", b"not weights\n" * 9, b"PK\x03\x04 cut off", b"\x80\x02cos\nsystem\n."])
def test_weights_that_are_none(content: bytes, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = tmp_path / "w.pt"
    weights.write_bytes(content)
    line = _fails(capsys, "run", "--source", clip, "--weights", weights, "-o", "null", "--quiet", code=1)
    assert "w.pt" in line


def test_corrupt_frames_in_the_middle_are_left_out_and_the_run_goes_on(
    clip: Path, small_weights: Path, tmp_path: Path
) -> None:
    import json

    whole = bytearray(clip.read_bytes())
    start = len(whole) * 2 // 5
    rng = np.random.default_rng(1)
    whole[start : start + 400] = rng.integers(0, 256, 400, np.uint8).tobytes()
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(whole)
    report = tmp_path / "r.json"
    code = main(
        ["--source", str(broken), "--weights", str(small_weights), "-o", "null", "--quiet", "--report", str(report)]
    )
    assert code == 0
    source = json.loads(report.read_text())["sources"]["broken"]
    assert source["emitted"] >= 15
    assert source["counters"]["corrupt"] >= 1


def test_no_password_is_shown_or_written(
    small_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    canary = "c4nary-Xq81"
    report = tmp_path / "report.json"
    run = ["--source", f"rtsp://admin:{canary}@127.0.0.1:9/x", "--weights", str(small_weights), "-v"]
    run += ["--set", "source.reconnect.max_attempts=1", "-o", "null", "--report", str(report)]
    assert main(run) == 1
    shown = capsys.readouterr()
    assert "127.0.0.1" in shown.err
    for text in (shown.out, shown.err, report.read_text()):
        assert canary not in text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["pipe.mp4", "pipe.png", "pipe.streams", "pipe"])
def test_a_pipe_as_source_is_told_and_not_waited_for(
    name: str, small_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / name)
    run = ("--source", tmp_path / name, "--weights", small_weights, "-o", "null", "--quiet")
    assert "found a pipe or device; save the" in _fails(capsys, *run, code=1)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("option", ["-o", "--report"])
def test_a_pipe_as_output_is_told_and_stays(
    option: str, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    line = _fails(capsys, "run", "--source", clip, "-o", "null", option, pipe, "--exist-ok", code=2)
    assert "found a pipe or device; name a file" in line
    assert pipe.is_fifo()


@pytest.mark.parametrize("link", ["hard", "symbolic", "folder", "glob"])
@pytest.mark.parametrize("option", ["-o", "--report"])
def test_no_output_overwrites_its_own_source(
    link: str, option: str, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, output = tmp_path / "in" / "clip.mp4", tmp_path / "out.mp4"
    video.parent.mkdir()
    video.write_bytes(clip.read_bytes())
    source = {"folder": video.parent, "glob": video.parent / "*.mp4"}.get(link, video)
    if link == "hard":
        output.hardlink_to(video)
    elif link == "symbolic":
        output.symlink_to(video)
    else:
        output = video
    line = _fails(capsys, "run", "--source", source, "-o", "null", option, output, "--exist-ok", code=2)
    assert f"also the source {video}" in line
    assert video.read_bytes() == clip.read_bytes()


def test_the_video_made_of_a_folder_of_images_is_no_output_once_it_is_a_source(
    small_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second run would read what the first one wrote into the folder, and write there while reading."""
    import cv2

    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((96, 128, 3), 40 * number, np.uint8))
    run = ["run", "--source", str(tmp_path), "--weights", str(small_weights), "--quiet"]
    made = tmp_path / "made.mp4"
    assert main([*run, "-o", str(made)]) == 0
    before = made.read_bytes()
    per_source = tmp_path / "out.made.mp4"
    per_source.hardlink_to(made)
    assert "also the source" in _fails(capsys, *run, "-o", tmp_path / "out.mp4", "--exist-ok", code=2)
    assert made.read_bytes() == before


@pytest.mark.parametrize("option", ["--source", "-o", "--report", "--weights", "--config", "--tracker"])
def test_names_that_no_file_system_takes(
    option: str, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suffix = {"--config": ".yaml", "--tracker": ".yaml", "--report": ".json", "--weights": ".pt"}.get(option, ".mp4")
    path = tmp_path / ("x" * 300 + suffix)
    others = [] if option == "--source" else ["--source", clip]
    line = _fails(capsys, "run", *others, "-o", "null", "--quiet", option, path, code=ANY_FAILURE)
    assert "x" * 300 in line
    assert "too long" in line


def test_the_longest_name_that_the_file_system_takes(clip: Path, small_weights: Path, tmp_path: Path) -> None:
    output, report = (tmp_path / ("x" * (255 - len(suffix)) + suffix) for suffix in (".jsonl", ".json"))
    run = ("--source", clip, "--weights", small_weights, "--max-frames", 2, "--quiet", "-o", output, "--report", report)
    assert main([str(argument) for argument in run]) == 0
    assert len(output.read_text().splitlines()) == 2
    assert report.exists()


def test_a_report_that_cannot_be_written_costs_the_exit_code_only(
    clip: Path,
    small_weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import pipeline.cli.run as verb

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(verb, "write_whole", refuse)
    lines, report = tmp_path / "o.jsonl", tmp_path / "r.json"
    run = ("--source", clip, "--weights", small_weights, "--max-frames", 3, "--quiet", "-o", lines, "--report", report)
    line = _fails(capsys, *run, code=1)
    assert line == f"tracklight: {report}: the report could not be written: No space left on device"
    assert len(lines.read_text().splitlines()) == 3
    assert not report.exists()
