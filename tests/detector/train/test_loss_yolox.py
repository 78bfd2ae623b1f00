"""The YOLOX loss and its schedule against the reference program's numbers, and where they go beyond that program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from detector.train.loss_yolox import YoloxLoss
from detector.train.schedule_yolox import yolox_warm_cosine
from detector.train.targets import Targets

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "train"
CASES = json.loads((GOLDEN / "yolox_losses.json").read_text(encoding="utf-8"))
STRIDES = (8, 16, 32)


def _raws(case: dict[str, Any]) -> list[torch.Tensor]:
    raws = []
    for i, stride in enumerate(STRIDES):
        cells = case["hw"] // stride
        values = np.random.default_rng(case["seed"] + 1 + i).standard_normal((case["bs"], 5 + case["nc"], cells, cells))
        values = values * case["scale"]
        values[:, 4] -= 1
        values[:, 2:4] += 1
        raws.append(torch.tensor(values.astype(np.float32), requires_grad=True))
    return raws


def _targets(case: dict[str, Any]) -> Targets:
    rows = [[image, *label] for image, labels in enumerate(case["labels"]) for label in labels]
    return Targets.of_boxes(torch.tensor(rows, dtype=torch.float32).reshape(-1, 6), case["nc"])


@pytest.mark.parametrize("case", CASES, ids=[f"{case['variant']}-{case['seed']}" for case in CASES])
def test_assignment_of_the_reference(case: dict[str, Any]) -> None:
    loss = YoloxLoss(case["nc"], STRIDES)
    first = 0
    matched = 0
    for found, wanted, labels in zip(
        loss.assign(_raws(case), _targets(case)), case["assign"], case["labels"], strict=True
    ):
        matched += len(found.place)
        if wanted is None:
            assert len(found.place) == 0
            continue
        assert found.place.tolist() == wanted["fg_index"]
        assert (found.target - first).tolist() == wanted["gt"]
        assert found.iou.tolist() == pytest.approx(wanted["iou"], abs=1e-6)
        first += len(labels)
    assert max(matched, 1) / max(sum(case["ngt"]), 1) == pytest.approx(case["num_fg_ratio"])


@pytest.mark.parametrize("case", CASES, ids=[f"{case['variant']}-{case['seed']}" for case in CASES])
def test_losses_and_gradients_of_the_reference(case: dict[str, Any]) -> None:
    raws = _raws(case)
    result = YoloxLoss(case["nc"], STRIDES, with_l1=case["use_l1"])(raws, _targets(case))
    result.total.backward()
    assert result.total.item() == pytest.approx(case["loss"], rel=1e-6)
    for name, key in (("box", "loss_iou_x5"), ("obj", "loss_obj"), ("cls", "loss_cls")):
        assert result.parts[name].item() == pytest.approx(case[key], rel=1e-6, abs=1e-7)
    assert result.parts.get("l1", torch.zeros(())).item() == pytest.approx(case["loss_l1"], rel=1e-6)
    for raw, norm, cosdot in zip(raws, case["grad_norm"], case["grad_cosdot"], strict=True):
        assert raw.grad is not None
        gradient = raw.grad.double().flatten()
        assert gradient.norm().item() == pytest.approx(norm, rel=1e-6)
        cosine = torch.cos(torch.arange(len(gradient), dtype=torch.float64))
        assert (gradient * cosine).sum().item() == pytest.approx(cosdot, abs=1e-6 * norm)


def _small(hw: tuple[int, int] = (96, 160), nc: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(2, 5 + nc, hw[0] // s, hw[1] // s, generator=generator) * 0.3).requires_grad_() for s in STRIDES
    ]


def test_an_object_beyond_the_picture_fails_nothing() -> None:
    """The reference program stops there: no place is near the object."""
    raws = _small()
    outside = torch.tensor([[0, 1, 500.0, 500.0, 20.0, 20.0]])
    result = YoloxLoss(3, STRIDES)(raws, Targets.of_boxes(outside, 3))
    result.total.backward()
    assert result.parts["box"] == 0
    assert result.parts["obj"] > 0
    assert all(raw.grad is not None and torch.isfinite(raw.grad).all() for raw in raws)


@pytest.mark.parametrize("row", [0, 1])
def test_an_object_beyond_the_picture_takes_no_place_of_another(row: int) -> None:
    """The reference program gives it one of the other object's places."""
    inside, outside = [0.0, 1.0, 40.0, 40.0, 30.0, 24.0], [0.0, 2.0, 500.0, 500.0, 20.0, 20.0]
    rows = [inside, outside] if row == 0 else [outside, inside]
    loss, raws = YoloxLoss(3, STRIDES), _small()
    [alone, _] = loss.assign(raws, Targets.of_boxes(torch.tensor([inside]), 3))
    [both, _] = loss.assign(raws, Targets.of_boxes(torch.tensor(rows), 3))
    assert both.place.tolist() == alone.place.tolist()
    assert both.target.tolist() == [row] * len(alone.place)
    assert both.iou.tolist() == alone.iou.tolist()


def test_an_image_without_objects_trains_its_objectness_only() -> None:
    raws = _small()
    targets = Targets.of_boxes(torch.tensor([[0, 1, 40.0, 40.0, 30.0, 24.0]]), 3)
    YoloxLoss(3, STRIDES, with_l1=True)(raws, targets).total.backward()
    for raw in raws:
        assert raw.grad is not None
        assert (raw.grad[1, 4] > 0).all()
        assert (raw.grad[1, :4] == 0).all()
        assert (raw.grad[1, 5:] == 0).all()


@pytest.mark.parametrize("levels", [[0], [0, 1, 2]])
def test_maps_that_are_no_numbers_give_a_loss_that_is_none(levels: list[int]) -> None:
    """The trainer then says so; nothing may stop before it."""
    raws = [raw.detach() for raw in _small()]
    for level in levels:
        raws[level].fill_(float("nan"))
    targets = Targets.of_boxes(torch.tensor([[0, 1, 40.0, 40.0, 30.0, 24.0]]), 3)
    assert YoloxLoss(3, STRIDES)(raws, targets).total.isnan()


def test_scores_without_a_doubt_cost_a_finite_amount() -> None:
    """Scores of exactly 0 and 1, whose logarithms have no bound."""
    raws = _small()
    with torch.no_grad():
        for raw in raws:
            raw[:, 4] = 200
            raw[:, 5] = 200
            raw[:, 6:] = -200
    targets = Targets.of_boxes(torch.tensor([[0, 1, 40.0, 40.0, 30.0, 24.0], [0, 0, 90.0, 50.0, 30.0, 24.0]]), 3)
    result = YoloxLoss(3, STRIDES)(raws, targets)
    result.total.backward()
    assert torch.isfinite(result.total)
    assert all(raw.grad is not None and torch.isfinite(raw.grad).all() for raw in raws)


def test_rows_with_negative_coordinates_count() -> None:
    """The reference program counts the rows whose numbers add up to more than 0."""
    hanging_out = torch.tensor([[0, 0, -6.0, 4.0, 30.0, 20.0], [0, 2, 80.0, 48.0, 40.0, 30.0]])
    [first, _] = YoloxLoss(3, STRIDES).assign(_small(), Targets.of_boxes(hanging_out, 3))
    assert set(first.target.tolist()) == {0, 1}


def test_images_need_not_be_square() -> None:
    raws = _small()
    box = torch.tensor([[1, 1, 140.0, 20.0, 30.0, 24.0]])
    [none, found] = YoloxLoss(3, STRIDES).assign(raws, Targets.of_boxes(box, 3))
    assert len(none.place) == 0
    fine = found.place[found.place < 12 * 20]
    assert len(found.place) > 0
    assert all(abs((p % 20 + 0.5) * 8 - 140) < 12 and abs((p // 20 + 0.5) * 8 - 20) < 12 for p in fine.tolist())


def test_an_ignore_box_trains_nothing_within_but_its_labelled_objects() -> None:
    raws = _small()
    box = torch.tensor([[0, 1, 40.0, 40.0, 30.0, 24.0]])
    region, everything = torch.tensor([[0, 0.0, 0.0, 160.0, 96.0]]), torch.ones(1, 4, dtype=torch.bool)
    loss = YoloxLoss(3, STRIDES)
    places = loss.assign(raws, Targets.of_boxes(box, 3))[0].place
    loss(raws, Targets(box, region, everything)).total.backward()
    gradient = torch.cat([raw.grad[0, 4].flatten() for raw in raws])  # type: ignore[index]
    assert gradient.nonzero().squeeze(1).tolist() == places.tolist()
    assert all((raw.grad[1, 4] != 0).all() for raw in raws)  # type: ignore[index]


def test_complete_labels_cost_the_same_as_labels_with_a_region_elsewhere() -> None:
    raws, box = _small(), torch.tensor([[0, 1, 40.0, 40.0, 30.0, 24.0]])
    nowhere = Targets(box, torch.zeros(1, 5), torch.ones(1, 4, dtype=torch.bool))
    loss = YoloxLoss(3, STRIDES)
    assert loss(raws, nowhere).total.item() == loss(raws, Targets.of_boxes(box, 3)).total.item()


def test_sixteen_bit_maps_are_worked_on_in_32_bits() -> None:
    halves = [raw.detach().bfloat16().requires_grad_() for raw in _small()]
    targets = Targets.of_boxes(torch.tensor([[0, 1, 40.0, 40.0, 30.0, 24.0]]), 3)
    with torch.autocast("cpu", torch.bfloat16):
        result = YoloxLoss(3, STRIDES, with_l1=True)(halves, targets)
    wanted = YoloxLoss(3, STRIDES, with_l1=True)([half.detach().float() for half in halves], targets)
    result.total.backward()
    assert all(half.grad is not None and torch.isfinite(half.grad).all() for half in halves)
    assert result.total.dtype == torch.float32
    assert result.total.item() == wanted.total.item()


def test_the_published_schedule() -> None:
    case = json.loads((GOLDEN / "yolox_schedule.json").read_text(encoding="utf-8"))
    for step, rate in case["points"]:
        found = yolox_warm_cosine(
            step,
            base_lr=case["lr"],
            steps_per_epoch=case["iters_per_epoch"],
            epochs=case["epochs"],
            warmup_epochs=case["kwargs"]["warmup_epochs"],
            warmup_start_lr=case["kwargs"]["warmup_lr_start"],
            no_aug_epochs=case["kwargs"]["no_aug_epochs"],
            min_lr_ratio=case["kwargs"]["min_lr_ratio"],
        )
        assert found == pytest.approx(rate, abs=1e-12)
