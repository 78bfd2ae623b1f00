"""From logits to boxes: every build against decoding all candidates and suppressing them."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.head_spec import HeadSpec
from detector.nms import Kept, NmsSettings, non_max_suppression
from detector.postprocess import boxes_of_device_maps, boxes_of_maps, boxes_of_rows, decode_maps
from pipeline.core.errors import ShapeError

ANCHORS = (((10.0, 13.0), (16.0, 30.0)), ((30.0, 61.0), (62.0, 45.0)), ((116.0, 90.0), (156.0, 198.0)))
HEADS = {
    "yolov7": HeadSpec("yolov7", (8, 16, 32), ANCHORS, 5),
    "yolov7, one class": HeadSpec("yolov7", (8, 16, 32), ANCHORS, 1),
    "yolov7, many classes": HeadSpec("yolov7", (8, 16, 32), ANCHORS, 80),
    "yolox": HeadSpec("yolox", (8, 16, 32), (), 5),
    "yolox, many classes": HeadSpec("yolox", (8, 16, 32), (), 33),
}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"conf_thres": 0.001, "iou_thres": 0.65, "multi_label": True},
    {"conf_thres": 0.05, "agnostic": True, "max_det": 20},
    {"conf_thres": 0.1, "class_ids": (0, 3)},
    {"conf_thres": 0.1, "class_ids": (0, 3, 999), "multi_label": True, "max_candidates": 50},
    {"conf_thres": 0.2, "objectness_only": True},
    {"conf_thres": 0.0, "max_candidates": 700},
    {"conf_thres": 1.0},
]
pytestmark = pytest.mark.usefixtures("build")


def make_maps(
    head: HeadSpec, seed: int = 0, batch: int = 2, input_hw: tuple[int, int] = (96, 160)
) -> list[torch.Tensor]:
    """Logits that find a few dozen boxes per image, many of them on one another."""
    generator = torch.Generator().manual_seed(seed)
    maps = []
    for stride in head.strides:
        cells = (input_hw[0] // stride, input_hw[1] // stride)
        level = torch.randn((batch, head.num_anchors, 5 + head.num_classes, *cells), generator=generator)
        level[:, :, 4] = level[:, :, 4] * 2 - 2
        maps.append(level.flatten(1, 2))
    return maps


def assert_same(found: list[Kept], wanted: list[Kept]) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one.class_id, other.class_id)
        np.testing.assert_allclose(one.confidence, other.confidence, rtol=1e-5)
        np.testing.assert_allclose(one.xyxy, other.xyxy, rtol=1e-5, atol=1e-4)
        assert one.n_truncated == other.n_truncated
        assert (one.xyxy.dtype, one.confidence.dtype, one.class_id.dtype) == (np.float32, np.float32, np.int64)


def exact_rows(maps: list[torch.Tensor], head: HeadSpec) -> torch.Tensor:
    """What decode_maps gives, with every sigmoid and exponential taken in float64 and rounded once.

    In float32 throughout, two confidences that are all but equal may change places.
    """
    found = []
    for number, (level, stride) in enumerate(zip(maps, head.strides, strict=True)):
        raw = level.unflatten(1, (head.num_anchors, -1)).permute(0, 1, 3, 4, 2)
        y, x = torch.meshgrid(torch.arange(raw.shape[2]), torch.arange(raw.shape[3]), indexing="ij")
        p, grid = raw.double().sigmoid().float(), torch.stack([x, y], -1).float()
        if head.family == "yolox":
            centre, size = (raw[..., :2] + grid) * stride, raw[..., 2:4].double().exp().float() * stride
        else:
            sides = torch.tensor(head.anchors_px[number])[:, None, None]
            centre, size = (p[..., :2] * 2 - 0.5 + grid) * stride, (p[..., 2:4] * 2) ** 2 * sides
        found.append(torch.cat([centre, size, p[..., 4:]], -1).flatten(1, 3))
    return torch.cat(found, 1)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", HEADS)
def test_equals_decoding_everything(name: str, options: dict[str, Any]) -> None:
    maps, chosen = make_maps(HEADS[name]), NmsSettings(**options)
    wanted = non_max_suppression(decode_maps(maps, HEADS[name]), chosen)
    assert_same(boxes_of_maps(maps, HEADS[name], chosen), wanted)
    if chosen.conf_thres < 1:
        assert all(len(kept.xyxy) > 3 for kept in wanted)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", HEADS)
def test_the_path_for_the_gpu_gives_the_same_to_the_last_bit(name: str, options: dict[str, Any]) -> None:
    """Candidates are picked for the whole batch on the device; here that is the CPU."""
    maps, chosen = make_maps(HEADS[name], batch=3), NmsSettings(**options)
    for level in maps:
        level[1] = -20
    picked = boxes_of_device_maps(maps, HEADS[name], chosen)
    for one, other in zip(picked, boxes_of_maps(maps, HEADS[name], chosen), strict=True):
        for part, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(part, same)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10_000),
    cells=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    name=st.sampled_from(sorted(HEADS)),
    conf_thres=st.sampled_from([0.0, 0.01, 0.3, 0.9]),
    iou_thres=st.sampled_from([0.0, 0.45, 1.0]),
    multi_label=st.booleans(),
)
def test_equals_decoding_everything_at_any_size(
    build: str,
    seed: int,
    cells: tuple[int, int],
    name: str,
    conf_thres: float,
    iou_thres: float,
    multi_label: bool,
) -> None:
    maps = make_maps(HEADS[name], seed, input_hw=(32 * cells[0], 32 * cells[1]))
    # Logits in steps, so that those of two classes are either equal or give different probabilities.
    maps = [(level * 64).round() / 64 for level in maps]
    chosen = NmsSettings(conf_thres=conf_thres, iou_thres=iou_thres, multi_label=multi_label)
    wanted = non_max_suppression(exact_rows(maps, HEADS[name]), chosen)
    for one, other in zip(boxes_of_maps(maps, HEADS[name], chosen), wanted, strict=True):
        for part, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(part, same)


@pytest.mark.parametrize("name", HEADS)
def test_the_layout_of_the_maps_changes_nothing(name: str) -> None:
    """PyTorch's channels-last networks give maps whose channels lie together; others give part of a larger array."""
    maps, chosen = make_maps(HEADS[name]), NmsSettings(conf_thres=0.05)
    wanted = boxes_of_maps(maps, HEADS[name], chosen)
    for changed in (
        [level.to(memory_format=torch.channels_last) for level in maps],
        [torch.cat([level, level], 3)[..., : level.shape[3]] for level in maps],
        [torch.cat([level, level], 1)[:, : level.shape[1]] for level in maps],
        [torch.cat([level, level])[: level.shape[0]] for level in maps],
        [level.transpose(2, 3).contiguous().transpose(2, 3) for level in maps],
    ):
        for one, other in zip(boxes_of_maps(changed, HEADS[name], chosen), wanted, strict=True):
            np.testing.assert_array_equal(one.xyxy, other.xyxy)
            np.testing.assert_array_equal(one.class_id, other.class_id)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bit_maps_are_converted_first(dtype: torch.dtype) -> None:
    head = HEADS["yolov7"]
    maps = [level.to(dtype) for level in make_maps(head)]
    for one, other in zip(
        boxes_of_maps(maps, head, NmsSettings()),
        boxes_of_maps([level.float() for level in maps], head, NmsSettings()),
        strict=True,
    ):
        np.testing.assert_array_equal(one.xyxy, other.xyxy)
        np.testing.assert_array_equal(one.confidence, other.confidence)


def one_cell(head: HeadSpec, logits: list[float]) -> list[torch.Tensor]:
    """Maps of one image with nothing in them but one cell."""
    channels = head.num_anchors * (5 + head.num_classes)
    maps = [torch.full((1, channels, 64 // stride, 64 // stride), -30.0) for stride in head.strides]
    maps[1][0, : len(logits), 1, 0] = torch.tensor(logits)
    return maps


@pytest.mark.parametrize(("objectness", "count"), [(0.0, 0), (1e-4, 1), (-1e-4, 0)])
def test_a_confidence_equal_to_the_threshold_is_left_out(objectness: float, count: int) -> None:
    """The sigmoid of 0 is 0.5 exactly."""
    head = HEADS["yolov7, one class"]
    chosen = NmsSettings(conf_thres=0.5, objectness_only=True)
    [kept] = boxes_of_maps(one_cell(head, [0, 0, 0, 0, objectness, 0]), head, chosen)
    assert len(kept.xyxy) == count


@pytest.mark.parametrize("conf_thres", [1e-6, 0.001, 0.01, 0.25, 0.3, 0.5, 0.75, 0.999, 0.99999])
def test_confidences_around_the_threshold(conf_thres: float) -> None:
    """Searching among logits first loses nothing that the sigmoid, in float64 and rounded once, puts above."""
    head = HEADS["yolov7, one class"]
    middle = math.log(conf_thres / (1 - conf_thres))
    logits = torch.linspace(middle - 1e-5, middle + 1e-5, 4).float()
    maps = one_cell(head, [])
    maps[1][0, 4, 0] = logits
    chosen = NmsSettings(conf_thres=conf_thres, objectness_only=True, iou_thres=1)
    [kept] = boxes_of_maps(maps, head, chosen)
    wanted = logits.double().sigmoid().float()
    wanted = wanted[wanted > conf_thres].sort(descending=True).values
    np.testing.assert_array_equal(kept.confidence, wanted.numpy())


def test_one_box_by_hand() -> None:
    head = HEADS["yolov7"]
    [kept] = boxes_of_maps(one_cell(head, [0, 0, 0, 0, 3, -9, -9, 2, -9, -9]), head, NmsSettings())
    # Stride 16, first anchor (30, 61), column 0, row 1: the sigmoid of 0 puts it into the middle of its cell.
    np.testing.assert_allclose(kept.xyxy, [[8 - 15, 24 - 30.5, 8 + 15, 24 + 30.5]])
    np.testing.assert_allclose(kept.confidence, [0.95257413 * 0.88079708], rtol=1e-6)
    assert kept.class_id.tolist() == [2]


def test_of_two_probabilities_that_round_to_1_the_larger_logit_counts() -> None:
    head = HEADS["yolox"]
    [kept] = boxes_of_maps(one_cell(head, [0, 0, 0, 0, 3, 20, 25, 0, 0, 0]), head, NmsSettings())
    assert kept.class_id.tolist() == [1]


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("channel", range(10))
@pytest.mark.parametrize("name", ["yolov7", "yolox"])
def test_numbers_that_are_none(name: str, channel: int, broken: float) -> None:
    """A network that is not trained yet says such things: what has no box, or no class, is left out."""
    head = HEADS[name]
    logits = [0.0, 0, 0, 0, 3, 1, 3, 2, -1, -2]
    logits[channel] = broken
    maps = one_cell(head, logits)
    [wanted] = non_max_suppression(decode_maps(maps, head), NmsSettings())
    [kept] = boxes_of_maps(maps, head, NmsSettings())
    np.testing.assert_allclose(kept.xyxy, wanted.xyxy)
    assert kept.class_id.tolist() == wanted.class_id.tolist()


@pytest.mark.parametrize("batch", [0, 1])
def test_nothing_found(batch: int) -> None:
    head = HEADS["yolov7"]
    maps = [torch.full((batch, 20, 2, 2), -9.0) for _ in head.strides]
    kept = boxes_of_maps(maps, head, NmsSettings())
    assert [boxes.xyxy.shape for boxes in kept] == [(0, 4)] * batch


@pytest.mark.parametrize("spoil", ["a level too few", "other channels", "other batches", "an axis too few"])
def test_maps_of_another_head_are_refused(spoil: str) -> None:
    maps = make_maps(HEADS["yolov7"])
    if spoil == "a level too few":
        maps.pop()
    elif spoil == "other channels":
        maps[1] = maps[1][:, 1:]
    elif spoil == "other batches":
        maps[2] = maps[2][:1]
    else:
        maps[0] = maps[0].flatten(2)
    with pytest.raises(ShapeError, match=r"maps: wanted 3 of shape \(b, 20, ny, nx\), found \["):
        boxes_of_maps(maps, HEADS["yolov7"], NmsSettings())


def test_maps_are_not_modified() -> None:
    maps = make_maps(HEADS["yolov7"])
    before = [level.clone() for level in maps]
    boxes_of_maps(maps, HEADS["yolov7"], NmsSettings())
    assert all(torch.equal(one, other) for one, other in zip(maps, before, strict=True))


def test_several_threads_at_once() -> None:
    head, chosen = HEADS["yolov7, many classes"], NmsSettings(conf_thres=0.01)
    batches = [make_maps(head, seed) for seed in range(4)]
    wanted = [boxes_of_maps(maps, head, chosen) for maps in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda number: boxes_of_maps(batches[number % 4], head, chosen), range(40)))
    for number, kept in enumerate(found):
        assert_same(kept, wanted[number % 4])


@pytest.mark.gpu
@pytest.mark.parametrize("name", HEADS)
def test_cpu_and_gpu_give_the_same(name: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    maps = make_maps(HEADS[name])
    chosen = NmsSettings(conf_thres=0.01)
    assert_same(
        boxes_of_maps([level.cuda() for level in maps], HEADS[name], chosen), boxes_of_maps(maps, HEADS[name], chosen)
    )


def test_boxes_of_a_runtime_that_suppresses_itself() -> None:
    rows = np.zeros((2, 4, 6), np.float32)
    rows[0, :3] = [[0, 0, 9, 9, 0.9, 2], [1, 1, 5, 5, 0.5, 0], [2, 2, 4, 4, 0.25, 2]]
    first, second = boxes_of_rows(rows, NmsSettings())
    assert first.confidence.tolist() == pytest.approx([0.9, 0.5])
    assert first.class_id.tolist() == [2, 0]
    assert first.xyxy.tolist() == [[0, 0, 9, 9], [1, 1, 5, 5]]
    assert second.xyxy.shape == (0, 4)
    assert boxes_of_rows(rows, NmsSettings(class_ids=(0,)))[0].class_id.tolist() == [0]
    assert boxes_of_rows(rows, NmsSettings(max_det=1))[0].class_id.tolist() == [2]
    assert boxes_of_rows(torch.from_numpy(rows).half(), NmsSettings())[0].xyxy.dtype == np.float32
