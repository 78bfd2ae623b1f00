"""All 15 networks against the numbers of the reference programs, before and after every change of form."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from detector.models import DetectionModel, available_models, build_model, fuse, training_to_deploy_state

pytestmark = pytest.mark.reference

Fill = Callable[[DetectionModel, float], DetectionModel]
AssertRows = Callable[[torch.Tensor, np.ndarray], None]


_YOLOX_NECK = ("backbone.C3_p3", "backbone.C3_n3", "backbone.C3_n4")
_YOLOX_NECKS = {"yolox-darknet53": ("backbone.out2.4", "backbone.out1.4", "backbone.backbone.dark5.9")}


@dataclass(frozen=True)
class Case:
    """One network with the rule's weights, and what the reference program says about it."""

    model: DetectionModel
    facts: dict[str, Any]
    rows: dict[str, np.ndarray]


@cache
def _facts(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


_LARGEST = frozenset(
    ("yolov7x", "yolov7-w6", "yolov7-e6", "yolov7-d6", "yolov7-e6e", "yolox-l", "yolox-x", "yolox-darknet53")
)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.slow if name in _LARGEST else ())
        for name in available_models()
        if name != "yolov7-nano"  # our own: nobody else has its numbers
    ],
)
def case(request: pytest.FixtureRequest, reference_dir: Path, fill: Fill) -> Case:
    name: str = request.param
    reference_name = {"yolox-darknet53": "yolov3"}.get(name, name.replace("-", "_") if "yolox" in name else name)
    family = "yolox" if "yolox" in name else "yolov7"
    facts = _facts(reference_dir / "parity" / f"{family}_parity.json")[reference_name]
    with np.load(reference_dir / "parity" / f"{reference_name}.npz") as arrays:
        rows = {key: arrays[key] for key in arrays.files}
    form = "training" if facts.get("cfg") == "training" else "deploy"
    return Case(fill(build_model(name, form=form), facts["gain"]), facts, rows)


def _assert_fingerprint(
    found: torch.Tensor, wanted: dict[str, float], *, rtol: float = 1e-6, spread: bool = False
) -> None:
    """With `spread` only size, mean and deviation are compared; else all, relative to the sum of magnitudes."""
    flat = found.double().flatten().numpy()
    assert flat.size == wanted["n"]
    if spread:
        assert flat.mean() == pytest.approx(wanted["mean"], abs=rtol * wanted["std"])
        assert flat.std() == pytest.approx(wanted["std"], rel=rtol)
        return
    scale = rtol * wanted["abs_sum"]
    assert np.abs(flat).sum() == pytest.approx(wanted["abs_sum"], abs=scale)
    assert flat.sum() == pytest.approx(wanted["mean"] * wanted["n"], abs=scale)
    assert flat @ np.cos(np.arange(flat.size)) == pytest.approx(wanted["cosdot"], abs=scale)
    assert flat.std() == pytest.approx(wanted["std"], rel=10 * rtol)
    assert [flat.min(), flat.max()] == pytest.approx([wanted["min"], wanted["max"]], rel=1e-4, abs=1e-4)


@torch.no_grad()
def test_boxes_before_and_after_fusing(case: Case, image: torch.Tensor, assert_rows: AssertRows) -> None:
    boxes, fused = case.model(image)[0], fuse(case.model)(image)[0]
    assert boxes.dtype == torch.float32
    assert_rows(boxes[: len(case.rows["first"])], case.rows["first"])
    assert_rows(boxes[-len(case.rows["last"]) :], case.rows["last"])
    np.testing.assert_allclose(boxes.double().mean(0), case.rows["col_mean"], atol=1e-4)
    np.testing.assert_allclose(boxes.double().std(0, correction=0), case.rows["col_std"], atol=1e-4)
    assert_rows(fused[: len(case.rows["fused_first"])], case.rows["fused_first"])
    if "fused_last" in case.rows:
        assert_rows(fused[-len(case.rows["fused_last"]) :], case.rows["fused_last"])
    assert_rows(fused, boxes.numpy())
    _assert_fingerprint(boxes, case.facts["decoded"])
    _assert_fingerprint(fused, case.facts["fused"])


@torch.no_grad()
def test_raw_maps_of_the_lead_levels(case: Case, image: torch.Tensor) -> None:
    raws = case.model.raw(image)
    if case.model.family == "yolox":
        flat = torch.cat([raw.flatten(2) for raw in raws], 2)[0].T
        rows = torch.cat((flat[:, :4], flat[:, 4:].sigmoid()), 1)
        np.testing.assert_allclose(rows[: len(case.rows["raw_first"])], case.rows["raw_first"], rtol=0, atol=1e-5)
        _assert_fingerprint(rows, case.facts["raw_undecoded"])
        return
    for level, (raw, wanted) in enumerate(zip(raws, case.facts["raw_eval"], strict=True)):
        _assert_fingerprint(raw, wanted)
        np.testing.assert_allclose(raw[0, :, 0, 0], case.rows["raw_p_first_cell"][level], rtol=0, atol=2e-5)
        np.testing.assert_allclose(raw[0, :, -1, -1], case.rows["raw_p_last_cell"][level], rtol=0, atol=2e-5)


@torch.no_grad()
def test_features_that_the_head_reads(case: Case, image: torch.Tensor) -> None:
    """Every numbered layer of YOLOv7, the three outputs of YOLOX's neck: shows where two networks part."""
    if case.model.family == "yolov7":
        wanted = {f"model.{facts['i']}": facts for facts in case.facts["layer_acts"]}
    else:
        wanted = dict(zip(_YOLOX_NECKS.get(case.model.name, _YOLOX_NECK), case.facts["fpn"], strict=True))
    checked = set()

    def check(path: str, output: torch.Tensor) -> None:
        # At once: the next layer may write its activation over it.
        _assert_fingerprint(output, wanted[path])
        checked.add(path)

    handles = [
        case.model.get_submodule(path).register_forward_hook(lambda _, __, output, path=path: check(path, output))
        for path in wanted
    ]
    try:
        case.model.raw(image)
    finally:
        for handle in handles:
            handle.remove()
    # Layers of auxiliary levels do not run here; their raw maps have a test of their own.
    n_aux = len(case.model.strides) if case.model.detection_head.has_aux else 0
    assert len(checked) == len(wanted) - n_aux


@torch.no_grad()
def test_training_weights_in_the_deploy_form(case: Case, image: torch.Tensor, assert_rows: AssertRows) -> None:
    if "deploy_fused_first" not in case.rows:
        pytest.skip("this network has one form only")
    deploy = build_model(case.model.name).eval()
    deploy.load_state_dict(training_to_deploy_state(case.model.state_dict(), deploy.state_dict()))
    boxes = fuse(deploy)(image)[0]
    assert_rows(boxes[: len(case.rows["deploy_fused_first"])], case.rows["deploy_fused_first"])
    _assert_fingerprint(boxes, case.facts["deploy"])


@torch.no_grad()
def test_auxiliary_levels_with_the_head_alone_in_training(
    case: Case, image: torch.Tensor, request: pytest.FixtureRequest
) -> None:
    if not case.facts.get("head_train_bn_eval_raw"):
        pytest.skip("the reference has no such numbers for this network")
    case.model.detection_head.train()
    try:
        raws = case.model.raw(image)
    finally:
        case.model.eval()
    for raw, wanted in zip(raws, case.facts["head_train_bn_eval_raw"], strict=True):
        _assert_fingerprint(raw, wanted)


@torch.no_grad()
def test_raw_maps_in_training_mode(case: Case, image: torch.Tensor, request: pytest.FixtureRequest) -> None:
    """Norms by the statistics of the batch. It moves the running ones, so it is the last test of each network."""
    if not case.facts.get("train_mode_raw"):
        pytest.skip("the reference has no such numbers for this network")
    raws = case.model.train()(image)
    for raw, wanted in zip(raws, case.facts["train_mode_raw"], strict=True):
        _assert_fingerprint(raw, wanted, rtol=2e-3, spread=True)
