"""The networks of configs/models by name: rows read strictly, and only functions of a literal table called."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from detector.models import yolov7, yolox
from detector.models.graph import Builder, DetectionModel, ModelInfo, Value
from detector.preprocess import Preprocess
from pipeline.core.errors import ConfigError

STAGES: Mapping[str, Callable[..., Value]] = {
    "conv": yolov7.conv,
    "rep_conv": yolov7.rep_conv,
    "space_to_depth": yolov7.space_to_depth,
    "elan": yolov7.elan,
    "e_elan": yolov7.e_elan,
    "pool": yolov7.pool,
    "transition": yolov7.transition,
    "down_c": yolov7.down_c,
    "down": yolov7.down,
    "up": yolov7.up,
    "sppcspc": yolov7.sppcspc,
    "sppcsp_tiny": yolov7.sppcsp_tiny,
    "yolov7_head": yolov7.yolov7_head,
    "focus": yolox.focus,
    "unit": yolox.unit,
    "strided": yolox.strided,
    "csp": yolox.csp,
    "spp": yolox.spp,
    "residual": yolox.residual,
    "upsample": yolox.upsample,
    "beside": yolox.beside,
    "yolox_head": yolox.yolox_head,
}
"""What a row may be."""

FORMS = ("training", "deploy")
_WIRING = ("name", "from", "path", "only")
_FILE_KEYS = {"family", "preprocess", "activation", "depthwise", "depth", "width", "input_px", "models", "rows"}


def available_models() -> tuple[str, ...]:
    """Names that `build_model` knows."""
    return tuple(_catalogue())


def build_model(name: str, *, num_classes: int = 80, form: str = "deploy") -> DetectionModel:
    """A network with fresh weights, in training mode.

    Args:
        name: of `available_models()`.
        num_classes: nc, 1 or more.
        form: `training` (YOLOv7: implicit knowledge, auxiliary levels of the P6 models) or `deploy`.

    Raises:
        ConfigError: unknown name or form, or rows that cannot be built.
    """
    catalogue = _catalogue()
    if name not in catalogue:
        near = difflib.get_close_matches(name, catalogue, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"model: wanted one of {', '.join(catalogue)}, found {name!r}{hint}")
    if form not in FORMS:
        raise ConfigError(f"form: wanted training or deploy, found {form!r}")
    if num_classes < 1:
        raise ConfigError(f"num_classes: wanted 1 or more, found {num_classes}")
    return build_from_rows(name, catalogue[name], num_classes=num_classes, form=form)


def build_from_rows(name: str, settings: Mapping[str, Any], *, num_classes: int, form: str) -> DetectionModel:
    """A network from the contents of a file of configs/models, one model's own settings laid over it.

    Raises:
        ConfigError: an unknown key, stage or argument, or wiring to a row that is not there; names the row.
    """
    unknown = set(settings) - _FILE_KEYS
    if unknown:
        raise ConfigError(f"{name}: unknown key {min(unknown)!r}; wanted some of {', '.join(sorted(_FILE_KEYS))}")
    builder = Builder(
        activation=settings.get("activation", "silu"),
        form=form,
        num_classes=num_classes,
        depth=settings.get("depth", 1.0),
        width=settings.get("width", 1.0),
        depthwise=settings.get("depthwise", False),
    )
    for number, row in enumerate(settings["rows"]):
        if row.get("only", form) == form:
            try:
                _add_row(builder, row)
            except (ConfigError, TypeError) as error:
                raise ConfigError(f"{name}: row {number} {row}: {error}") from error
    side = settings["input_px"]
    family = settings["family"]
    preprocess: Preprocess = "yolox" if family == "yolox" else "yolov7"
    return DetectionModel(ModelInfo(name, family, form, num_classes, (side, side), preprocess), builder)


def _add_row(builder: Builder, row: Mapping[str, Any]) -> None:
    stages = [key for key in row if key not in _WIRING and key in STAGES]
    if len(stages) != 1:
        raise ConfigError(f"wanted exactly one of {', '.join(STAGES)}, found {', '.join(stages) or 'none'}")
    [kind] = stages
    stage = STAGES[kind]
    x = builder.find(row["from"]) if "from" in row else builder.last
    arguments = {key: value for key, value in row.items() if key not in (*_WIRING, kind)}
    first = [] if row[kind] is None else [row[kind]]
    inspect.signature(stage).bind(builder, x, *first, **arguments)
    builder.path, builder.aux = row.get("path"), row.get("only") == "training"
    value = stage(builder, x, *first, **arguments)
    if "name" in row:
        builder.named[row["name"]] = value


@cache
def _catalogue() -> dict[str, dict[str, Any]]:
    """Settings by model name; a file may describe several models that differ in their settings."""
    catalogue: dict[str, dict[str, Any]] = {}
    for entry in sorted(files("configs").joinpath("models").iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".yaml"):
            shared = yaml.safe_load(entry.read_text(encoding="utf-8"))
            models = shared.pop("models")
            for name, own in models.items():
                catalogue[name] = {**shared, **(own or {})}
    return catalogue
