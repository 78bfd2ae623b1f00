"""The YOLOv7 loss against the reference program's numbers, and where it goes beyond that program."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from detector.models import build_model
from detector.train.assign_yolov7 import Matches
from detector.train.box_iou import complete_iou, pairwise_iou
from detector.train.loss_yolov7 import YoloV7Loss, YoloV7LossConfig
from detector.train.targets import Targets

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "train" / "yolov7_losses.json"
CASES = json.loads(GOLDEN.read_text(encoding="utf-8"))


def _name(case: dict[str, Any]) -> str:
    about = case["case"]
    return f"{about['model']}-{about['loss']}-{about['variant']}-{about['seed']}"


@cache
def _anchors(model: str) -> torch.Tensor:
    anchors = build_model(model, form="training").anchors
    assert anchors is not None
    return anchors


def _setting(case: dict[str, Any]) -> tuple[YoloV7Loss, list[torch.Tensor], Targets]:
    about, hyp = case["case"], case["hyp_used"]
    anchors = _anchors(about["model"])
    has_aux = "Aux" in about["loss"]
    strides = case["strides"][: len(anchors)]
    raws = []
    for i in range(len(anchors) * (2 if has_aux else 1)):
        cells = about["hw"] // strides[i % len(anchors)]
        values = np.random.default_rng(about["seed"] + 1 + i).standard_normal((2, 3, cells, cells, 85)) * about["scale"]
        values[..., 4] -= 1
        raws.append(torch.tensor(values.astype(np.float32), requires_grad=True))
    boxes = torch.tensor(case["targets"], dtype=torch.float32).reshape(-1, 6).clone()
    boxes[:, 2:] *= about["hw"]
    config = YoloV7LossConfig(
        box=hyp["box"],
        obj=hyp["obj"],
        cls=hyp["cls"],
        obj_pw=hyp["obj_pw"],
        cls_pw=hyp["cls_pw"],
        anchor_ratio=hyp["anchor_t"],
        focal_gamma=hyp["fl_gamma"],
        label_smoothing=hyp["label_smoothing"],
        autobalance="balance_after" in case,
    )
    assignment = "ota" if "OTA" in about["loss"] else "all"
    loss = YoloV7Loss(config, anchors, strides, 80, assignment=assignment, has_aux=has_aux)
    return loss, raws, Targets.of_boxes(boxes, 80)


def _as_rows(level: Matches) -> list[list[int]]:
    return torch.stack((level.image, level.anchor, level.y, level.x, level.target), 1).tolist()


def _check_matches(case: dict[str, Any]) -> None:
    loss, raws, targets = _setting(case)
    found = loss.match([raw.detach() for raw in raws], targets)
    for key, levels in zip(("matches", "aux_matches"), found, strict=True):
        for number, level in enumerate(levels):
            rows, wanted = _as_rows(level), case[key][number]
            of_target = case.get(key.replace("matches", "match_gt"))
            if of_target is not None:
                wanted = [[*cell, target] for cell, target in zip(wanted, of_target[number], strict=True)]
            else:
                rows = [row[:4] for row in rows]
            # Equal cost leaves the order of a cell's two matches open; nothing depends on it.
            assert sorted(rows) == sorted(wanted)


def _check_loss(case: dict[str, Any]) -> None:
    loss, raws, targets = _setting(case)
    result = loss(raws, targets)
    result.total.backward()
    assert result.total.item() == pytest.approx(case["loss"], rel=1e-5)
    for name in ("box", "obj", "cls"):
        assert result.parts[name].item() == pytest.approx(case[f"l{name}"], rel=1e-5, abs=1e-9)
    for raw, norm, cosdot in zip(raws, case["grad_norm"], case["grad_cosdot"], strict=True):
        assert raw.grad is not None
        gradient = raw.grad.double().flatten()
        assert gradient.norm().item() == pytest.approx(norm, rel=1e-5, abs=1e-9)
        cosine = torch.cos(torch.arange(len(gradient), dtype=torch.float64))
        assert (gradient * cosine).sum().item() == pytest.approx(cosdot, abs=1e-5 * norm + 1e-9)
    if "balance_after" in case:
        assert loss.balance == pytest.approx(case["balance_after"], rel=1e-6)


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_matches_of_the_reference(case: dict[str, Any]) -> None:
    _check_matches(case)


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_losses_and_gradients_of_the_reference(case: dict[str, Any]) -> None:
    _check_loss(case)


@pytest.mark.reference
def test_every_case_of_the_reference(reference_dir: Path) -> None:
    cases = json.loads((reference_dir / "yolov7_losses.json").read_text(encoding="utf-8"))
    assert len(cases) == 46
    for case in cases:
        _check_matches(case)
        _check_loss(case)


def _small(seed: int = 0, hw: tuple[int, int] = (96, 160), nc: int = 3) -> tuple[list[torch.Tensor], torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    raws = [
        torch.randn(2, 3, hw[0] // s, hw[1] // s, 5 + nc, generator=generator, requires_grad=True) for s in (8, 16, 32)
    ]
    boxes = torch.tensor(
        [[0, 1, 40.0, 30.0, 25.0, 40.0], [1, 2, 120.0, 70.0, 60.0, 50.0], [1, 0, 20.0, 60.0, 18.0, 12.0]]
    )
    return raws, boxes


def _loss(nc: int = 3, **settings: Any) -> YoloV7Loss:
    assignment = settings.pop("assignment", "ota")
    return YoloV7Loss(YoloV7LossConfig(**settings), _anchors("yolov7-tiny"), (8, 16, 32), nc, assignment=assignment)


def test_images_need_not_be_square() -> None:
    """The same scene on a canvas that is twice as wide gives the same matches: x and y have a scale each."""
    raws, boxes = _small(hw=(96, 96))
    boxes = boxes[boxes[:, 2] < 96]
    wide = [torch.cat((raw.detach(), torch.full_like(raw, -9).detach()), 3) for raw in raws]
    loss = _loss()
    narrow_matches, _ = loss.match([raw.detach() for raw in raws], Targets.of_boxes(boxes, 3))
    wide_matches, _ = loss.match(wide, Targets.of_boxes(boxes, 3))
    chosen = [
        [row for row in _as_rows(level) if row[3] < raw.shape[3]] for level, raw in zip(wide_matches, raws, strict=True)
    ]
    assert chosen == [_as_rows(level) for level in narrow_matches]
    assert sum(map(len, chosen)) > 0


@pytest.mark.parametrize("assignment", ["ota", "all"])
def test_a_batch_without_objects_trains_background(assignment: str) -> None:
    raws, _ = _small()
    result = _loss(assignment=assignment)(raws, Targets.of_boxes(torch.zeros(0, 6), 3))
    result.total.backward()
    assert result.parts["box"] == 0
    assert result.parts["cls"] == 0
    assert result.parts["obj"] > 0
    assert all(raw.grad is not None and (raw.grad[..., 4] > 0).all() for raw in raws)


def test_an_object_that_no_anchor_resembles_is_background() -> None:
    raws, _ = _small()
    thread = torch.tensor([[0, 1, 80.0, 48.0, 150.0, 1.0]])
    loss = _loss()
    assert sum(len(level) for level in loss.match(raws, Targets.of_boxes(thread, 3))[0]) == 0
    empty = loss(raws, Targets.of_boxes(torch.zeros(0, 6), 3))
    assert loss(raws, Targets.of_boxes(thread, 3)).total.item() == empty.total.item()


def test_an_ignore_box_trains_nothing_within() -> None:
    raws, boxes = _small()
    everything = torch.ones(1, 4, dtype=torch.bool)
    region = torch.tensor([[0, 64.0, 0.0, 160.0, 96.0]])
    _loss()(raws, Targets(boxes, region, everything)).total.backward()
    gradient = raws[0].grad
    assert gradient is not None
    assert (gradient[0, :, :, 8:, 4] == 0).all(), "the right part of the first image is ignored"
    assert (gradient[0, :, :, :7, 4] != 0).all()
    assert (gradient[1, ..., 4] != 0).all()


def test_an_object_within_an_ignore_box_is_still_trained() -> None:
    raws, boxes = _small()
    everything = torch.ones(1, 4, dtype=torch.bool)
    whole = torch.tensor([[0, 0.0, 0.0, 160.0, 96.0]])
    loss = _loss()
    matches, _ = loss.match(raws, Targets.of_boxes(boxes, 3))
    loss(raws, Targets(boxes, whole, everything)).total.backward()
    for raw, level in zip(raws, matches, strict=True):
        gradient = raw.grad[0, ..., 4]  # type: ignore[index]
        trained = {tuple(row) for row in gradient.nonzero().tolist()}
        assert trained == {tuple(row[1:4]) for row in _as_rows(level) if row[0] == 0}


@pytest.mark.parametrize("spared_score", [0.0, 0.3])
def test_an_unlabelled_class_is_no_mistake_where_a_place_looks_like_it(spared_score: float) -> None:
    raws, boxes = _small()
    whole = torch.tensor([[1, 0.0, 0.0, 160.0, 96.0]])
    only_two = torch.tensor([[False, False, True, False]])
    loss = _loss(spared_score=spared_score)
    matches, _ = loss.match(raws, Targets.of_boxes(boxes, 3))
    loss(raws, Targets(boxes, whole, only_two)).total.backward()
    spared = 0
    for raw, level in zip(raws, matches, strict=True):
        scores = raw.detach()[1].sigmoid()
        class_score, looks_like = scores[..., 5:].max(-1)
        wanted = (looks_like == 2) & (class_score * scores[..., 4] >= spared_score)
        for row in _as_rows(level):
            if row[0] == 1:
                wanted[tuple(row[1:4])] = False
        assert torch.equal(raw.grad[1, ..., 4] == 0, wanted)  # type: ignore[index]
        spared += int(wanted.sum())
    assert spared > 0


def test_complete_labels_cost_the_same_as_labels_with_a_region_elsewhere() -> None:
    raws, boxes = _small()
    nowhere = Targets(boxes, torch.tensor([[0, 0.0, 0.0, 0.0, 0.0]]), torch.ones(1, 4, dtype=torch.bool))
    assert _loss()(raws, nowhere).total.item() == _loss()(raws, Targets.of_boxes(boxes, 3)).total.item()


def test_one_class_has_no_class_loss() -> None:
    raws, boxes = _small(nc=1)
    boxes[:, 1] = 0
    result = _loss(nc=1)(raws, Targets.of_boxes(boxes, 1))
    assert result.parts["cls"] == 0
    assert result.parts["box"] > 0


def test_sixteen_bit_maps_are_worked_on_in_32_bits() -> None:
    raws, boxes = _small()
    halves = [raw.detach().bfloat16().requires_grad_() for raw in raws]
    with torch.autocast("cpu", torch.bfloat16):
        result = _loss()(halves, Targets.of_boxes(boxes, 3))
    wanted = _loss()([half.detach().float() for half in halves], Targets.of_boxes(boxes, 3))
    assert result.total.dtype == torch.float32
    assert result.total.item() == wanted.total.item()


def test_weights_follow_levels_classes_and_input_size() -> None:
    scaled = YoloV7LossConfig(box=0.05, cls=0.3, obj=0.7).scaled(levels=4, num_classes=20, input_px=1280)
    assert (scaled.box, scaled.cls, scaled.obj) == pytest.approx((0.0375, 0.05625, 2.1))


def test_pairwise_iou_against_the_plain_formula() -> None:
    a = torch.tensor([[0.0, 0.0, 10.0, 10.0], [5.0, 5.0, 6.0, 6.0]])
    b = torch.tensor([[0.0, 0.0, 10.0, 5.0], [20.0, 20.0, 30.0, 30.0], [5.0, 5.0, 15.0, 15.0]])
    assert pairwise_iou(a, b).tolist() == [
        [pytest.approx(0.5), 0.0, pytest.approx(25 / 175)],
        [0.0, 0.0, pytest.approx(0.01)],
    ]


@pytest.mark.reference
def test_complete_iou_of_the_reference(reference_dir: Path) -> None:
    golden = json.loads((reference_dir / "prepost" / "prepost.json").read_text(encoding="utf-8"))["boxes"]
    b, c = (torch.tensor(golden[key], dtype=torch.float32) for key in ("b", "c"))
    assert complete_iou(b, c).tolist() == pytest.approx(golden["ciou"], abs=1e-5)
    b.requires_grad_()
    (1 - complete_iou(b, c)).sum().backward()
    assert b.grad is not None
    assert b.grad.flatten().tolist() == pytest.approx(np.ravel(golden["ciou_loss_grad_b"]).tolist(), abs=1e-5)
