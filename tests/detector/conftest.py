"""Images and golden numbers that the detector's tests share."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from detector import box_kernels
from pipeline.core.arrays import ImageArray


@pytest.fixture(scope="session")
def golden(golden_dir: Path) -> dict[str, Any]:
    """The small set of reference numbers that is part of the repository."""
    return dict(json.loads((golden_dir / "detector" / "prepost.json").read_text()))


@pytest.fixture(scope="session")
def rule_image() -> Callable[[int, int, int], ImageArray]:
    """An image by the rule of tests/golden/detector/README.md, from seed, height and width."""

    def make(seed: int, height: int, width: int) -> ImageArray:
        rng = np.random.default_rng(seed)
        coarse = rng.integers(0, 256, (-(-height // 16), -(-width // 16), 3))
        fine = rng.integers(0, 64, (height, width, 3))
        coarse = coarse.repeat(16, axis=0).repeat(16, axis=1)[:height, :width]
        return ((coarse * 3 + fine * 4) // 4).clip(0, 255).astype(np.uint8)

    return make


@pytest.fixture
def figure_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Draws a chart, checks the file and that no text is cut off, and gives the figure back."""
    kept: list[Any] = []

    def draw(plot: Callable[..., None], *arguments: Any) -> Any:
        module = sys.modules[plot.__module__]
        save = module.save_figure

        def keep(figure: Any, path: Path) -> None:
            save(figure, path)
            kept.append(figure)

        path = tmp_path / "chart.png"
        with monkeypatch.context() as patched:
            patched.setattr(module, "save_figure", keep)
            plot(*arguments, path)
        assert [p.name for p in tmp_path.iterdir()] == ["chart.png"]
        image = cv2.imread(str(path))
        assert image is not None
        assert max(image.shape) <= 2400
        _assert_nothing_is_cut(kept[-1])
        return kept[-1]

    return draw


def _assert_nothing_is_cut(figure: Any) -> None:
    used, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert used.x0 > -0.02
    assert used.y0 > -0.02
    assert used.x1 < width + 0.02
    assert used.y1 < height + 0.02


BUILDS = ["torch"] + (["cython"] if box_kernels.BACKEND == "cython" else [])


@pytest.fixture(params=BUILDS)
def build(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs a test on every build of the inner loops that there is here; gives the name of the build."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(box_kernels, "DEFAULT", box_kernels.load_kernels(request.param))
        yield request.param


@pytest.fixture(scope="session")
def tensorrt_stand_in() -> ModuleType:
    """The file beside this one: TensorRT's names, types and call order without TensorRT and without a GPU."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    spec = importlib.util.spec_from_file_location("tensorrt_stand_in", Path(__file__).with_name("tensorrt_stand_in.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
