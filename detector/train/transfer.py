"""Starting a training from weights that know other classes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from detector.checkpoint import LoadedCheckpoint, load_checkpoint
from detector.identify import Architecture, expected_shapes
from detector.models import DetectionModel, training_to_deploy_state
from detector.models.heads import YoloV7Head
from pipeline.core.errors import CheckpointError

_PER_CLASS = re.compile(r"\.(m|m2|cls_preds)\.\d+\.(weight|bias)$|\.im\.\d+\.implicit$")
"""Tensors of a head with rows for the classes."""
_IMPLICIT = re.compile(r"\.i[am]\.\d+\.implicit$")
_SHOWN_CLASSES = 12


class Amount(NamedTuple):
    """So many tensors of a state dict, and the trainable numbers meant by it."""

    tensors: int
    parameters: int


@dataclass(frozen=True, slots=True)
class TransferReport:
    """What a network took over.

    Each tensor of the network is counted once, in `copied`, `in_part` or `fresh`; each of its parameters too.

    Attributes:
        title: both networks.
        copied: tensors taken over as a whole.
        in_part: output layers of which some classes are fresh; the parameters are those that were taken over.
        fresh: tensors that the weights do not have; the parameters include the fresh ones of `in_part`.
        left_out: what the weights have and the network does not.
        classes_kept: names that both know, in the network's order.
        classes_fresh: names that only the network knows.
        classes_left_out: names that only the weights know.
        notes: what else changed, one line each.
    """

    title: str
    copied: Amount
    in_part: Amount
    fresh: Amount
    left_out: Amount
    classes_kept: tuple[str, ...]
    classes_fresh: tuple[str, ...]
    classes_left_out: tuple[str, ...]
    notes: tuple[str, ...]

    def table(self) -> list[str]:
        """The report as lines of text."""
        rows = (
            ("copied", self.copied),
            ("in part", self.in_part),
            ("fresh", self.fresh),
            ("left out", self.left_out),
        )
        classes = (
            ("classes kept", self.classes_kept),
            ("classes fresh", self.classes_fresh),
            ("classes left out", self.classes_left_out),
        )
        return [
            self.title,
            f"{'':<10}{'tensors':>8}{'parameters':>14}",
            *(f"{what:<10}{amount.tensors:>8}{amount.parameters:>14,}" for what, amount in rows),
            *(f"{what}: {_listed(names)}" for what, names in classes),
            *self.notes,
        ]


class _Rows(NamedTuple):
    """Rows of an output layer that mean the same: in the network, and in the weights."""

    new: torch.Tensor
    old: torch.Tensor


@torch.no_grad()
def transfer_weights(model: DetectionModel, names: Sequence[str], source: LoadedCheckpoint | Path) -> TransferReport:
    """Fill a network with weights of the same architecture that tell other classes apart.

    Outputs for boxes, objectness and classes of equal name (letter case aside) become those of the weights; other
    classes stay as they are in `model`. The forms may differ: implicit knowledge is folded on the way to the deploy
    form, and set to what changes nothing on the way back; auxiliary levels stay as they are where the weights have
    none. Anchors are taken over.

    Args:
        model: changed in place; its device, mode and trainability stay.
        names: by class_id, as many as the model tells apart.
        source: weights of any known kind.

    Raises:
        CheckpointError: the file cannot be read; the weights are those of another architecture; the names do not fit.
    """
    if len(names) != model.num_classes:
        raise CheckpointError(f"{model.name}: wanted {model.num_classes} class names, found {len(names)}")
    loaded = load_checkpoint(source) if isinstance(source, Path) else source
    _check_architecture(model, loaded.model, str(source) if isinstance(source, Path) else "weights to start from")
    old = loaded.model
    by_name = _classes_by_name(names, loaded.class_names)
    rows = _equal_rows(model, old.num_classes, by_name)
    given = _state_for(model, old)
    taken = {
        key: _copy(given[key], value, rows if _PER_CLASS.search(key) else None, axis=1 if ".im." in key else 0)
        for key, value in model.state_dict().items()
        if key in given
    }
    notes = _settle_forms(model, old)
    copied, in_part, fresh, left_out = _amounts(model, old, taken)
    return TransferReport(
        title=f"{_described(old)} -> {_described(model)}",
        copied=copied,
        in_part=in_part,
        fresh=fresh,
        left_out=left_out,
        classes_kept=tuple(name for number, name in enumerate(names) if number in by_name),
        classes_fresh=tuple(name for number, name in enumerate(names) if number not in by_name),
        classes_left_out=tuple(
            name for number, name in enumerate(loaded.class_names) if number not in by_name.values()
        ),
        notes=notes,
    )


def _check_architecture(model: DetectionModel, old: DetectionModel, where: str) -> None:
    """By names and shapes: networks that differ in nothing but their activation can take each other's weights."""
    wanted = expected_shapes(Architecture(model.name, old.form, old.num_classes))
    if wanted != {key: tuple(value.shape) for key, value in old.state_dict().items()}:
        raise CheckpointError(
            f"{where}: wanted weights of {model.name}, found those of {old.name}; train {old.name}, "
            f"or start from weights of {model.name}"
        )


def _classes_by_name(names: Sequence[str], old_names: Sequence[str]) -> dict[int, int]:
    """Number in the weights by number in the network, of the classes that both know; the first of equal names."""
    old = {name.casefold(): number for number, name in reversed(list(enumerate(old_names)))}
    return {number: old[name.casefold()] for number, name in enumerate(names) if name.casefold() in old}


def _equal_rows(model: DetectionModel, old_classes: int, by_name: Mapping[int, int]) -> _Rows:
    """YOLOv7's layers have rows for the box, objectness and the classes, per anchor; YOLOX's for the classes."""
    head = model.detection_head
    anchors, others = (head.num_anchors, 5) if isinstance(head, YoloV7Head) else (1, 0)
    equal = [(row, row) for row in range(others)] + [(others + new, others + old) for new, old in by_name.items()]
    new_rows = [anchor * (others + model.num_classes) + new for anchor in range(anchors) for new, _ in equal]
    old_rows = [anchor * (others + old_classes) + old for anchor in range(anchors) for _, old in equal]
    return _Rows(torch.tensor(new_rows, dtype=torch.int64), torch.tensor(old_rows, dtype=torch.int64))


def _state_for(model: DetectionModel, old: DetectionModel) -> dict[str, torch.Tensor]:
    """The weights in the form of the network and under its names."""
    if _folds(model, old):
        return training_to_deploy_state(old.state_dict(), model.state_dict())
    names = _names(model, old)
    return {names[key]: value for key, value in old.state_dict().items()}


def _copy(source: torch.Tensor, target: torch.Tensor, rows: _Rows | None, *, axis: int) -> int:
    """Copy a tensor, or its rows of equal meaning, and count the numbers."""
    if rows is None:
        target.copy_(source)
        return target.numel()
    values = source.index_select(axis, rows.old.to(source.device)).to(target)
    target.index_copy_(axis, rows.new.to(target.device), values)
    return values.numel()


def _settle_forms(model: DetectionModel, old: DetectionModel) -> tuple[str, ...]:
    """Make up for what the weights' form lacks, and say so."""
    if model.family != "yolov7" or model.form == old.form:
        return ()
    if _folds(model, old):
        notes = ["implicit knowledge: folded into the output layers"]
        what = "left out"
    else:
        for key, value in model.state_dict().items():
            if _IMPLICIT.search(key):
                value.fill_(1.0 if ".im." in key else 0.0)
        notes = ["implicit knowledge: set to what changes nothing, since deploy weights have none"]
        what = "fresh, since deploy weights have none"
    if model.detection_head.has_aux or old.detection_head.has_aux:
        notes.append(f"auxiliary levels: {what}")
    return tuple(notes)


def _amounts(
    model: DetectionModel, old: DetectionModel, taken: Mapping[str, int]
) -> tuple[Amount, Amount, Amount, Amount]:
    """Tensors copied, copied in part, fresh, and left out."""
    state = model.state_dict()
    whole = [key for key, count in taken.items() if count == state[key].numel()]
    part = [key for key, count in taken.items() if 0 < count < state[key].numel()]
    sizes = {key: value.numel() for key, value in model.named_parameters()}
    copied = Amount(len(whole), sum([taken[key] for key in whole if key in sizes]))
    in_part = Amount(len(part), sum([taken[key] for key in part if key in sizes]))
    both = copied.parameters + in_part.parameters
    fresh = Amount(len(state) - len(whole) - len(part), sum(sizes.values()) - both)
    # What is folded lives on in the output layers.
    kept = {old_key for old_key, key in _names(model, old).items() if taken.get(key)}
    folded = {key for key in old.state_dict() if _folds(model, old) and _IMPLICIT.search(key)}
    available = sum(value.numel() for key, value in old.named_parameters() if key not in folded)
    return copied, in_part, fresh, Amount(len(old.state_dict().keys() - kept - folded), available - both)


def _names(model: DetectionModel, old: DetectionModel) -> dict[str, str]:
    """The network's name of each tensor of the weights: networks with auxiliary levels number the head by form."""
    before, after = (f"{_head_path(network)}." for network in (old, model))
    return {key: f"{after}{key.removeprefix(before)}" if key.startswith(before) else key for key in old.state_dict()}


def _folds(model: DetectionModel, old: DetectionModel) -> bool:
    return model.family == "yolov7" and (old.form, model.form) == ("training", "deploy")


def _head_path(model: DetectionModel) -> str:
    head = model.detection_head
    return next(path for path, module in model.named_modules() if module is head)


def _described(model: DetectionModel) -> str:
    return f"{model.name} ({model.form}, {model.num_classes} {'class' if model.num_classes == 1 else 'classes'})"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN_CLASSES]) or "none"
    return f"{shown} and {len(names) - _SHOWN_CLASSES} more" if len(names) > _SHOWN_CLASSES else shown
