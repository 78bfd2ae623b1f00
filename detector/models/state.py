"""Moving state dicts between the forms and the namings in which weights are published."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import TypeVar

import torch

from detector.models.catalogue import build_model
from detector.models.graph import DetectionModel
from detector.models.heads import fold_implicit

T = TypeVar("T")

_HEAD_KEY = re.compile(r"model\.(\d+)\.anchors")
_MIT_HEAD = re.compile(r"((?:model\.)?\d+)\.heads\.(\d+)\.(head_conv|implicit_a|implicit_m)\.(.+)")
_MIT_PARTS = {"head_conv": "m", "implicit_a": "ia", "implicit_m": "im"}
_MIT_BLOCKS = {
    "pre_conv.0": "cv1",
    "pre_conv.1": "cv3",
    "pre_conv.2": "cv4",
    "short_conv": "cv2",
    "post_conv.0": "cv5",
    "post_conv.1": "cv6",
    "merge_conv": "cv7",
    "conv1.conv": "rbr_dense.0",
    "conv1.bn": "rbr_dense.1",
    "conv2.conv": "rbr_1x1.0",
    "conv2.bn": "rbr_1x1.1",
}
"""Parts of the pyramid pooling and of RepConv."""


def training_to_deploy_state(
    state: Mapping[str, torch.Tensor], deploy_keys: Mapping[str, object]
) -> dict[str, torch.Tensor]:
    """A YOLOv7 training-form state dict as that of the deploy form: auxiliary levels go, implicit knowledge is folded.

    Args:
        state: of the training form; not changed.
        deploy_keys: the state dict of the deploy form, for its names.

    Returns:
        Tensors under exactly the names of `deploy_keys`; those that need no change are shared with `state`.
    """
    old, new = _head_number(state), _head_number(deploy_keys)
    moved: dict[str, torch.Tensor] = {}
    for key in deploy_keys:
        source = key.replace(f"model.{new}.", f"model.{old}.", 1)
        moved[key] = state[source]
    level = 0
    while (weight_key := f"model.{new}.m.{level}.weight") in moved:
        bias_key = f"model.{new}.m.{level}.bias"
        weight, bias = moved[weight_key].clone(), moved[bias_key].clone()
        added, factor = (state[f"model.{old}.{part}.{level}.implicit"] for part in ("ia", "im"))
        fold_implicit(weight, bias, added, factor)
        moved[weight_key], moved[bias_key] = weight, bias
        level += 1
    return moved


@torch.no_grad()
def deploy_form(model: DetectionModel) -> DetectionModel:
    """The network as it is to run: a YOLOv7 model in training form becomes one in deploy form, equal in what it finds.

    Args:
        model: not changed; not fused. One that is in deploy form already, or YOLOX, is copied.
    """
    if model.family != "yolov7" or model.form == "deploy":
        return copy.deepcopy(model).eval()
    out = build_model(model.name, num_classes=model.num_classes, form="deploy")
    out.load_state_dict(training_to_deploy_state(model.state_dict(), out.state_dict()))
    return out.eval()


def rename_mit_keys(state: Mapping[str, T]) -> dict[str, T]:
    """The authors' MIT release under the names used here; any other state dict as it is.

    That release numbers its layers the same, with or without the leading `model.`, and names the parts of three kinds
    of layers otherwise: the head keeps each level together (`heads.0.implicit_a` for `ia.0`), the pyramid pooling
    groups its convolutions by purpose, and RepConv calls its branches `conv1` and `conv2`. Anchors are no part of it.
    """
    if not any(_MIT_HEAD.fullmatch(key) for key in state):
        return dict(state)
    return {_renamed(key if key.startswith("model.") else f"model.{key}"): value for key, value in state.items()}


def _renamed(key: str) -> str:
    if match := _MIT_HEAD.fullmatch(key):
        layer, level, part, leaf = match.groups()
        return f"{layer}.{_MIT_PARTS[part]}.{level}.{leaf}"
    _, number, rest = key.split(".", 2)
    for theirs, ours in _MIT_BLOCKS.items():
        if rest.startswith(theirs + "."):
            return f"model.{number}.{ours}.{rest.removeprefix(theirs + '.')}"
    return key


def _head_number(keys: Mapping[str, object]) -> str:
    for key in keys:
        if match := _HEAD_KEY.fullmatch(key):
            return match.group(1)
    raise KeyError("wanted the state dict of a YOLOv7 network, found none of its head's anchors")
