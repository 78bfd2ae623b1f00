"""Fixtures that every test may use, and what holds for all tests."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

# Also for tests that import ONNX Runtime themselves; the variable counts only before the first import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_NOT_INSTALLED = re.compile(
    r"could not import|pip install|apt-get|not installed|not built|missing|needs (?!a CUDA device)"
)
"""Reasons to skip that a whole installation does not have."""


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turns a skip for want of a package or program into a failure, where everything is said to be installed (CI)."""
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("TRACKLIGHT_NO_SKIP") == "1":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if _NOT_INSTALLED.search(reason):
            report.outcome = "failed"
            report.longrepr = f"{report.nodeid}: no skip is allowed here (TRACKLIGHT_NO_SKIP=1), found: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """For skips of a test."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """For skips of a whole file."""
    report = yield
    _refuse_skip(report)
    return report


def _shared() -> Path:
    """The folder with reference numbers and data: beside the checkout, or where TRACKLIGHT_SHARED says."""
    return Path(os.environ.get("TRACKLIGHT_SHARED", Path(__file__).resolve().parents[2] / "shared"))


@pytest.fixture(scope="session")
def reference_dir() -> Path:
    """Numbers produced by the reference implementations; the test skips where they are absent."""
    folder = _shared() / "reference"
    if not folder.is_dir():
        pytest.skip("reference numbers are not beside this checkout (set TRACKLIGHT_SHARED)")
    return folder


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real weights, images and clips; the test skips where they are absent."""
    folder = _shared() / "data"
    if not folder.is_dir():
        pytest.skip("development data is not beside this checkout (set TRACKLIGHT_SHARED)")
    return folder


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """Small reference numbers that are part of the repository."""
    return Path(__file__).resolve().parent / "golden"


@pytest.fixture(scope="session")
def sure_weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[int, int]], Path]:
    """Gives an untrained YOLOX-nano for an input size, with two classes, that is sure of an object everywhere."""

    def make(input_hw: tuple[int, int]) -> Path:
        import torch

        from detector.checkpoint import save_checkpoint
        from detector.models import build_model

        torch.manual_seed(0)
        path = tmp_path_factory.mktemp("weights") / "small.safetensors"
        model = build_model("yolox-nano", num_classes=2)
        for name, value in model.state_dict().items():
            if "obj_preds" in name and name.endswith("bias"):
                value.fill_(3.0)
            elif "cls_preds" in name and name.endswith("bias"):
                value.copy_(torch.tensor([3.0, -3.0]))
        save_checkpoint(path, model, class_names=("person", "car"), input_hw=input_hw)
        return path

    return make


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Networks that tests convert for a runtime are kept for the other tests, and not in the user's own cache."""
    before = os.environ.get("TRACKLIGHT_CACHE")
    os.environ["TRACKLIGHT_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    del os.environ["TRACKLIGHT_CACHE"]
    if before is not None:
        os.environ["TRACKLIGHT_CACHE"] = before


@pytest.fixture(autouse=True)
def _no_log_handler_left() -> Iterator[None]:
    """The command line's own log handler writes to a stream that is closed when the test is over."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    for handler in [handler for handler in root.handlers if type(handler) is logging.StreamHandler]:
        if handler not in before:
            root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    """Every thread that a test starts has ended when the test ends.

    Daemon threads are left out: the project has none, and Python shows threads of FFmpeg's that way.
    """
    before = set(threading.enumerate())
    yield
    left = [t for t in threading.enumerate() if t not in before and t.is_alive() and not t.daemon]
    for thread in left:
        thread.join(timeout=5)
    still = [t.name for t in left if t.is_alive()]
    assert not still, f"threads left running: {still}"
