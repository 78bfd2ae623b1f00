"""Nothing chooses between the compiled and the NumPy build of the rules in silence."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pipeline.analytics import kernels
from pipeline.core.errors import BackendError, UsageError

needs_extension = pytest.mark.skipif(not kernels.is_built(), reason="needs the compiled rules (pip install -e .)")


def test_unknown_build() -> None:
    with pytest.raises(UsageError, match="wanted one of cython, numpy, found 'fortran'"):
        kernels.load_kernels("fortran")


def test_missing_build_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "EXTENSIONS", ("pipeline.analytics._not_built",))
    with pytest.raises(BackendError, match=r"wanted 'cython', found no compiled pipeline\.analytics\._not_built"):
        kernels.load_kernels("cython")


@needs_extension
def test_a_build_of_other_sources_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.analytics import _rules

    monkeypatch.delattr(_rules, "alike")
    monkeypatch.delitem(sys.modules, "pipeline.analytics.compiled_rules", raising=False)
    with pytest.raises(BackendError, match=r"is not of this version \(cannot import name 'alike'.*build it again"):
        kernels.load_kernels("cython")


def test_default_build() -> None:
    if kernels.VARIABLE not in os.environ:
        assert ("cython" if kernels.is_built() else "numpy") == kernels.BACKEND


@pytest.mark.parametrize("name", ["numpy", pytest.param("cython", marks=needs_extension)])
def test_environment_forces_a_build(name: str) -> None:
    code = "from pipeline.analytics import kernels; print(kernels.BACKEND)"
    environment = {**os.environ, kernels.VARIABLE: name}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == name
