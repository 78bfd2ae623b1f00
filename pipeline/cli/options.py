"""Options that several verbs share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pipeline.core.errors import ConfigError, UsageError
from pipeline.run_folder import free_folder as free_folder


def add_detector_options(parser: argparse.ArgumentParser) -> None:
    """Options of every verb that runs a detector; names as YOLOv7's users know them."""
    group = parser.add_argument_group("detector")
    group.add_argument("--weights", metavar="FILE|NAME", help="weights file, or a name of `tracklight models`")
    group.add_argument("--img-size", "--img", type=int, nargs="+", metavar="PX", help="input size: one side, or H W")
    group.add_argument("--conf-thres", type=float, metavar="P", help="keep boxes of this confidence or more")
    group.add_argument("--iou-thres", type=float, metavar="R", help="IoU above which NMS suppresses")
    group.add_argument("--classes", nargs="+", metavar="CLASS", help="keep these classes only (names or numbers)")
    group.add_argument("--device", metavar="DEVICE", help="cpu, cuda, cuda:N or auto")
    group.add_argument("--backend", metavar="NAME", help="eager, onnxruntime, openvino, tensorrt or auto")
    group.add_argument("--precision", metavar="P", help="fp32, bf16, fp16, int8 or auto")
    group.add_argument("--batch-size", type=int, metavar="N", help="most frames in one call of the detector")


def add_settings_options(parser: argparse.ArgumentParser) -> None:
    """A configuration file, and single settings laid over it."""
    group = parser.add_argument_group("configuration")
    group.add_argument("--config", metavar="FILE.yaml", help="settings of the run; options on the command line win")
    group.add_argument(
        "--set", action="append", metavar="KEY=VALUE", help="one setting, such as tracker.buffer_s=2; wins over all"
    )


def image_size(values: list[int] | None) -> int | list[int] | None:
    """What `--img-size` means: one side, or height and width.

    Raises:
        UsageError: more than two numbers.
    """
    if values is None or len(values) == 2:
        return values
    if len(values) > 2:
        raise UsageError(f"--img-size: wanted one side or H W, found {len(values)} numbers")
    return values[0]


def rules_section(path: str | None) -> dict[str, Any] | None:
    """What `--rules` holds: the section `analytics` of a configuration in a file of its own.

    Raises:
        ConfigError: the file cannot be read, or is empty: a run that counts nothing is not what was asked for.
    """
    if path is None:
        return None
    from pipeline.config.yaml_file import read_yaml

    section = read_yaml(Path(path))
    if not section:
        raise ConfigError(
            f"{path}: wanted rules by source (sources: ...), found an empty file; draw some, or leave it out"
        )
    return section


def given(**values: Any) -> dict[str, Any]:
    """The values that are not None: what the person really asked for."""
    return {name: value for name, value in values.items() if value is not None}
