"""Whether an exported file finds what the network finds that it was made from: the same boxes, on real frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from detector.backends import DetectorBackend, Precision
from detector.backends.eager import EagerBackend
from detector.detector import DetectorConfig, YoloDetector
from detector.export.end2end import GraphNms
from detector.open_network import OpenedNetwork
from detector.postprocess import decode_maps
from detector.preprocess import make_batches
from pipeline.core.arrays import FloatArray, ImageArray
from pipeline.core.boxes import iou_matrix
from pipeline.core.detections import Detections
from pipeline.core.protocols import IoSpec

_ENOUGH_BOXES = 20
_THRESHOLDS = (0.25, 0.05, 0.01, 0.001)
"""Confidences from which boxes are compared: the first at which the network finds enough of them."""
_MIN_IOU = 0.5
"""Boxes of one class that overlap by this much are the same find."""
_SURE = 1e-2
"""Candidates of less confidence are not boxes, whatever their place: only their confidence is compared."""


class Tolerance(NamedTuple):
    """How far a file may be from the network.

    px: corners of a box, in the frame. score: confidence. lost: share of boxes that only one of both finds. of: whether
    px and score hold for every box or for the median one.
    """

    px: float
    score: float
    lost: float
    of: Literal["all", "median"]


TOLERANCES: dict[Precision, Tolerance] = {
    "fp32": Tolerance(0.5, 1e-3, 0.0, "all"),
    "fp16": Tolerance(1.0, 0.01, 0.1, "median"),
    "bf16": Tolerance(4.0, 0.05, 0.25, "median"),
    "int8": Tolerance(12.0, 0.15, 0.5, "median"),
}
"""By precision. Rounding makes suppression choose a neighbour here and there, so the largest difference says little
below fp32: these catch a file that is broken, and AP tells what rounding costs."""


@dataclass(frozen=True, slots=True)
class Parity:
    """What a comparison found.

    Attributes:
        n_frames, n_boxes: frames, and boxes that the network found in them above `conf_thres`.
        n_missing, n_extra: boxes that only the network, or only the file found. One within the tolerance of the
            threshold counts as neither.
        max_px, median_px: distance of corners' coordinates between boxes that both found, px of the frame; of each
            box the largest.
        max_score, median_score: difference of their confidences.
        raw_px, raw_score: the same over all candidates before suppression, px of the input; NaN where the file gives
            no candidates.
        tolerance: what is allowed.
        conf_thres: boxes above this were compared.
    """

    n_frames: int
    n_boxes: int
    n_missing: int
    n_extra: int
    max_px: float
    median_px: float
    max_score: float
    median_score: float
    raw_px: float
    raw_score: float
    tolerance: Tolerance
    conf_thres: float

    @property
    def problem(self) -> str | None:
        """What is beyond the tolerance; None where nothing is."""
        allowed = self.tolerance
        every = allowed.of == "all"
        px, score = (self.max_px, self.max_score) if every else (self.median_px, self.median_score)
        if not self.n_boxes and not np.isnan(self.raw_score):
            score = self.raw_score  # without a single box to compare, the candidates must do
        word = "boxes" if every else "half of the boxes"
        faults = []
        if not px <= allowed.px:
            faults.append(f"{word} differ by {px:.3g} px or more (allowed: {allowed.px:g})")
        if not score <= allowed.score:
            faults.append(f"confidences of {word} differ by {score:.3g} or more (allowed: {allowed.score:g})")
        lost = self.n_missing + self.n_extra
        if lost > allowed.lost * max(self.n_boxes, 1):
            faults.append(f"{self.n_missing} of {self.n_boxes} boxes are missing and {self.n_extra} are new")
        return "; ".join(faults) or None


def compare(
    file: OpenedNetwork,
    eager: EagerBackend,
    images: Sequence[ImageArray],
    *,
    nms: GraphNms | None = None,
    input_hw: tuple[int, int] | None = None,
) -> Parity:
    """Run a file and the network side by side.

    Args:
        file: the exported file, opened. Not closed.
        eager: the network it was made from, in fp32.
        images: uint8 (h, w, 3), BGR, of any sizes; the more objects, the better.
        nms: the suppression in the file's graph; None where it has none.
        input_hw: height and width that frames are resized into, px; None = what the weights are meant for.
    """
    like_file = file._replace(backend=_AsFile(eager, file.backend.io_spec))
    settings = [nms] if nms is not None else [GraphNms(conf_thres=threshold) for threshold in _THRESHOLDS]
    for used in settings:
        wanted = _detect(like_file, images, used, input_hw)
        if sum(map(len, wanted)) >= _ENOUGH_BOXES:
            break
    tolerance = TOLERANCES[file.backend.precision]
    found = _detect(file, images, used, input_hw)
    compared = [_compare_boxes(a, b, used.conf_thres + tolerance.score) for a, b in zip(wanted, found, strict=True)]
    px = np.concatenate([part.px for part in compared])
    score = np.concatenate([part.score for part in compared])
    raw_px, raw_score = _compare_candidates(file, like_file, images, input_hw)
    return Parity(
        n_frames=len(images),
        n_boxes=sum(map(len, wanted)),
        n_missing=sum(part.n_missing for part in compared),
        n_extra=sum(part.n_extra for part in compared),
        max_px=float(px.max(initial=0)),
        median_px=float(np.median(px)) if len(px) else 0.0,
        max_score=float(score.max(initial=0)),
        median_score=float(np.median(score)) if len(score) else 0.0,
        raw_px=raw_px,
        raw_score=raw_score,
        tolerance=tolerance,
        conf_thres=used.conf_thres,
    )


class _AsFile:
    """The network with the sizes and batches of the file, so that both get the same pictures."""

    def __init__(self, backend: EagerBackend, spec: IoSpec) -> None:
        self.device, self.precision, self.head = backend.device, backend.precision, backend.head
        self.io_spec = replace(backend.io_spec, stride=spec.stride, fixed_hw=spec.fixed_hw, max_batch=spec.max_batch)
        self.infer, self.close = backend.infer, backend.close


def _detect(
    network: OpenedNetwork, images: Sequence[ImageArray], nms: GraphNms, input_hw: tuple[int, int] | None
) -> list[Detections]:
    config = DetectorConfig(
        conf_thres=nms.conf_thres, iou_thres=nms.iou_thres, max_det=nms.max_det, img_size=_size(network, input_hw)
    )
    detector = YoloDetector(config, network=network)
    return [detector.detect_images([image])[0] for image in images]


def _size(network: OpenedNetwork, input_hw: tuple[int, int] | None) -> tuple[int, int] | None:
    return None if network.backend.io_spec.fixed_hw is not None else input_hw


class _Compared(NamedTuple):
    n_missing: int
    n_extra: int
    px: FloatArray
    score: FloatArray


def _compare_boxes(wanted: Detections, found: Detections, sure: float) -> _Compared:
    """Pair boxes of one class, the most overlapping ones first. Only those of confidence `sure` or more can be lost."""
    overlap = iou_matrix(wanted.xyxy, found.xyxy)
    overlap = np.where(wanted.class_id[:, None] == found.class_id[None, :], overlap, 0)
    pairs = []
    while overlap.size and overlap.max() >= _MIN_IOU:
        row, column = np.unravel_index(overlap.argmax(), overlap.shape)
        pairs.append((row, column))
        overlap[row, :] = overlap[:, column] = 0
    rows, columns = np.array(pairs, np.intp).reshape(-1, 2).T
    return _Compared(
        n_missing=int((np.delete(wanted.confidence, rows) > sure).sum()),
        n_extra=int((np.delete(found.confidence, columns) > sure).sum()),
        px=np.abs(wanted.xyxy[rows] - found.xyxy[columns]).max(1, initial=0),
        score=np.abs(wanted.confidence[rows] - found.confidence[columns]),
    )


def _compare_candidates(
    file: OpenedNetwork, eager: OpenedNetwork, images: Sequence[ImageArray], input_hw: tuple[int, int] | None
) -> tuple[float, float]:
    spec = file.backend.io_spec
    if spec.output == "boxes":
        return float("nan"), float("nan")
    limit_hw = spec.fixed_hw or input_hw or file.input_hw
    stride = None if spec.fixed_hw else spec.stride
    px = score = 0.0
    for image in images:
        for batch in make_batches([image], limit_hw, file.preprocess, stride=stride):
            canvases = torch.from_numpy(batch.canvases)
            wanted, found = (_candidates(network.backend, canvases) for network in (eager, file))
            confidence, other = (_confidence(rows) for rows in (wanted, found))
            score = max(score, float((confidence - other).abs().max()))
            sure = confidence > _SURE
            px = max(px, float((wanted[sure] - found[sure])[:, :4].abs().amax()) if sure.any() else 0.0)
    return px, score


def _candidates(backend: DetectorBackend | Any, canvases: torch.Tensor) -> torch.Tensor:
    output = backend.infer(canvases)
    rows = decode_maps(output, backend.head) if backend.head is not None else output
    return rows.float().cpu()


def _confidence(rows: torch.Tensor) -> torch.Tensor:
    """(b, k): of the best class; the objectness alone where there is one class, see `end2end.objectness_only`."""
    return rows[..., 4] if rows.shape[2] == 6 else rows[..., 4] * rows[..., 5:].amax(2)
