"""Which jobs are done in which order, and what the document says of them."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from pipeline.benchmark.campaign import FORMAT, Plan, each_result, measure
from pipeline.benchmark.compare import compare
from pipeline.benchmark.configuration import Configuration, Job, configurations, labels
from pipeline.benchmark.measured import Measured
from pipeline.benchmark.table import print_document
from pipeline.core.errors import BackendError


def test_rounds_go_there_and_back(fake_machine: Any, plan: Plan) -> None:
    said: list[str] = []
    measure(plan, said.append, fake_machine.do)
    order = [(job.what, job.configuration.backend if job.configuration else "") for job in fake_machine.jobs]
    assert order[:3] == [("prepare", "eager"), ("prepare", "tensorrt"), ("prepare", "openvino")]
    one_round = [
        *(("shared", ""), ("detector", "eager"), ("end to end", "eager")),
        *(("detector", "openvino"), ("end to end", "openvino")),
    ]
    assert order[3:] == [*one_round, *one_round[::-1], *one_round]
    assert said[0] == "opening 1 of 3: w.pt eager fp32 640 px batch 1"
    assert [text for text in said if not text.startswith(("opening", "round"))] == [
        "left out: w.pt tensorrt fp32 640 px batch 1: tensorrt: wanted its package, found none",
        "2 of 3 can run here; 3 rounds take about 15 s",
    ]
    assert said[5] == "round 1 of 3: shared"
    assert len(said) == len(order) + 2


def test_the_document_is_json_and_holds_everything(document: dict[str, Any]) -> None:
    again = json.loads(json.dumps(document))
    assert again["format"] == FORMAT
    assert again["settings"] == {"repeats": 3, "seconds": 0.5}
    assert again["clip"]["path"] == "street.mp4"
    assert {"cpu", "usable_cores", "cpu_features", "memory_gb", "gpu", "versions", "commit"} <= set(again["machine"])
    assert [result["what"] for result in again["results"]] == ["shared", *("detector", "end to end") * 2]
    labels = [label for label, _ in each_result(again, "detector")]
    assert labels == ["w.pt eager fp32 640 px batch 1", "w.pt openvino fp32 640 px batch 1"]
    _, result = next(each_result(again, "detector"))
    rates = [repeat["stages"]["inference"]["frames_per_s"] for repeat in result["repeats"]]
    figure = result["stages"]["inference"]["frames_per_s"]
    assert figure == {"median": sorted(rates)[1], "low": min(rates), "high": max(rates), "n": 3}
    assert result["peak_memory_mb"] == max(repeat["peak_memory_mb"] for repeat in result["repeats"])
    assert result["ran"]["device"] == "cpu"


def test_what_cannot_run_is_told_and_not_hidden(document: dict[str, Any]) -> None:
    (entry,) = document["cannot_run"]
    assert Configuration(**entry["configuration"]).backend == "tensorrt"
    assert entry["reason"] == "tensorrt: wanted its package, found none"


def test_what_fails_in_the_middle_is_left_out_from_there_on(fake_machine: Any, plan: Plan) -> None:
    def do(job: Job) -> Measured:
        if len(fake_machine.jobs) > 9:
            fake_machine.speed.pop("eager", None)
        measured: Measured = fake_machine.do(job)
        return measured

    document = measure(plan, lambda text: None, do)
    reasons = {entry["configuration"]["backend"]: entry["reason"] for entry in document["cannot_run"]}
    assert reasons["eager"].startswith("failed in round 2, ")
    assert [label.split()[1] for label, _ in each_result(document, "detector")] == ["openvino"]


def test_a_clip_that_cannot_be_measured_on_ends_it(fake_machine: Any, plan: Plan) -> None:
    del fake_machine.speed["shared"]
    with pytest.raises(BackendError, match="shared"):
        measure(plan, lambda text: None, fake_machine.do)


def test_configurations_are_every_combination_once() -> None:
    found = list(
        configurations(
            weights=["a", "b"],
            backends=["eager", "eager"],
            precisions=["fp32", "bf16"],
            img_sizes=[None, 320],
            batches=[1, 4],
            device="cpu",
        )
    )
    assert len(found) == len(set(found)) == 16
    assert found[0] == Configuration("a", "eager", "fp32", None, 1, "cpu")
    assert found[1].batch == 4
    assert found[0].label == "a eager fp32 own size batch 1 on cpu"
    assert "img_size" not in found[0].detector_section()
    assert found[-1].detector_section()["img_size"] == 320
    assert len({one.label for one in found}) == 16


def test_a_job_survives_json() -> None:
    for job in (Job("shared", None, "c.mp4", 1.0), Job("end to end", Configuration("w", img_size=320), "c.mp4", None)):
        assert Job.from_json(json.loads(json.dumps(job.to_json()))) == job


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["street", "best.pt"], ["street", "best.pt"]),
        (["runs/a/weights/best.pt", "runs/b/weights/best.pt"], ["a/weights/best.pt", "b/weights/best.pt"]),
        (["a/best.pt", "best.pt"], ["a/best.pt", "best.pt"]),
        (["a/best.pt", "./a/best.pt", "c.pt"], ["a/best.pt", "./a/best.pt", "c.pt"]),
    ],
)
def test_files_of_one_name_are_told_apart(files: list[str], names: list[str]) -> None:
    found = labels(Configuration(file, "eager", "fp32") for file in files)
    assert [label.removesuffix(" eager fp32 own size batch 1") for label in found.values()] == names


def test_two_files_of_one_name_stay_two_in_the_document(fake_machine: Any, plan: Plan) -> None:
    two = [Configuration(f"runs/{run}/best.pt", "eager", "fp32") for run in ("a", "b")]
    document = measure(replace(plan, configurations=two), lambda text: None, fake_machine.do)
    found = [label for label, _ in each_result(document, "detector")]
    assert [label.split()[0] for label in found] == ["a/best.pt", "b/best.pt"]
    # Four shared stages, then 4 + 1 of each; four figures each: none takes another's place.
    assert len(compare(document, document)) == (4 + 2 * 5) * 4


@pytest.mark.parametrize(
    ("n_jobs", "repeats", "where"),
    [
        (3 + 5 + 2, {1}, "in round 2 of 3"),
        (3 + 2 * 5 + 4, {2}, "in round 3 of 3"),
        (3 + 3, {1}, "in round 1 of 3"),
    ],
)
def test_ctrl_c_keeps_what_whole_rounds_gave(
    n_jobs: int, repeats: set[int], where: str, fake_machine: Any, plan: Plan
) -> None:
    def do(job: Job) -> Measured:
        if len(fake_machine.jobs) == n_jobs:
            raise KeyboardInterrupt
        measured: Measured = fake_machine.do(job)
        return measured

    document = measure(plan, lambda text: None, do)
    assert document["interrupted"] == where
    assert {len(result["repeats"]) for result in document["results"]} == repeats
    # Every kind was measured at least once, but for what a first round had not come to.
    assert len(document["results"]) == (3 if where.startswith("in round 1") else 5)
    text = io.StringIO()
    print_document(document, Console(file=text, width=160))
    assert f"interrupted {where}" in text.getvalue()


@pytest.mark.parametrize("n_jobs", [0, 2, 3])
def test_ctrl_c_before_anything_was_measured(n_jobs: int, fake_machine: Any, plan: Plan) -> None:
    def do(job: Job) -> Measured:
        if len(fake_machine.jobs) == n_jobs:
            raise KeyboardInterrupt
        measured: Measured = fake_machine.do(job)
        return measured

    with pytest.raises(KeyboardInterrupt):
        measure(plan, lambda text: None, do)
