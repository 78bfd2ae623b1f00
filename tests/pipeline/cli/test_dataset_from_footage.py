"""The sub-verbs `dataset from-video` and `dataset split`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from detector.data.read import examine
from pipeline.cli import dataset_from_video, dataset_split
from pipeline.core.errors import ConfigError, DatasetError, UsageError


def _run(verb: object, *arguments: object) -> int:
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)  # type: ignore[attr-defined]
    return int(verb.run(parser.parse_args([str(a) for a in arguments])))  # type: ignore[attr-defined]


@pytest.fixture
def stills(tmp_path: Path) -> Path:
    """Twenty pictures in a folder, every fifth like the one before it, with YOLO labels of two classes."""
    folder = tmp_path / "stills" / "images"
    folder.mkdir(parents=True)
    (tmp_path / "stills" / "labels").mkdir()
    for number in range(20):
        seed = number - 1 if number % 5 == 4 else number
        coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), cv2.resize(coarse, (80, 60), interpolation=cv2.INTER_CUBIC))
        lines = f"{number % 2} 0.5 0.5 0.5 0.5\n"
        (tmp_path / "stills" / "labels" / f"{number}.txt").write_text(lines)
    (tmp_path / "stills" / "data.yaml").write_text("train: images\nnames: [cat, dog]\n")
    return folder


def test_footage_without_a_model(stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(dataset_from_video, stills, "-o", tmp_path / "out", "--classes", "cat", "dog") == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "16 pictures (13 train, 3 val) of 20 frames; 4 look-alikes left out"
    assert told[-1] == f"written to {tmp_path / 'out'}"
    found, _ = examine(tmp_path / "out" / "data.yaml", "val", cache=False)
    assert found.class_names == ("cat", "dog")


def test_without_class_names_it_is_told_that_there_is_no_data_yaml(
    stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(dataset_from_video, stills, "-o", tmp_path / "out", "--max-per-source", 2) == 0
    told = capsys.readouterr().out
    assert "no data.yaml" in told
    assert "no picture is left for val" in told


def test_a_failed_source_gives_exit_code_1(stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video" * 100)
    assert _run(dataset_from_video, stills, broken, "-o", tmp_path / "out", "--quiet") == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "broken.mp4" in shown.err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--split", "most"), "--split"),
        (("--split", "0.5,0.1"), "make 1"),
        (("--every", 0), "no picture would be taken"),
        (("--conf", 0.1), "unsure <= conf"),
        (("--tracker", "none", "--set", "tracker.buffer_s=1"), "tracker.kind is none"),
        (("--set", "detector.conf_thres=0.1"), "--conf and --unsure"),
    ],
)
def test_options_that_cannot_work(options: tuple[object, ...], told: str, stills: Path, tmp_path: Path) -> None:
    with pytest.raises((UsageError, ConfigError), match=told):
        _run(dataset_from_video, stills, "-o", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_splitting_keeps_look_alikes_together(stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert _run(dataset_split, stills.parent / "data.yaml", "-o", out, "--parts", "train=0.6,val=0.2,test=0.2") == 0
    manifest = json.loads((out / "manifest.json").read_text())
    split_of = {Path(picture["original"]).stem: picture["split"] for picture in manifest["pictures"]}
    for number in (4, 9, 14, 19):
        assert split_of[str(number)] == split_of[str(number - 1)]
    told = capsys.readouterr().out
    assert "20 images, 4 groups of look-alikes, largest 2" in told
    total = 0
    for split, share in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
        for path in (out / "data.yaml", out / "annotations" / f"instances_{split}.json"):
            found, report = examine(path, split, cache=False)
            assert not report.bad
            assert len(found.images) == pytest.approx(20 * share, abs=1)
        total += len(found.images)
        assert {image.class_id[0] for image in found.images} == {0, 1}
    assert total == 20


def test_splitting_refuses_to_replace_what_it_reads(stills: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    data = stills.parent / "data.yaml"
    assert _run(dataset_split, data, "-o", out, "--quiet", "--format", "yolo", "--copy") == 0
    with pytest.raises(UsageError, match="apart from the data set"):
        _run(dataset_split, out / "data.yaml", "-o", out, "--exist-ok")
    with pytest.raises(UsageError, match="--exist-ok"):
        _run(dataset_split, data, "-o", out)
    assert _run(dataset_split, data, "-o", out, "--quiet", "--format", "coco", "--exist-ok") == 0
    assert not (out / "data.yaml").exists()
    with pytest.raises(DatasetError, match="no such"):
        _run(dataset_split, tmp_path / "none.json", "-o", tmp_path / "new")
