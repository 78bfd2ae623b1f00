"""Weights on disk.

Own checkpoints are safetensors files with a JSON header in their metadata. Files of the YOLOv7 and YOLOX programs
(`.pt`, `.pth`) are read as they are, without running anything in them (`unpickler.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from detector.class_names import COCO_CLASS_NAMES
from detector.identify import Architecture, Form, empty_model, expected_shapes, identify, mismatch
from detector.models import DetectionModel, available_models, build_model, rename_mit_keys
from detector.preprocess import Preprocess
from detector.torch_file import TorchFile, module_tensors
from detector.unpickler import StandIn, TensorRef
from pipeline.core.errors import CheckpointError
from pipeline.core.whole_file import write_whole

FORMAT_VERSION = 1
_METADATA_KEY = "tracklight"


class Header(BaseModel):
    """What an own checkpoint says about its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    format_version: Literal[1] = 1
    model: str = Field(description="name of the network in available_models()")
    form: Form = Field(description="training or deploy graph")
    class_names: tuple[str, ...] = Field(min_length=1)
    input_hw: tuple[int, int] = Field(description="height and width that the weights are meant for (px)")
    preprocess: Preprocess
    metrics: dict[str, float] = Field(default={}, description="what was measured, fractions of 1")
    provenance: dict[str, str] = Field(default={}, description="where the weights come from")


@dataclass(frozen=True, slots=True)
class LoadedCheckpoint:
    """A network with its weights, in eval mode on the CPU in float32, and what the file says about it."""

    model: DetectionModel
    header: Header

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by class_id."""
        return self.header.class_names

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width that the weights are meant for, px."""
        return self.header.input_hw


@dataclass(frozen=True, slots=True)
class _Contents:
    """A state dict that is not read yet."""

    shapes: dict[str, tuple[int, ...]]
    read: Callable[[str], torch.Tensor]
    class_names: tuple[str, ...] | None
    hints: tuple[str, ...]
    kind: str


def save_checkpoint(
    path: Path,
    model: DetectionModel,
    class_names: Sequence[str],
    *,
    input_hw: tuple[int, int] | None = None,
    metrics: Mapping[str, float] | None = None,
    provenance: Mapping[str, str] | None = None,
    half: bool = False,
) -> None:
    """Write a model as safetensors with a header. A reader never sees half of it; an existing file is replaced.

    Args:
        path: file to make, by convention *.safetensors.
        model: the network; not changed. A fused one is refused: fuse after loading.
        class_names: as many as the model tells apart.
        input_hw: height and width the weights are meant for, px; None: the model's default.
        metrics: what was measured, fractions of 1.
        provenance: where the weights come from: data, licence, command.
        half: store convolutions in 16 bits, at half the size; they are read as 32 bits.

    Raises:
        CheckpointError: the names do not fit, or the state dict is not that of an unfused model.
    """
    _check_class_count(class_names, model.num_classes, str(path))
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    if half:
        state = {name: _as_float16(name, value) for name, value in state.items()}
    architecture = Architecture(model.name, model.form, model.num_classes)
    expected, found = expected_shapes(architecture), {name: tuple(value.shape) for name, value in state.items()}
    if expected != found:
        raise CheckpointError(
            f"{path}: not written: {mismatch(expected, found, model.name)}; save the model before fuse()"
        )
    header = Header(
        model=model.name,
        form=model.form,
        class_names=tuple(class_names),
        input_hw=input_hw or model.default_hw,
        preprocess=model.preprocess,
        metrics=dict(metrics or {}),
        provenance=dict(provenance or {}),
    )
    data = save(state, metadata={_METADATA_KEY: header.model_dump_json()})
    write_whole(path, data, durable=True)


def load_checkpoint(path: Path, class_names: Sequence[str] | None = None) -> LoadedCheckpoint:
    """Read weights of any known kind; nothing in the file is executed.

    Args:
        path: an own checkpoint, a `.pt`/`.pth` of YOLOv7, YOLOX or the MIT YOLO program, or a plain state dict.
        class_names: names to use in place of the file's.

    Raises:
        CheckpointError: the file cannot be read, is refused, or fits no network; or the names do not fit it.
    """
    contents, header = _open(path)
    names = tuple(class_names or header.class_names)
    _check_class_count(names, len(header.class_names), str(path))
    model = build_model(header.model, num_classes=len(names), form=header.form)
    read = {name: _as_float32(contents.read(name)) for name in contents.shapes}
    model.load_state_dict({**model.state_dict(), **read}, strict=True)
    model.eval().requires_grad_(False)
    return LoadedCheckpoint(model, header.model_copy(update={"class_names": names}))


def read_header(path: Path) -> Header:
    """What weights of any known kind are, without reading them.

    Raises:
        CheckpointError: the file cannot be read, is refused, or fits no network.
    """
    return _open(path)[1]


def default_class_names(num_classes: int) -> tuple[str, ...]:
    """Names where a file has none: COCO's for 80 classes, otherwise numbers."""
    if num_classes == len(COCO_CLASS_NAMES):
        return COCO_CLASS_NAMES
    return tuple(f"class {number}" for number in range(num_classes))


def _open(path: Path) -> tuple[_Contents, Header]:
    """The state dict, not read yet but known to fit its network, and what it is."""
    if path.is_dir():
        raise CheckpointError(f"{path}: wanted a weight file, found a folder; name a file in it")
    try:
        if path.suffix == ".safetensors":
            contents, header = _safetensors_contents(path)
        else:
            contents, header = _torch_contents(path), None
    except OSError as error:
        raise CheckpointError(f"{path}: wanted a weight file; {error.strerror or error}") from error
    try:
        if header is None:
            return contents, _identified(contents, path)
        _check_fit(contents, header)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return contents, header


def _identified(contents: _Contents, path: Path) -> Header:
    """The header of a file that has none."""
    architecture = identify(contents.shapes, contents.hints)
    names = contents.class_names or default_class_names(architecture.num_classes)
    _check_class_count(names, architecture.num_classes, "the file names its classes")
    model = empty_model(architecture)
    return Header(
        model=architecture.name,
        form=architecture.form,
        class_names=names,
        input_hw=model.default_hw,
        preprocess=model.preprocess,
        provenance={"file": path.name, "kind": contents.kind},
    )


def _check_fit(contents: _Contents, header: Header) -> None:
    if header.model not in available_models():
        raise CheckpointError(
            f"its network {header.model!r} is not known here; there are: {', '.join(available_models())}"
        )
    expected = expected_shapes(Architecture(header.model, header.form, len(header.class_names)))
    if expected != contents.shapes:
        raise CheckpointError(mismatch(expected, contents.shapes, f"{header.model} ({header.form} form)"))


def _safetensors_contents(path: Path) -> tuple[_Contents, Header | None]:
    file = _safetensors(path)
    header = _parse_header(file.metadata(), path)
    shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 not a dict
    names = header.class_names if header else None
    return _Contents(shapes, file.get_tensor, names, (path.stem,), "safetensors"), header


def _safetensors(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        raise CheckpointError(
            f"{path}: cut short or no safetensors file ({error}); download or copy it again"
        ) from error


def _parse_header(metadata: Mapping[str, str] | None, path: Path) -> Header | None:
    text = (metadata or {}).get(_METADATA_KEY)
    if text is None:
        return None
    try:
        version = json.loads(text).get("format_version")
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise CheckpointError(
                f"{path}: format {version} is of a newer Tracklight; this one reads up to {FORMAT_VERSION}"
            )
        return Header.model_validate_json(text)
    except (ValidationError, ValueError, AttributeError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path}: its header is damaged ({str(error).splitlines()[0]})") from error


def _torch_contents(path: Path) -> _Contents:
    file = TorchFile(path)
    source = _weights_in(file.root)
    module = source if isinstance(source, StandIn) else None
    try:
        tensors = module_tensors(module) if module is not None else _plain_tensors(source)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if not tensors:
        raise CheckpointError(f"{path}: wanted weights (a state dict or a model), found neither in it")
    for ref in tensors.values():
        # Before anything is made of the shapes: the number of classes is one of them.
        file.check(ref)
    tensors = rename_mit_keys(_without_prefix(tensors, "module."))
    kind = "pickled model" if module is not None else "state dict"
    hints = (path.stem, *((_activation(module),) if module is not None else ()))
    return _Contents(
        {name: ref.shape for name, ref in tensors.items()},
        lambda name: file.tensor(tensors[name]),
        _names_of(module) if module is not None else None,
        hints,
        kind,
    )


def _weights_in(root: object) -> object:
    """The part of a checkpoint that holds the weights to run: the averaged ones before the trained ones."""
    if not isinstance(root, dict):
        return root
    for key in ("ema", "model", "state_dict"):
        value = root.get(key)
        if isinstance(value, tuple) and value:
            value = value[0]
        if isinstance(value, StandIn) or (isinstance(value, dict) and _plain_tensors(value)):
            return value
    return root


def _plain_tensors(source: object) -> dict[str, TensorRef]:
    if not isinstance(source, dict):
        return {}
    return {name: value for name, value in source.items() if isinstance(name, str) and isinstance(value, TensorRef)}


def _without_prefix(tensors: dict[str, TensorRef], prefix: str) -> dict[str, TensorRef]:
    """Drop the prefix that multi-GPU training puts before every name."""
    if not all(name.startswith(prefix) for name in tensors):
        return tensors
    return {name.removeprefix(prefix): ref for name, ref in tensors.items()}


def _names_of(module: StandIn) -> tuple[str, ...] | None:
    names = vars(module).get("names")
    if isinstance(names, dict):
        names = list(names.values())
    if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    return None


def _activation(module: StandIn) -> str:
    """`silu` if the pickled network has SiLU layers: all that tells yolov7-tiny-silu from yolov7-tiny."""
    nodes: list[object] = [module]
    seen: set[int] = set()
    while nodes:
        node = nodes.pop()
        if isinstance(node, StandIn) and id(node) not in seen:
            seen.add(id(node))
            if type(node).qualified_name == "torch.nn.modules.activation.SiLU":
                return "yolov7-tiny-silu"
            children = vars(node).get("_modules")
            nodes.extend(children.values() if isinstance(children, dict) else ())
    return ""


def _check_class_count(names: Sequence[str], num_classes: int, where: str) -> None:
    if len(names) != num_classes:
        raise CheckpointError(
            f"{where}: its weights tell {num_classes} classes apart, but {len(names)} class names are given"
        )


def _as_float16(name: str, value: torch.Tensor) -> torch.Tensor:
    """Convolutions only: norms may leave the range of 16 bits, and an anchor of 373 px would become 372."""
    return value.half() if value.is_floating_point() and value.ndim > 1 and "anchor" not in name else value


def _as_float32(value: torch.Tensor) -> torch.Tensor:
    return value.float() if value.is_floating_point() else value
