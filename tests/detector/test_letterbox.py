"""Letterbox: geometry and pixels against the reference programs, and the way back."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.letterbox import PAD_VALUE, Letterbox, Placement, plan, round_up_to_stride
from pipeline.core.arrays import ImageArray
from pipeline.core.errors import UsageError

RuleImage = Callable[[int, int, int], ImageArray]


def plan_like_yolov7(case: dict[str, Any]) -> Letterbox:
    options = case["kwargs"]
    size = options["new_shape"]
    return plan(
        (case["h"], case["w"]),
        (size, size) if isinstance(size, int) else tuple(size),
        placement=Placement.CENTRED,
        stride=options["stride"] if options["auto"] else None,
        scale_up=options.get("scaleup", True),
    )


def fill(letterbox: Letterbox, image: ImageArray) -> ImageArray:
    canvas = np.empty((*letterbox.input_hw, 3), np.uint8)
    letterbox.paste(image, canvas)
    return canvas


def test_yolov7_geometry_and_pixels(golden: dict[str, Any], rule_image: RuleImage) -> None:
    for case in golden["letterbox"]:
        letterbox = plan_like_yolov7(case)
        image = rule_image(case["seed"], case["h"], case["w"])
        assert zlib.crc32(image.tobytes()) == case["in_crc32"]
        assert [*letterbox.input_hw, 3] == case["out_shape"], case["key"]
        # The reference tells the unrounded half padding; pixels begin at round(pad - 0.1).
        assert letterbox.offset_xy == tuple(round(pad - 0.1) for pad in case["pad"]), case["key"]
        canvas = fill(letterbox, image)
        assert canvas.mean() == pytest.approx(case["mean"], abs=0.02)
        assert canvas.std() == pytest.approx(case["std"], abs=0.02)


@pytest.mark.reference
def test_yolov7_sampled_pixels(reference_dir: Path, rule_image: RuleImage) -> None:
    cases = json.loads((reference_dir / "prepost" / "prepost.json").read_text())["letterbox"]
    for case in cases:
        if case["kwargs"].get("scaleFill"):
            continue
        canvas = fill(plan_like_yolov7(case), rule_image(case["seed"], case["h"], case["w"]))
        columns = np.arange(16) * (canvas.shape[1] // 16)
        found = canvas[case["rows"]][:, columns]
        assert np.abs(found.astype(int) - np.array(case["sub"])[:, 0]).max() <= 1, case["key"]


def test_yolox_geometry_and_pixels(golden: dict[str, Any], rule_image: RuleImage) -> None:
    for case in golden["yolox_preproc"]:
        letterbox = plan((case["h"], case["w"]), tuple(case["size"]), placement=Placement.TOP_LEFT)
        canvas = fill(letterbox, rule_image(case["seed"], case["h"], case["w"]))
        assert list(canvas.transpose(2, 0, 1).shape) == case["yolox"]["shape"]
        assert letterbox.offset_xy == (0, 0)
        assert letterbox.resized_hw == tuple(int(side * case["yolox"]["ratio"]) for side in (case["h"], case["w"]))
        assert canvas.mean() == pytest.approx(case["yolox"]["mean"], abs=0.02)
        assert canvas.std() == pytest.approx(case["yolox"]["std"], abs=0.02)


def test_mapping_with_the_reference_numbers(golden: dict[str, Any]) -> None:
    """With the reference's unrounded scale and padding, boxes come back as the reference maps them."""
    for case in golden["scale_coords"]:
        (height, width), (image_height, image_width) = case["img1"], case["img0"]
        scale = min(height / image_height, width / image_width)
        pad = ((width - image_width * scale) / 2, (height - image_height * scale) / 2)
        if case["ratio_pad"]:
            (scale, _), pad = case["ratio_pad"]
        letterbox = Letterbox((image_height, image_width), (height, width), (0, 0), (scale, scale), tuple(pad))
        found = letterbox.to_image(np.array(case["inp"], np.float32))
        np.testing.assert_allclose(found, np.array(case["out"]), atol=2e-4)


@given(
    st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    st.sampled_from([(416, 416), (640, 640), (384, 672), (1280, 1280)]),
    st.sampled_from(list(Placement)),
    st.sampled_from([None, 32, 64]),
)
def test_there_and_back(
    image_hw: tuple[int, int], limit_hw: tuple[int, int], placement: Placement, stride: int | None
) -> None:
    letterbox = plan(image_hw, limit_hw, placement=placement, stride=stride)
    height, width = image_hw
    boxes = np.array([[0, 0, width, height], [width / 4, height / 4, width / 2, height / 2]], np.float32)
    inside = letterbox.to_input(boxes)
    assert inside.min() >= 0
    assert inside[:, 2].max() <= letterbox.input_hw[1] + 1e-2
    assert inside[:, 3].max() <= letterbox.input_hw[0] + 1e-2
    # float32 holds the input's pixels to about 1e-4, which the way back divides by the scale.
    tolerance = 2e-4 / min(letterbox.scale_xy) + 1e-3
    np.testing.assert_allclose(letterbox.to_image(inside), boxes, atol=tolerance)


@given(st.tuples(st.integers(1, 3000), st.integers(1, 3000)), st.sampled_from([32, 64]))
def test_rectangular_padding_is_less_than_a_stride(image_hw: tuple[int, int], stride: int) -> None:
    letterbox = plan(image_hw, (640, 640), placement=Placement.CENTRED, stride=stride)
    for side, resized in zip(letterbox.input_hw, letterbox.resized_hw, strict=True):
        assert side % stride == 0
        assert 0 <= side - resized < stride
        assert side <= 640


def test_boxes_are_cut_at_the_border() -> None:
    letterbox = plan((480, 640), (640, 640), placement=Placement.CENTRED)
    found = letterbox.to_image(np.array([[-50, -50, 900, 900]], np.float32))
    assert found.tolist() == [[0, 0, 640, 480]]
    assert found.dtype == np.float32


def test_an_image_of_the_inputs_size_is_taken_as_it_is(rule_image: RuleImage) -> None:
    image = rule_image(1, 64, 64)
    np.testing.assert_array_equal(fill(plan((64, 64), (64, 64), placement=Placement.CENTRED), image), image)


@pytest.mark.parametrize("placement", list(Placement))
@pytest.mark.parametrize("image_hw", [(48, 64), (96, 128), (64, 48), (97, 31), (64, 64)])
def test_every_pixel_of_the_canvas_is_written(
    rule_image: RuleImage, image_hw: tuple[int, int], placement: Placement
) -> None:
    """Whatever lay there before, such as another picture in another place."""
    letterbox = plan(image_hw, (64, 64), placement=placement)
    image = rule_image(1, *image_hw)
    canvases = [np.full((64, 64, 3), before, np.uint8) for before in (0, 7, 255)]
    for canvas in canvases:
        letterbox.paste(image, canvas)
        np.testing.assert_array_equal(canvas, canvases[0])
    (height, width), (left, top) = letterbox.resized_hw, letterbox.offset_xy
    canvas[int(top) : int(top) + height, int(left) : int(left) + width] = PAD_VALUE
    assert (canvas == PAD_VALUE).all()


@pytest.mark.parametrize("image_hw", [(64, 64), (90, 70)])
def test_views_of_any_strides_can_be_pasted(rule_image: RuleImage, image_hw: tuple[int, int]) -> None:
    image = rule_image(1, *image_hw)
    letterbox = plan(image_hw, (64, 64), placement=Placement.CENTRED)
    wanted = fill(letterbox, image)
    for view in (image[:, ::-1].copy()[:, ::-1], np.asfortranarray(image), np.dstack([image, image])[:, :, :3]):
        view.flags.writeable = False
        np.testing.assert_array_equal(fill(letterbox, view), wanted)


def test_rounding_to_the_stride(golden: dict[str, Any]) -> None:
    for size, stride, wanted in golden["check_img_size"]:
        assert round_up_to_stride(size, stride) == wanted


def test_an_empty_image_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 1x1 px, found image"):
        plan((0, 10), (640, 640), placement=Placement.CENTRED)
