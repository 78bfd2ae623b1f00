"""Nothing chooses between the builds of the code behind the network in silence."""

from __future__ import annotations

import importlib.util

import pytest

from detector import box_kernels
from pipeline.core.errors import BackendError, UsageError

BUILT = importlib.util.find_spec("detector._boxes") is not None


def test_the_compiled_build_is_the_default_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(box_kernels.VARIABLE, raising=False)
    assert box_kernels._default() is box_kernels.load_kernels("cython" if BUILT else "torch")


def test_the_environment_forces_a_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(box_kernels.VARIABLE, "torch")
    assert box_kernels._default().NAME == "torch"
    monkeypatch.setenv(box_kernels.VARIABLE, "rust")
    with pytest.raises(UsageError, match="detector kernels: wanted one of cython, torch, found 'rust'"):
        box_kernels._default()


def test_another_name_is_refused() -> None:
    with pytest.raises(UsageError, match="check TRACKLIGHT_DETECTOR_KERNELS"):
        box_kernels.load_kernels("numpy")


def test_a_build_that_is_not_there_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(box_kernels.MODULES, "cython", "detector._never_built")
    with pytest.raises(BackendError, match=r"found no compiled detector\._never_built; build it with: pip install -e"):
        box_kernels.load_kernels("cython")


@pytest.mark.skipif(not BUILT, reason="detector._boxes is not built (pip install -e .)")
@pytest.mark.parametrize("name", box_kernels.MODULES)
def test_builds_know_their_name(name: str) -> None:
    found = box_kernels.load_kernels(name).NAME
    assert found == name
