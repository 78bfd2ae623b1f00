"""Verb `export`: a network as a file for another runtime, checked against the network."""

from __future__ import annotations

import argparse
import sys
from math import isnan
from typing import TYPE_CHECKING, Any

from pipeline.cli.options import given, image_size
from pipeline.core.errors import UsageError

if TYPE_CHECKING:
    from detector.export.exporter import Exported

FORMATS = ("onnx", "openvino", "tensorrt", "torchscript")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `export`."""
    parser.add_argument("--weights", metavar="FILE|NAME", help="PyTorch weights, or a name of `tracklight models`")
    parser.add_argument(
        "--format", nargs="+", choices=FORMATS, default=["onnx"], metavar="FORMAT", help=f"{', '.join(FORMATS)} (onnx)"
    )
    parser.add_argument("-o", "--output", metavar="FILE|FOLDER", help="where to (default: the current folder)")
    parser.add_argument("--exist-ok", action="store_true", help="overwrite what exists")
    parser.add_argument("--quiet", action="store_true", help="no table and no progress")
    group = parser.add_argument_group("input and output")
    group.add_argument("--img-size", "--img", type=int, nargs="+", metavar="PX", help="input size: one side, or H W")
    group.add_argument(
        "--batch", "--batch-size", metavar="N|dynamic", help="the only batch size, or any (1; openvino: any)"
    )
    group.add_argument(
        "--dynamic",
        action=argparse.BooleanOptionalAction,
        help="any height and width; any batch too without --batch (no; openvino: yes)",
    )
    group.add_argument(
        "--input",
        choices=("planes", "pixels"),
        help="float planes as trained, or uint8 BGR pictures (planes; openvino: pixels)",
    )
    group.add_argument(
        "--result",
        choices=("candidates", "maps"),
        help="decoded boxes, or maps for Tracklight itself (candidates; openvino: maps)",
    )
    group.add_argument(
        "--nms", choices=("none", "onnx", "tensorrt"), help="suppression in the graph: its operator, or plugin (none)"
    )
    group.add_argument("--conf-thres", type=float, metavar="P", help="of the suppression that --nms asks for (0.25)")
    group.add_argument("--iou-thres", type=float, metavar="R", help="of the suppression that --nms asks for (0.45)")
    group.add_argument("--max-det", type=int, metavar="N", help="most boxes of that suppression (300)")
    group.add_argument("--opset", type=int, metavar="N", help="version of the operators in an .onnx file (17)")
    group = parser.add_argument_group("precision")
    group.add_argument("--precision", metavar="P", help="fp32, bf16, fp16 or int8 (fp32)")
    group.add_argument(
        "--data",
        metavar="DATA",
        help="video, folder, data.yaml or COCO .json: what files are checked and int8 is calibrated with; "
        "a labelled one also tells AP before and after (drawn pictures)",
    )
    group.add_argument("--split", default="val", help="part of a data.yaml for AP (default: %(default)s)")
    group.add_argument(
        "--calibrate", metavar="DATA", help="other pictures to calibrate int8 with, where --data measures AP (--data)"
    )
    group.add_argument("--device", metavar="DEVICE", help="GPU of a TensorRT engine: cuda, cuda:N or auto")


def run(args: argparse.Namespace) -> int:
    """Write the files and print what was compared."""
    from pipeline.api_export import export

    made = export(
        args.weights,
        args.format,
        output=args.output,
        data=args.data,
        split=args.split,
        calibrate=args.calibrate,
        exist_ok=args.exist_ok,
        progress=None if args.quiet else _say,
        **_settings(args),
    )
    if not args.quiet:
        _print(made)
    return 0


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    settings = given(
        img_size=image_size(args.img_size),
        input=args.input,
        result=args.result,
        nms=args.nms,
        conf_thres=args.conf_thres,
        iou_thres=args.iou_thres,
        max_det=args.max_det,
        opset=args.opset,
        precision=args.precision,
        device=args.device,
        dynamic=args.dynamic,
    )
    if isinstance(settings.get("img_size"), list):
        settings["img_size"] = tuple(settings["img_size"])
    if args.batch is not None:
        settings["batch"] = _batch(args.batch)
    elif args.dynamic:
        settings["batch"] = None
    return settings


def _batch(text: str) -> int | None:
    if text == "dynamic":
        return None
    if not text.isdecimal():
        raise UsageError(f"--batch: wanted a number or dynamic, found {text!r}")
    return int(text)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


_COLUMNS = ("format", "precision", "MB", "s", "boxes", "missing", "new", "max px", "median", "max conf", "median", "AP")


def _print(made: list[Exported]) -> None:
    rows = [_COLUMNS, *(_row(one) for one in made)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        cells = (text.ljust(w) if n < 2 else text.rjust(w) for n, (text, w) in enumerate(zip(row, widths, strict=True)))
        print("  ".join(cells).rstrip())
    n_frames = made[0].parity.n_frames
    print(f"{n_frames} frames, file beside PyTorch in fp32; px of the frame; conf: difference of confidences")
    for one in made:
        parity = one.parity
        raw = "" if isnan(parity.raw_score) else f"; before suppression {parity.raw_px:.2g} px, {parity.raw_score:.2g}"
        print(f"{one.path}: boxes above {parity.conf_thres:g}{raw}")
        if not parity.n_boxes and isnan(parity.raw_score):
            print(f"{one.path}: the network found nothing in these frames, so nothing was compared; name --data")


def _row(one: Exported) -> tuple[str, ...]:
    parity = one.parity
    ap = "-"
    if one.ap_before is not None and one.ap_after is not None:
        ap = f"{100 * one.ap_before:.2f} -> {100 * one.ap_after:.2f}"
    return (
        one.format,
        one.header.precision,
        f"{one.n_bytes / 1e6:.1f}",
        f"{one.seconds:.1f}",
        str(parity.n_boxes),
        str(parity.n_missing),
        str(parity.n_extra),
        f"{parity.max_px:.2g}",
        f"{parity.median_px:.2g}",
        f"{parity.max_score:.2g}",
        f"{parity.median_score:.2g}",
        ap,
    )
