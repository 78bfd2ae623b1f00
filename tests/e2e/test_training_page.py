"""docs/training.md, command by command: what the page tells a person to type is what runs here.

The person's own part is played by the test: a clip of a moving square is the video, and the labels are written where a
person would draw them. Trainings are made tiny (`_TINY`), and where the default model is not part of this checkout
fresh weights stand in for it (`_without_street`); nothing else of a command is changed.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import yaml

from detector.checkpoint import load_checkpoint
from detector.zoo import DEFAULT_WEIGHTS, list_models
from pipeline.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
COMMANDS = [
    line for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.M | re.S) for line in block.splitlines() if line
]

_TINY = ["--epochs", "1", "--img-size", "64", "--workers", "0"]
_SIDE, _STEP = 30, 6


def _square_left(frame: int) -> int:
    return 4 + _STEP * frame


def _write_clip(path: Path) -> None:
    """Eight seconds at two frames a second; a square of 30 px goes from left to right."""
    noise = np.random.default_rng(0).integers(0, 60, (96, 128, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=2)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for number in range(16):
            image = noise.copy()
            left = _square_left(number)
            image[30 : 30 + _SIDE, left : left + _SIDE] = (40, 200, 240)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)


def _label_by_hand(folder: Path) -> None:
    """What the person does in a labelling program: one box per picture, of a class with a name of one's own."""
    pictures = sorted(folder.glob("images/*/*.jpg"))
    assert len(pictures) >= 4
    for picture in pictures:
        left = _square_left(int(picture.stem.rsplit("_", 1)[1]))
        width = min(_SIDE, 128 - left)
        label = folder / "labels" / picture.parent.name / f"{picture.stem}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        row = (left + width / 2) / 128, (30 + _SIDE / 2) / 96, width / 128, _SIDE / 96
        label.write_text("0 " + " ".join(map(str, row)) + "\n")
    described = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))
    (folder / "data.yaml").write_text(yaml.safe_dump({**described, "nc": 1, "names": ["square"]}))


def _has_street() -> bool:
    return any(row.weights.name == DEFAULT_WEIGHTS and row.on_disk for row in list_models())


def _without_street(words: list[str], stand_in: Path) -> list[str]:
    """The command with other weights, where it would take the default model."""
    if "train" in words:
        return (
            words if {"--weights", "--resume"} & set(words) else [*words, "--weights", "none", "--model", "yolov7-nano"]
        )
    return [str(stand_in) if word == DEFAULT_WEIGHTS else word for word in words]


def _tracklight(words: list[str]) -> None:
    assert main(words[1:]) == 0


def _torchrun(words: list[str]) -> None:
    """Two processes that meet over gloo, on the CPU even where there is a GPU."""
    program = [sys.executable, str(ROOT / "run_pipeline.py")]
    at = words.index("tracklight")
    command = [sys.executable, "-m", "torch.distributed.run", *words[1:at], *program, *words[at + 1 :]]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Warning" not in done.stderr, done.stderr[-2000:]


PROGRAMS: dict[str, Callable[[list[str]], None]] = {"tracklight": _tracklight, "torchrun": _torchrun}


def _tiny(words: list[str]) -> list[str]:
    return [*words, *_TINY] if "train" in words and "--resume" not in words else words


def test_every_command_of_the_page_can_be_found() -> None:
    """So that none can hide from the test below: commands stand in blocks marked sh, one a line."""
    assert len(COMMANDS) >= 10
    assert {shlex.split(line)[0] for line in COMMANDS} == set(PROGRAMS)
    verbs = {shlex.split(line)[1] for line in COMMANDS}
    assert {"dataset", "train", "val", "run"} <= verbs
    others = re.sub(r"^```(sh|python)\n.*?^```", "", PAGE, flags=re.M | re.S)
    assert not re.search(r"^(tracklight|torchrun|python) ", others, re.M)


def test_the_readme_says_the_same() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.search(r"^## Train on your own footage\n(.*?)^## ", readme, re.M | re.S)
    assert section is not None
    blocks = re.findall(r"^```\w*\n(.*?)^```", section[1], re.M | re.S)
    commands = [line.split("  #")[0].rstrip() for block in blocks for line in block.splitlines() if line]
    assert len(commands) >= 4
    assert set(commands) <= set(COMMANDS)
    for page in ("training", "data", "footage"):
        assert f"docs/{page}.md" in section[1]
        assert (ROOT / "docs" / f"{page}.md").is_file()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_page_runs(
    tmp_path: Path, small_weights: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "person"
    folder.mkdir()
    monkeypatch.chdir(folder)
    _write_clip(folder / "street.mp4")
    for line in COMMANDS:
        words = shlex.split(line)
        asked = words if _has_street() else _without_street(words, small_weights)
        PROGRAMS[words[0]](_tiny(asked))
        if words[1:3] == ["dataset", "from-video"]:
            _label_by_hand(folder / words[words.index("-o") + 1])
    best = load_checkpoint(folder / "runs/train/exp/weights/best.safetensors")
    assert best.class_names == ("square",)
    assert {path.name for path in (folder / "runs/train").iterdir()} == {"exp", "exp2", "again", "fresh", "two-gpus"}
    for name in ("results.png", "labels.png", "predictions.jpg", "pr_curve.png", "confusion.png", "confidence.png"):
        assert (folder / "runs/train/exp" / name).stat().st_size > 1000
    assert (folder / "found.mp4").stat().st_size > 1000
    assert (folder / "found.jsonl").read_text().count("\n") == 16
    told = capfd.readouterr()
    assert "AP50" in told.out
    assert "Warning" not in told.err, told.err
    _python_of_the_page(folder)


def _python_of_the_page(folder: Path) -> None:
    """The block of the page and the example say the same; the example takes settings from the command line."""
    [block] = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
    example = (ROOT / "examples" / "finetune.py").read_text(encoding="utf-8")
    for said in ("from pipeline.api import stream", "from pipeline.api_train import train", "weights=result.best"):
        assert said in block
        assert said in example
    settings = ["epochs=1", "img_size=64", "weights=none", "model=yolov7-nano"]
    command = [sys.executable, str(ROOT / "examples/finetune.py"), "my/data.yaml", "street.mp4", *settings]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "frame 15: " in done.stdout
    assert done.stdout.splitlines()[-1].startswith("AP50 ")


def test_the_example_is_a_dozen_lines() -> None:
    text = (ROOT / "examples" / "finetune.py").read_text(encoding="utf-8")
    code = text.split('"""', 2)[2].splitlines()
    assert len([line for line in code if line.strip()]) <= 15
