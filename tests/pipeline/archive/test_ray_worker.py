"""The actor without Ray around it: what it tells, how often it tries, when it stops. Real clusters: tests/e2e."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from pipeline.archive.find import FoundVideo
from pipeline.archive.job import Job, Outcome, Task, Unusable
from pipeline.archive.ray_pool import RayPool, RayWorker, stop_file
from pipeline.config.build import load_run_config
from pipeline.core.errors import BackendError, MissingExtraError

TASK = Task(0, FoundVideo("a.mp4", 1, 1))


@pytest.fixture
def job(
    tmp_path: Path, small_weights: Path, make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Job]:
    make_clip(tmp_path / "a.mp4", 6)
    (tmp_path / "work").mkdir()
    detector = {"weights": str(small_weights), "backend": "eager", "device": "cpu", "max_det": 20}
    config = load_run_config(None, {"detector": detector}, []).model_dump(mode="json")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads(), cv2.getNumThreads()
    yield Job(config, tmp_path, tmp_path / "work", "run", "settings", ("a.mp4",), threads=1)
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


def answer(worker: RayWorker, task: Task = TASK) -> Any:
    return worker({"task": task})["message"]


def test_a_third_try_is_refused(job: Job) -> None:
    worker = RayWorker(job)
    for _ in range(2):
        assert answer(worker) == Outcome("a.mp4", "done", job.work / "run-0")
    refused = answer(worker)
    assert (refused.status, refused.made) == ("failed", None)
    assert "its worker died 2 times" in refused.reason
    assert answer(worker, replace(TASK, number=1)).status == "done"


def test_the_stop_file_ends_what_is_in_work(job: Job) -> None:
    worker = RayWorker(job)
    stop_file(job).touch()
    assert answer(worker) == Outcome("a.mp4", "stopped")
    assert not (job.work / "run-0").exists()


def test_what_keeps_a_worker_from_beginning_is_told_with_every_video(job: Job) -> None:
    detector = {**job.config["detector"], "classes": ["dragon"]}
    worker = RayWorker(replace(job, config={**job.config, "detector": detector}))
    for _ in range(2):
        told = answer(worker)
        assert isinstance(told, Unusable)
        assert "dragon" in told.reason
        assert told.is_usage


def test_without_ray(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_BACKEND_LOG_LEVEL", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tracklight\[ray\]'"):
        RayPool(job, [TASK], 1, threading.Event(), address="somewhere:1")


def test_nobody_at_the_address(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_BACKEND_LOG_LEVEL", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"):
        monkeypatch.setenv(name, "0")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        pool = RayPool(job, [TASK], 1, threading.Event(), address=address)
        with pytest.raises(BackendError, match=rf"--ray {address}: wanted a Ray cluster there, found .*refused"):
            list(pool.messages())
