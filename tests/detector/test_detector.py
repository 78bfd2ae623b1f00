"""The whole detector: frames in, boxes in their pixels out."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

import detector.detector as detector_module
from detector.backends.eager import EagerBackend
from detector.backends.openvino import OpenVinoBackend
from detector.checkpoint import save_checkpoint
from detector.detector import DetectorConfig, YoloDetector
from detector.models import build_model
from detector.validation import published_settings, read_dataset, reference_settings, validate
from pipeline.core.errors import BackendError, CheckpointError, ConfigError, DatasetError, ShapeError
from pipeline.core.frame import CaptureClock, Frame
from pipeline.core.protocols import Detector, IoSpec

NAMES = ("cat", "dog", "eel")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network of three classes with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "made.safetensors"
    save_checkpoint(path, build_model("yolox-nano", num_classes=3), NAMES, input_hw=(128, 128))
    return path


def made(weights: Path, **settings: Any) -> YoloDetector:
    """A detector that runs the small network in PyTorch, whatever else is installed here."""
    return YoloDetector(DetectorConfig(**{"weights": str(weights), "backend": "eager", "device": "cpu", **settings}))


class MarkedBoxes:
    """A backend that gives, for each image, one candidate around the pixels that differ from the padding."""

    def __init__(self, preprocess: str = "yolov7") -> None:
        # A step of 8 bits beside the edge is the resizing's; networks of YOLOv7 see it a 255th as large.
        self.least = 3 if preprocess == "yolov7" else 1
        self.device = torch.device("cpu")
        self.precision = "fp32"
        self.head = None
        self.io_spec = IoSpec(stride=32, fixed_hw=None, max_batch=None, num_classes=3)
        self.shapes: list[tuple[int, ...]] = []
        self.closed = 0

    def infer(self, images: torch.Tensor) -> torch.Tensor:
        assert images.dtype == torch.uint8
        assert images.is_contiguous()
        self.shapes.append(tuple(images.shape))
        rows = torch.zeros(len(images), 1, 8)
        for row, image in zip(rows, images.int(), strict=True):
            y, x = torch.nonzero((image - 114).abs().amax(2) >= self.least, as_tuple=True)
            left, right, top, bottom = x.min(), x.max() + 1, y.min(), y.max() + 1
            row[0] = torch.tensor([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top, 1, 0, 0.9, 0.3])
        return rows

    def close(self) -> None:
        self.closed += 1


def marked(monkeypatch: pytest.MonkeyPatch, preprocess: str, **settings: Any) -> tuple[YoloDetector, MarkedBoxes]:
    backend = MarkedBoxes(preprocess)
    monkeypatch.setattr(detector_module, "network_for", lambda config: (backend, NAMES, (128, 128), preprocess))
    return YoloDetector(DetectorConfig(weights="x", **settings)), backend


def picture(height: int, width: int, box: tuple[int, int, int, int]) -> np.ndarray:
    """A grey image with one dark box."""
    image = np.full((height, width, 3), 114, np.uint8)
    left, top, right, bottom = box
    image[top:bottom, left:right] = 0
    return image


@pytest.mark.parametrize("preprocess", ["yolov7", "yolox"])
@pytest.mark.parametrize("rect", [True, False])
def test_boxes_come_back_in_the_pixels_of_each_image(
    monkeypatch: pytest.MonkeyPatch, preprocess: str, rect: bool
) -> None:
    detector, backend = marked(monkeypatch, preprocess, rect=rect)
    boxes = [(64, 32, 256, 96), (8, 8, 40, 24), (0, 0, 64, 64), (16, 320, 128, 480)]
    images = [
        picture(128, 512, boxes[0]),
        picture(64, 64, boxes[1]),
        picture(128, 512, boxes[2]),
        picture(512, 256, boxes[3]),
    ]
    found = detector.detect_images(images)
    for detections, box, image in zip(found, boxes, images, strict=True):
        # One pixel of the input is this many of the image; the marked edge is sharp to one.
        tolerance = max(image.shape) / 128
        np.testing.assert_allclose(detections.xyxy, [box], atol=tolerance)
        assert detections.class_id.tolist() == [1]
        assert detections.confidence.tolist() == pytest.approx([0.9])
    assert sorted(backend.shapes) == (
        [(1, 128, 64, 3), (1, 128, 128, 3), (2, 32, 128, 3)] if rect else [(4, 128, 128, 3)]
    )


def test_detections_of_a_frame_do_not_depend_on_its_batch(weights: Path) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((96, 128), (128, 96), (96, 128), (40, 300))]
    detector = made(weights, conf_thres=0)
    together = detector.detect_images(images)
    for image, one in zip(images, together, strict=True):
        (alone,) = detector.detect_images([image])
        np.testing.assert_array_equal(alone.class_id, one.class_id)
        np.testing.assert_allclose(alone.xyxy, one.xyxy, atol=1e-2)
        np.testing.assert_allclose(alone.confidence, one.confidence, atol=1e-5)


def test_frames_and_images_give_the_same(weights: Path) -> None:
    detector = made(weights, conf_thres=0)
    assert isinstance(detector, Detector)
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    detector.warmup()
    (one,) = detector.detect([Frame("a", 0, image, None, 0, CaptureClock.FILE)])
    (other,) = detector.detect_images([image])
    np.testing.assert_array_equal(one.xyxy, other.xyxy)
    assert len(one) > 0
    assert one.xyxy.min() >= 0
    assert one.xyxy[:, 2].max() <= 128
    assert one.xyxy[:, 3].max() <= 96
    assert detector.detect([]) == []
    detector.close()
    detector.close()


def test_only_the_classes_that_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture(128, 128, (32, 32, 64, 64))
    for classes, wanted in (((), [1]), (("dog",), [1]), ((1,), [1]), (("1", "cat"), [1]), (("cat", "eel"), [])):
        detector, _ = marked(monkeypatch, "yolox", classes=classes)
        assert detector.class_names == NAMES
        assert detector.detect_images([image])[0].class_id.tolist() == wanted


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("dgo",), r"found 'dgo'; did you mean 'dog'\?"),
        (("Dog",), r"did you mean 'dog'\?"),
        (("dog", "zebra crossing"), "found 'zebra crossing'; there are: cat, dog, eel"),
        ((3,), "wanted a number from 0 to 2, found 3"),
        ((-1,), "found -1"),
    ],
)
def test_a_misspelt_class_is_an_error(monkeypatch: pytest.MonkeyPatch, classes: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        marked(monkeypatch, "yolox", classes=classes)


@pytest.mark.parametrize(
    ("img_size", "wanted"),
    [(None, (128, 128)), (64, (64, 64)), ((64, 160), (64, 160)), (100, (128, 128)), ([96, 65], (96, 96))],
)
def test_the_size_of_the_input(weights: Path, img_size: Any, wanted: tuple[int, int]) -> None:
    assert made(weights, img_size=img_size).input_hw == wanted


def test_a_size_below_the_stride_is_refused(weights: Path) -> None:
    with pytest.raises(ConfigError, match="img_size: wanted at least the network's stride of 32 px"):
        made(weights, img_size=16)


def test_one_class_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """YOLOv7 does not train the class output of a one-class network, YOLOX does."""
    for preprocess, wanted in (("yolov7", 0.8), ("yolox", 0.4)):
        backend = MarkedBoxes(preprocess)
        backend.infer = lambda images: torch.tensor([[[50.0, 50, 20, 20, 0.8, 0.5]]])  # type: ignore[method-assign]
        monkeypatch.setattr(
            detector_module, "network_for", lambda config, b=backend, p=preprocess: (b, ("cat",), (128, 128), p)
        )
        (found,) = YoloDetector(DetectorConfig(weights="x")).detect_images([picture(128, 128, (0, 0, 9, 9))])
        assert found.confidence.tolist() == pytest.approx([wanted])


def test_truncation_is_counted_and_told_once(weights: Path, caplog: pytest.LogCaptureFixture) -> None:
    detector = made(weights, conf_thres=0, max_candidates=10)
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    with caplog.at_level(logging.WARNING):
        detector.detect_images([image])
        first = detector.n_truncated
        detector.detect_images([image])
    assert first > 0
    assert detector.n_truncated == 2 * first
    assert caplog.text.count("candidates above conf_thres") == 1


def test_several_threads_may_detect_at_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Each sees its own pictures, and no candidate that was left out is counted twice or not at all."""
    detector, backend = marked(monkeypatch, "yolov7", max_candidates=1)
    all_in = threading.Barrier(4)
    give = backend.infer

    def infer(images: torch.Tensor) -> torch.Tensor:
        rows = give(images)
        all_in.wait(timeout=30)
        assert torch.equal(give(images), rows)
        return rows.repeat(1, 3, 1)

    backend.infer = infer  # type: ignore[method-assign]
    boxes = [(8 * i, 16 * i, 8 * i + 40, 16 * i + 24) for i in range(4)]
    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            found = list(pool.map(lambda box: detector.detect_images([picture(128, 128, box)])[0], boxes))
            for detections, box in zip(found, boxes, strict=True):
                assert detections.xyxy.tolist() == [list(box)]
    assert detector.n_truncated == 20 * 4 * 2
    assert caplog.text.count("candidates above conf_thres") == 1


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), [[1]]]
)
def test_another_kind_of_image_is_refused(weights: Path, image: Any) -> None:
    with pytest.raises(ShapeError, match="image: wanted"):
        made(weights).detect_images([image])


@pytest.mark.parametrize(
    "settings",
    [
        {"conf_thres": 1.5},
        {"iou_thres": -0.1},
        {"max_det": 0},
        {"backend": "magic"},
        {"confidence": 0.5},
        {"weights_sha256": "x"},
    ],
)
def test_settings_out_of_bounds(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DetectorConfig(**settings)


@pytest.mark.parametrize(("suffix", "backend"), [("onnx", "eager"), ("xml", "onnxruntime"), ("engine", "openvino")])
def test_backend_and_file_must_fit(tmp_path: Path, suffix: str, backend: str) -> None:
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(b"x")
    with pytest.raises(BackendError, match=rf"the backend '{backend}' does not run this: found an \.{suffix} file"):
        made(path, backend=backend)


def test_a_digest_that_differs(weights: Path) -> None:
    with pytest.raises(CheckpointError, match="wanted SHA-256 0000"):
        made(weights, weights_sha256="0" * 64)


def test_the_backend_that_is_named_runs(weights: Path) -> None:
    assert isinstance(made(weights)._backend, EagerBackend)


@pytest.mark.skipif(not find_spec("openvino") or not find_spec("onnx"), reason="needs the packages openvino and onnx")
def test_the_default_backend_is_the_fastest_that_is_installed(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = DetectorConfig(weights=str(weights), device="cpu")
    assert (config.backend, config.precision) == ("auto", "auto")
    for backend in (OpenVinoBackend, EagerBackend):
        detector = YoloDetector(config)
        assert isinstance(detector._backend, backend)
        detector.close()
        monkeypatch.setattr("detector.open_network.find_spec", lambda name: None)


# -- on real weights and images --


BACKENDS = {"yolox_nano.pth": "eager", "yolox_nano.onnx": "onnxruntime"}


def coco(data_dir: Path) -> Path:
    return data_dir / "coco" / "annotations" / "instances_val188.json"


@pytest.mark.parametrize("file", BACKENDS)
def test_a_real_image(data_dir: Path, file: str) -> None:
    """A cook in a kitchen: found by the published weights, through PyTorch and through ONNX Runtime."""
    if file.endswith(".onnx"):
        pytest.importorskip("onnxruntime")
    dataset = read_dataset(coco(data_dir))
    image = next(image for image in dataset.images if image.image_id == 397133)
    import cv2

    detector = YoloDetector(
        DetectorConfig(
            weights=str(data_dir / "weights" / file), backend=BACKENDS[file], device="cpu", threads=1, rect=False
        )
    )
    (found,) = detector.detect_images([cv2.imread(str(image.path))])
    best = found.select(found.confidence > 0.7)
    assert "person" in {detector.class_names[index] for index in best.class_id}
    person = best.select(best.class_id == 0).xyxy[0]
    np.testing.assert_allclose(person, [388, 69, 498, 347], atol=15)


@pytest.mark.slow
@pytest.mark.parametrize("file", BACKENDS)
def test_the_published_weights_reach_their_ap(data_dir: Path, file: str) -> None:
    """The reference programs reach AP 27.7 and AP50 43.9 on these 188 images with conf 0.01 and NMS 0.65."""
    pytest.importorskip("faster_coco_eval")
    if file.endswith(".onnx"):
        pytest.importorskip("onnxruntime")
    dataset = read_dataset(coco(data_dir))
    weights = str(data_dir / "weights" / file)
    config = DetectorConfig(
        weights=weights, backend=BACKENDS[file], device="cpu", threads=1, **published_settings("yolox")
    )
    told: list[tuple[int, int]] = []
    measured = validate(YoloDetector(config), dataset, batch_size=4, progress=lambda *done: told.append(done))
    assert measured.result.ap == pytest.approx(0.277, abs=0.003)
    assert measured.result.ap50 == pytest.approx(0.439, abs=0.005)
    assert told[-1] == (188, 188)
    assert measured.unmatched_detector == measured.unmatched_dataset == ()


def test_classes_are_matched_by_name(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set with other classes in another order: boxes of classes that it has not are left out."""
    pytest.importorskip("faster_coco_eval")
    dataset = read_dataset(coco(data_dir))
    few = type(dataset)(dataset.path, dataset.class_names, dataset.category_ids, dataset.images[:3])

    class Fixed:
        class_names = ("unicorn", "toothbrush", "person")

        def detect_images(self, images: Any) -> Any:
            from pipeline.core.detections import Detections

            boxes = np.array([[0, 0, 10, 10], [5, 5, 20, 20], [1, 1, 3, 4]], np.float32)
            return [Detections(boxes, np.ones(3, np.float32), np.arange(3)) for _ in images]

    measured = validate(Fixed(), few, classes=["person", "dog"], batch_size=2)
    assert len(measured.predictions) == 6
    assert {record["category_id"] for record in measured.predictions} == {90, 1}
    assert measured.predictions[1]["bbox"] == [1, 1, 2, 3]
    assert list(measured.result.per_class) == ["person", "dog"]
    assert measured.unmatched_detector == ("unicorn",)
    assert measured.unmatched_dataset == ("dog",)
    Fixed.class_names = ("unicorn", "griffin", "sphinx")
    with pytest.raises(DatasetError, match=r"wanted classes that the detector knows \(unicorn, griffin, sphinx"):
        validate(Fixed(), few)


def test_an_image_that_is_gone(data_dir: Path, tmp_path: Path) -> None:
    dataset = read_dataset(coco(data_dir), images_dir=tmp_path)

    class Any_:
        class_names = ("person",)

        def detect_images(self, images: Any) -> Any:
            raise AssertionError

    with pytest.raises(DatasetError, match="wanted an image, found no file"):
        validate(Any_(), dataset)


def test_a_data_set_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "x.txt").touch()
    with pytest.raises(
        DatasetError, match=r"wanted a data\.yaml, a COCO \.json or a folder in VOC's layout, found a \.txt"
    ):
        read_dataset(tmp_path / "x.txt")


def test_reference_settings_go_by_the_family(weights: Path, tmp_path: Path) -> None:
    assert reference_settings(str(weights))["rect"] is False
    assert reference_settings(str(weights))["conf_thres"] == 0.01
    save_checkpoint(tmp_path / "x.safetensors", build_model("yolov7-tiny", num_classes=3), NAMES)
    assert reference_settings(str(tmp_path / "x.safetensors"))["multi_label"] is True
