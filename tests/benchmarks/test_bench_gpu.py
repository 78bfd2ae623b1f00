"""The GPU benchmark on the CPU: the same code, small shapes; its times say nothing here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("bench_gpu.py")
SMALL = [
    "--device",
    "cpu",
    "--models",
    "yolov7-tiny",
    "--img-size",
    "64",
    "--batches",
    "1",
    "2",
    "--rounds",
    "1",
    "--calls",
    "1",
    "--peak-side",
    "256",
]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_runs_and_checks_the_logits(tmp_path: Path, precision: str) -> None:
    out = tmp_path / "gpu.json"
    command = [sys.executable, str(SCRIPT), *SMALL, "--precision", precision, "--json", str(out)]
    # One thread: threads that wait for each other beside other busy processes take a hundred times as long.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, cwd=SCRIPT.parents[2], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "yolov7-tiny" in ran.stdout
    document = json.loads(out.read_text())
    found = [(figure["contestant"], figure["batch"]) for figure in document["figures"]]
    assert found == [("plain", 1), ("eager", 1), ("plain", 2), ("eager", 2)]
    assert document["precision"] == precision
    for figure in document["figures"]:
        assert figure["ms"] > 0
        assert figure["images_per_s"] == pytest.approx(figure["batch"] * 1e3 / figure["ms"])
        assert 0 <= figure["error"] < {"fp32": 1e-3, "bf16": 0.15}[precision]
