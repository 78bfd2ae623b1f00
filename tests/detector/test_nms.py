"""Non-maximum suppression against the reference programs and against a plain loop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.nms import Kept, NmsSettings, non_max_suppression, suppress_each
from detector.torch_boxes import candidates_of_rows
from pipeline.core.boxes import iou_matrix
from pipeline.core.errors import ShapeError

pytestmark = pytest.mark.usefixtures("build")


def table(kept: Kept) -> np.ndarray:
    return np.concatenate([kept.xyxy, kept.confidence[:, None], kept.class_id[:, None]], axis=1)


def reference_settings(kwargs: dict[str, Any], num_classes: int) -> NmsSettings:
    options = dict(kwargs)
    classes = options.pop("classes", None)
    return NmsSettings(**options, class_ids=tuple(classes) if classes else None, objectness_only=num_classes == 1)


def plain_loop(predictions: np.ndarray, conf_thres: float, iou_thres: float) -> list[tuple[float, int]]:
    """Confidence and class of what per-class greedy suppression keeps, one box at a time."""
    score = predictions[:, 5:].max(axis=1) * predictions[:, 4]
    class_id = predictions[:, 5:].argmax(axis=1)
    half = predictions[:, 2:4] / 2
    xyxy = np.concatenate([predictions[:, :2] - half, predictions[:, :2] + half], axis=1)
    kept: list[int] = []
    for row in np.argsort(-score, kind="stable"):
        rivals = [other for other in kept if class_id[other] == class_id[row]]
        alone = not rivals or iou_matrix(xyxy[[row]], xyxy[rivals]).max() <= iou_thres
        if score[row] > conf_thres and predictions[row, 4] > conf_thres and alone:
            kept.append(int(row))
    return [(float(score[row]), int(class_id[row])) for row in kept]


def random_predictions(seed: int, rows: int, num_classes: int, spread_px: float = 300) -> np.ndarray:
    rng = np.random.default_rng(seed)
    predictions = rng.random((rows, 5 + num_classes)).astype(np.float32)
    predictions[:, :2] *= spread_px
    predictions[:, 2:4] = 20 + 60 * predictions[:, 2:4]
    return predictions


def test_yolov7_golden(golden_dir: Path) -> None:
    cases = json.loads((golden_dir / "detector" / "nms.json").read_text())["yolov7"]
    with np.load(golden_dir / "detector" / "nms.npz") as arrays:
        for case in cases:
            kept = non_max_suppression(arrays[f"in_{case['case']}"], reference_settings(case["kwargs"], case["nc"]))[0]
            np.testing.assert_allclose(table(kept), arrays[f"out_{case['case']}"], atol=1e-4)


def test_yolox_golden(golden_dir: Path) -> None:
    case = json.loads((golden_dir / "detector" / "nms.json").read_text())["yolox"]
    with np.load(golden_dir / "detector" / "nms.npz") as arrays:
        wanted, predictions = arrays["yolox_out"], arrays["yolox_in"]
    kept = non_max_suppression(
        predictions, NmsSettings(conf_thres=case["conf"], iou_thres=case["nms"], agnostic=case["class_agnostic"])
    )[0]
    wanted = np.stack([*wanted.T[:4], wanted[:, 4] * wanted[:, 5], wanted[:, 6]], axis=1)
    found = table(kept)
    # Equal confidences may come in another order.
    np.testing.assert_allclose(found[np.lexsort(found.T)], wanted[np.lexsort(wanted.T)], atol=1e-4)


@pytest.mark.reference
def test_yolov7_reference(reference_dir: Path) -> None:
    folder = reference_dir / "prepost"
    for number, case in enumerate(json.loads((folder / "prepost.json").read_text())["nms"]):
        with np.load(folder / f"nms_in_{number}.npz") as arrays:
            found = non_max_suppression(arrays["pred"], reference_settings(case["kwargs"], case["nc"]))
        for kept, wanted, count in zip(found, case["out"], case["n_out"], strict=True):
            assert len(kept.xyxy) == count
            np.testing.assert_allclose(table(kept)[: len(wanted)], np.array(wanted).reshape(-1, 6), atol=1e-4)


@pytest.mark.reference
def test_yolox_reference(reference_dir: Path) -> None:
    for number, case in enumerate(json.loads((reference_dir / "yolox_postprocess.json").read_text())):
        with np.load(reference_dir / f"yolox_post_in_{number}.npz") as arrays:
            predictions = arrays["pred"]
        options = NmsSettings(conf_thres=case["conf"], iou_thres=case["nms"], agnostic=case["class_agnostic"])
        for kept, wanted in zip(non_max_suppression(predictions, options), case["out"], strict=True):
            rows = np.array(wanted)
            rows = np.stack([*rows.T[:4], rows[:, 4] * rows[:, 5], rows[:, 6]], axis=1)
            found = table(kept)
            np.testing.assert_allclose(found[np.lexsort(found.T)], rows[np.lexsort(rows.T)], atol=1e-4)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.integers(0, 120), st.integers(2, 6), st.sampled_from([0.0, 0.3, 0.65]))
def test_equals_a_plain_loop(build: str, seed: int, rows: int, num_classes: int, iou_thres: float) -> None:
    predictions = random_predictions(seed, rows, num_classes)
    kept = non_max_suppression(predictions[None], NmsSettings(conf_thres=0.1, iou_thres=iou_thres))[0]
    wanted = plain_loop(predictions, 0.1, iou_thres)
    assert kept.class_id.tolist() == [class_id for _, class_id in wanted]
    assert kept.confidence.tolist() == pytest.approx([score for score, _ in wanted])


def test_many_candidates_take_the_blockwise_path() -> None:
    predictions = random_predictions(3, 2500, 3, spread_px=800)
    kept = non_max_suppression(predictions[None], NmsSettings(conf_thres=0.05, iou_thres=0.4, max_det=5000))[0]
    wanted = plain_loop(predictions, 0.05, 0.4)
    assert kept.confidence.tolist() == pytest.approx([score for score, _ in wanted])
    assert len(wanted) > 100


def two_boxes(centre_x: float, second_class: int, num_classes: int = 80) -> torch.Tensor:
    """Two equal boxes of 100 px at one place, one of class 0 and one of another."""
    rows = torch.zeros(1, 2, 5 + num_classes)
    rows[0, :, :4] = torch.tensor([centre_x, 50.0, 100.0, 100.0])
    rows[0, :, 4] = torch.tensor([0.9, 0.8])
    rows[0, 0, 5] = 1
    rows[0, 1, 5 + second_class] = 1
    return rows


@pytest.mark.parametrize("centre_x", [50.0, 4150.0, 8300.0])
def test_classes_never_meet_however_large_the_image(centre_x: float) -> None:
    """Moving classes apart by 4096 px, as the reference does, lets a box at x >= 4096 meet the next class."""
    rows = two_boxes(centre_x, second_class=1)
    rows[0, 1, 0] -= 4096
    assert len(non_max_suppression(rows, NmsSettings())[0].xyxy) == 2
    assert len(non_max_suppression(two_boxes(centre_x, 1), NmsSettings())[0].xyxy) == 2
    assert len(non_max_suppression(two_boxes(centre_x, 1), NmsSettings(agnostic=True))[0].xyxy) == 1
    assert len(non_max_suppression(two_boxes(centre_x, 0), NmsSettings())[0].xyxy) == 1


def test_coordinates_of_high_classes_keep_their_precision() -> None:
    """Two boxes of class 79 that overlap by a hair less than the threshold both stay."""
    rows = torch.zeros(1, 2, 85)
    rows[0, :, :4] = torch.tensor([[50.0, 50.0, 100.0, 100.0], [83.34, 50.0, 100.0, 100.0]])
    rows[0, :, 4] = 0.9
    rows[0, :, 84] = 1
    assert len(non_max_suppression(rows, NmsSettings(iou_thres=0.5))[0].xyxy) == 2


def test_multi_label_gives_a_box_per_class() -> None:
    rows = torch.tensor([[[50.0, 50, 20, 20, 1.0, 0.6, 0.1, 0.7]]])
    assert non_max_suppression(rows, NmsSettings())[0].class_id.tolist() == [2]
    assert non_max_suppression(rows, NmsSettings(multi_label=True))[0].class_id.tolist() == [2, 0]


def test_class_filter_never_gives_another_class() -> None:
    rows = torch.tensor([[[50.0, 50, 20, 20, 1.0, 0.6, 0.1, 0.7]]])
    assert len(non_max_suppression(rows, NmsSettings(class_ids=(0,)))[0].xyxy) == 0
    assert non_max_suppression(rows, NmsSettings(class_ids=(0, 2)))[0].class_id.tolist() == [2]
    assert len(non_max_suppression(rows, NmsSettings(class_ids=()))[0].xyxy) == 0


def test_one_class_with_and_without_its_class_score() -> None:
    rows = torch.tensor([[[50.0, 50, 20, 20, 0.8, 0.5]]])
    assert non_max_suppression(rows, NmsSettings())[0].confidence.tolist() == pytest.approx([0.4])
    assert non_max_suppression(rows, NmsSettings(objectness_only=True))[0].confidence.tolist() == pytest.approx([0.8])


def test_most_boxes(golden: dict[str, Any]) -> None:
    count = golden["nms_max_det"]["n"]
    side = np.arange(500)
    rows = np.zeros((1, 500, 6), np.float32)
    rows[0, :, 0], rows[0, :, 1] = 20 + 40 * (side % 25), 20 + 40 * (side // 25)
    rows[0, :, 2:4] = 20
    rows[0, :, 4] = np.random.default_rng(0).permutation(500) / 500 * 0.7 + 0.29
    kept = non_max_suppression(rows, NmsSettings(objectness_only=True))[0]
    assert len(kept.xyxy) == count
    assert kept.confidence.tolist() == sorted(rows[0, :, 4].tolist(), reverse=True)[:count]


def test_truncation_keeps_the_best_and_is_counted() -> None:
    predictions = random_predictions(0, 400, 2, spread_px=5000)
    predictions[:, 4:6] = 1
    predictions[:, 6] = 0
    predictions[:, 4] = np.linspace(0.3, 0.9, 400)
    kept = non_max_suppression(predictions[None], NmsSettings(max_candidates=50, iou_thres=1))[0]
    assert kept.n_truncated == 350
    assert kept.confidence.tolist() == pytest.approx(predictions[:349:-1, 4].tolist())


def test_an_image_does_not_depend_on_its_batch() -> None:
    batch = np.stack([random_predictions(seed, 200, 4) for seed in range(3)])
    together = non_max_suppression(batch, NmsSettings())
    for number, kept in enumerate(together):
        np.testing.assert_array_equal(
            table(kept), table(non_max_suppression(batch[number : number + 1], NmsSettings())[0])
        )


def test_input_is_not_modified() -> None:
    predictions = torch.from_numpy(random_predictions(0, 100, 4))[None]
    before = predictions.clone()
    non_max_suppression(predictions, NmsSettings())
    assert torch.equal(predictions, before)


@pytest.mark.parametrize("rows", [0, 5])
def test_nothing_found(rows: int) -> None:
    kept = non_max_suppression(np.zeros((2, rows, 85), np.float32), NmsSettings())
    assert [box.xyxy.shape for box in kept] == [(0, 4), (0, 4)]
    assert kept[0].class_id.dtype == np.int64
    assert kept[0].confidence.dtype == np.float32


def test_half_precision_input_gives_float32() -> None:
    predictions = torch.from_numpy(random_predictions(0, 100, 4))[None].half()
    kept = non_max_suppression(predictions, NmsSettings())[0]
    assert kept.xyxy.dtype == np.float32
    assert kept.confidence.dtype == np.float32


@pytest.mark.parametrize("shape", [(10, 85), (1, 10, 5), (1, 2, 10, 85)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"wanted shape \(b, k, 5 \+ nc\)"):
        non_max_suppression(np.zeros(shape, np.float32), NmsSettings())


@pytest.mark.parametrize("options", [{}, {"agnostic": True}, {"multi_label": True}, {"class_ids": (1, 3)}])
def test_the_path_for_the_gpu_keeps_the_same_boxes(options: dict[str, Any]) -> None:
    """Candidates are picked for the whole batch on the device; here that is the CPU."""
    batch = torch.from_numpy(np.stack([random_predictions(seed, 900, 4) for seed in range(3)]))
    batch[1, :, 4] = 0
    chosen = NmsSettings(conf_thres=0.3, max_det=50, **options)
    picked = suppress_each(candidates_of_rows(batch, chosen), chosen)
    for one, other in zip(picked, non_max_suppression(batch, chosen), strict=True):
        np.testing.assert_array_equal(table(one), table(other))
    assert [len(kept.xyxy) for kept in picked] == [50, 0, 50]


@pytest.mark.gpu
def test_cpu_and_gpu_keep_the_same_boxes() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    for rows in (100, 5000):
        predictions = torch.from_numpy(random_predictions(6, rows, 5, spread_px=1000))[None]
        on_gpu = non_max_suppression(predictions.cuda(), NmsSettings(conf_thres=0.01))[0]
        on_cpu = non_max_suppression(predictions, NmsSettings(conf_thres=0.01))[0]
        np.testing.assert_array_equal(on_gpu.class_id, on_cpu.class_id)
        np.testing.assert_allclose(on_gpu.xyxy, on_cpu.xyxy, atol=1e-3)


def test_boxes_beyond_all_numbers_are_left_out() -> None:
    rows = torch.tensor(
        [[10.0, 10, 4, 4, 0.9, 0.9], [10.0, 10, float("inf"), 4, 0.9, 0.9], [5.0, 5, 1e30, 1e30, 0.9, 0.9]]
    )
    [kept] = non_max_suppression(torch.cat([rows, torch.full((1, 6), float("nan"))])[None], NmsSettings())
    assert kept.xyxy.tolist() == [[8, 8, 12, 12]]
