"""Converted networks are found again, whatever the weights are called, and what cannot be kept is told."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from detector.checkpoint import save_checkpoint
from detector.export.artefacts import kept
from detector.models import build_model
from detector.open_network import Wanted, opener
from pipeline.core.errors import BackendError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRACKLIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_built_once_for_each_key(cache: Path) -> None:
    built: list[Path] = []

    def build(file: Path) -> None:
        built.append(file)
        file.write_text("x")
        file.with_suffix(".bin").write_text("y")

    first = kept({"a": 1}, "network.xml", build)
    assert first == kept({"a": 1}, "network.xml", build)
    assert first.with_suffix(".bin").read_text() == "y"
    assert len({first, kept({"a": 2}, "network.xml", build), kept({"a": 1}, "network.onnx", build)}) == 3
    assert len(built) == 3
    assert not list(cache.rglob(".making-*"))


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_the_same_weights_under_two_names(backend: str, cache: Path, tmp_path: Path) -> None:
    """A copy has the same digest, and so the same place in the cache."""
    for package in (backend, "onnx"):
        if find_spec(package) is None:
            pytest.skip(f"needs the package {package}")
    torch.manual_seed(0)
    first, second = tmp_path / "best.safetensors", tmp_path / "copy.safetensors"
    save_checkpoint(first, build_model("yolox-nano", num_classes=1), ("a",), input_hw=(64, 64))
    shutil.copy(first, second)
    for weights in (first, second):
        opened = opener(backend)(weights, Wanted(device="cpu", precision="fp32"))  # type: ignore[arg-type]
        assert opened.class_names == ("a",)
        opened.backend.close()
    assert len(list((cache / "converted").iterdir())) == 1


def test_a_build_that_fails_leaves_nothing(cache: Path) -> None:
    def build(file: Path) -> None:
        file.write_text("half")
        raise BackendError("no")

    with pytest.raises(BackendError, match="no"):
        kept({"a": 1}, "network.xml", build)
    assert not list((cache / "converted").iterdir())


def test_a_cache_that_cannot_be_written_is_told_with_the_way_out(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(BackendError, match=r"converted: wanted to keep .*set TRACKLIGHT_CACHE .*--backend eager"):
        kept({"a": 1}, "network.xml", lambda file: None)
    assert cache.is_file()
