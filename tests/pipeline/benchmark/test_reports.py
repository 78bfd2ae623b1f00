"""Tables, plot and comparison of documents."""

from __future__ import annotations

import copy
import io
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest
from rich.console import Console

from pipeline.benchmark.campaign import measure
from pipeline.benchmark.compare import compare, differences, left_out, read_document
from pipeline.benchmark.comparison_table import print_comparison
from pipeline.benchmark.plot import plot_document
from pipeline.benchmark.table import print_document, three_digits
from pipeline.core.errors import MissingExtraError, UsageError


def shown(print_it: Any, *arguments: Any) -> str:
    text = io.StringIO()
    print_it(*arguments, Console(file=text, width=160, highlight=False))
    return text.getvalue()


def faster(document: dict[str, Any], factor: float) -> dict[str, Any]:
    """The document with `inference` of the last configuration so many times as fast."""
    changed = copy.deepcopy(document)
    last = [result for result in changed["results"] if result["what"] == "detector"][-1]
    figures = last["stages"]["inference"]
    for key in ("median", "low", "high"):
        figures["frames_per_s"][key] *= factor
        for name in ("p50_ms", "p99_ms", "cpu_s_per_frame"):
            figures[name][key] /= factor
    return changed


def test_tables_tell_figures_spread_ratio_and_reasons(document: dict[str, Any]) -> None:
    document["machine"]["load_before"] = 0.1
    text = shown(print_document, document)
    lines = text.splitlines()
    openvino = next(line for line in lines if line.startswith("w.pt openvino fp32 640 px batch 1"))
    assert "x " in openvino
    assert float(openvino.split("x")[-2].split()[-1]) == pytest.approx(3.0, rel=0.05)
    assert [line.split()[0] for line in lines if line.startswith(("decode", "track", "draw", "encode"))] == [
        *("decode", "track", "draw", "encode")
    ]
    reason = "cannot run here: w.pt tensorrt fp32 640 px batch 1: tensorrt: wanted its package, found none"
    assert reason in lines
    assert "other programs" not in text


def test_a_busy_machine_is_told(document: dict[str, Any]) -> None:
    document["machine"]["load_before"] = 99.0
    assert "other programs were running (load 99.0" in shown(print_document, document)


def test_what_auto_stood_for_is_told(document: dict[str, Any]) -> None:
    for result in document["results"]:
        if result["configuration"]:
            result["configuration"]["precision"] = "auto"
    assert "w.pt eager auto 640 px batch 1 (auto: fp32)" in shown(print_document, document)


def test_plot_is_a_picture(document: dict[str, Any], tmp_path: Path) -> None:
    plot_document(document, tmp_path / "bench.png")
    image = cv2.imread(str(tmp_path / "bench.png"))
    assert image is not None
    assert image.shape[1] > 1000
    assert len({tuple(pixel) for pixel in image[:, ::7].reshape(-1, 3).tolist()}) > 10


def test_plot_of_nothing(fake_machine: Any, plan: Any, tmp_path: Path) -> None:
    fake_machine.speed = {"shared": 1.0}
    plot_document(measure(plan, lambda text: None, fake_machine.do), tmp_path / "bench.png")
    assert (tmp_path / "bench.png").is_file()


def test_plot_without_matplotlib(document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match="matplotlib"):
        plot_document(document, tmp_path / "bench.png")


def test_a_document_equals_itself(document: dict[str, Any]) -> None:
    rows = compare(document, document)
    assert {row.verdict for row in rows} == {"within the noise"}
    assert {row.ratio for row in rows} == {1.0}
    # 4 shared stages, then 4 + 1 of each of two configurations; four figures each.
    assert len(rows) == (4 + 2 * 5) * 4
    assert not left_out(document, document)
    assert not differences(document, document)


def test_only_what_changed_gets_a_verdict(document: dict[str, Any]) -> None:
    rows = compare(document, faster(document, 1.5))
    changed = [row for row in rows if row.verdict != "within the noise"]
    assert {(row.label.split()[1], row.stage, row.verdict) for row in changed} == {("openvino", "inference", "better")}
    assert {row.figure: round(row.ratio, 3) for row in changed} == {
        "frames_per_s": 1.5,
        **dict.fromkeys(("p50_ms", "p99_ms", "cpu_s_per_frame"), 0.667),
    }
    assert {row.verdict for row in compare(faster(document, 1.5), document)} == {"within the noise", "worse"}


def test_the_table_of_a_comparison(document: dict[str, Any]) -> None:
    text = shown(print_comparison, compare(document, faster(document, 1.5)), ["different cpu: A and B"])
    assert "different cpu: A and B" in text.splitlines()[0]
    inference = [line for line in text.splitlines() if line.startswith("inference") and "better" in line]
    assert [line.split()[-2] for line in inference] == ["1.500", "0.667", "0.667", "0.667"]
    assert "52 within the noise, 4 better" in text


def test_what_makes_a_comparison_doubtful(document: dict[str, Any]) -> None:
    other = copy.deepcopy(document)
    other["machine"]["cpu"] = "Other CPU"
    other["machine"]["versions"]["numpy"] = "1.0"
    other["clip"]["name"] = "other.mp4"
    found = differences(document, other)
    assert [line.split(":")[0] for line in found] == ["different cpu", "different clips", "different numpy"]


@pytest.mark.parametrize(
    ("part", "name", "value", "line"),
    [
        ("machine", "python", "3.99.0", "different python: 3.11.7 and 3.99.0"),
        ("machine", "cpu_features", ["avx2"], "different cpu features: avx2, avx512_bf16 and avx2"),
        ("machine", "memory_gb", 1.5, "different memory gb: 24.0 and 1.5"),
        ("machine", "gpu", ["GPU 1", "GPU 2"], "different gpu: none and GPU 1, GPU 2"),
        ("machine", "load_before", 99.0, "other programs were running before the second only: load 0.0 and 99.0"),
        ("settings", "seconds", 9.0, "different --seconds: 0.5 and 9.0"),
        ("settings", "repeats", 9, "different --repeats: 3 and 9"),
        (
            "clip",
            "width_px",
            640,
            "different clips: street.mp4 (1280x720, 1800 frames) and street.mp4 (640x720, 1800 frames)",
        ),
    ],
)
def test_every_fact_that_differs_is_told(
    part: str, name: str, value: object, line: str, document: dict[str, Any]
) -> None:
    document["machine"] |= {"python": "3.11.7", "cpu_features": ["avx2", "avx512_bf16"], "memory_gb": 24.0}
    document["machine"] |= {"gpu": [], "load_before": 0.0}
    other = copy.deepcopy(document)
    other[part][name] = value
    assert differences(document, other) == [line]


def test_what_auto_stood_for_is_compared(document: dict[str, Any]) -> None:
    other = copy.deepcopy(document)
    for result in other["results"]:
        if result["what"] == "detector":
            result["ran"]["device"] = "cuda:0"
    assert differences(document, other) == [
        f"different device of w.pt {name} fp32 640 px batch 1: cpu and cuda:0" for name in ("eager", "openvino")
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0052, "0.00520"), (1.349, "1.35"), (12.34, "12.3"), (99.97, "100"), (1234.4, "1234"), (0.0, "0.00")],
)
def test_three_digits(value: float, text: str) -> None:
    assert three_digits(value) == text


def test_what_only_one_has_is_told(document: dict[str, Any]) -> None:
    fewer = copy.deepcopy(document)
    fewer["results"] = [result for result in fewer["results"] if result["what"] != "end to end"]
    assert left_out(document, fewer) == [
        f"only in the first: end to end: w.pt {name} fp32 640 px batch 1" for name in ("eager", "openvino")
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("no json", "found no JSON"),
        ("[]", "found format None"),
        ('{"format": 99, "results": []}', "found format 99"),
        ('{"format": 1}', "wanted a result of `tracklight bench`"),
    ],
)
def test_what_is_no_result(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "bench.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=message):
        read_document(path)


def test_a_result_is_read_back(tmp_path: Path, document: dict[str, Any]) -> None:
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(document))
    assert read_document(path) == json.loads(json.dumps(document))
