"""Nothing chooses between the builds of the code behind the network in silence."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

from detector import box_kernels
from pipeline.core.errors import BackendError, UsageError

BUILT = importlib.util.find_spec("detector._boxes") is not None


def chosen(**environment: str) -> subprocess.CompletedProcess[str]:
    code = "from detector import box_kernels; print(box_kernels.BACKEND)"
    clean = {name: value for name, value in os.environ.items() if name != box_kernels.VARIABLE}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=clean | environment)


def test_the_compiled_build_is_the_default_where_there_is_one() -> None:
    assert chosen().stdout.strip() == ("cython" if BUILT else "torch")


def test_the_environment_forces_a_build() -> None:
    assert chosen(**{box_kernels.VARIABLE: "torch"}).stdout.strip() == "torch"
    refused = chosen(**{box_kernels.VARIABLE: "rust"})
    assert refused.returncode != 0
    assert "detector kernels: wanted one of cython, torch, found 'rust'" in refused.stderr


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
    assert box_kernels.load_kernels(name).NAME == name
