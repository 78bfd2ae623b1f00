"""Nothing chooses between the compiled and the NumPy build in silence."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

from pipeline.core.errors import BackendError, UsageError
from tracker import kernels
from tracker.bytetrack import ByteTracker

BUILT = importlib.util.find_spec("tracker._fast") is not None
needs_extension = pytest.mark.skipif(not BUILT, reason="tracker._fast is not built (pip install -e .)")


def test_unknown_build():
    with pytest.raises(UsageError, match="wanted one of cython, numpy, found 'fortran'"):
        ByteTracker(backend="fortran")


def test_missing_build_is_an_error(monkeypatch):
    monkeypatch.setitem(kernels.MODULES, "cython", "tracker._not_built")
    with pytest.raises(BackendError, match=r"wanted 'cython', found no compiled tracker\._not_built"):
        kernels.load_kernels("cython")


def test_default_build():
    if kernels.VARIABLE not in os.environ:
        assert ("cython" if BUILT else "numpy") == kernels.BACKEND


@pytest.mark.parametrize("name", ["numpy", pytest.param("cython", marks=needs_extension)])
def test_environment_forces_a_build(name):
    code = "from tracker import kernels; print(kernels.BACKEND)"
    environment = {**os.environ, kernels.VARIABLE: name}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == name
