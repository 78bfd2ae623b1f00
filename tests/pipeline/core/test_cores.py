from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.core.cores import restricted_cores, usable_cores


@pytest.mark.parametrize(
    ("quota", "allowed"),
    [("max 100000", 64), ("800000 100000", 8), ("150000 100000", 2), ("5000 100000", 1), ("nonsense", 64)],
)
def test_the_quota_of_the_container_counts(
    quota: str, allowed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    file = tmp_path / "cpu.max"
    file.write_text(quota + "\n")
    assert usable_cores(file) == allowed


def test_without_control_groups_the_affinity_mask_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert usable_cores(tmp_path / "absent") == 3


@pytest.mark.parametrize(("machine", "usable", "wanted"), [(2, 2, None), (64, 2, 2), (None, 1, None)])
def test_only_a_restriction_is_told(
    machine: int | None, usable: int, wanted: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.core.cores.usable_cores", lambda: usable)
    monkeypatch.setattr(os, "cpu_count", lambda: machine)
    assert restricted_cores() == wanted
