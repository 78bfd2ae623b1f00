"""What an exported file says about itself, whatever its form."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from detector.backends import Precision
from detector.checkpoint import LoadedCheckpoint
from detector.head_spec import HeadSpec
from detector.preprocess import Preprocess
from pipeline.core.errors import CheckpointError

HEADER_KEY = "tracklight"
"""Name of the header among a file's metadata."""

InputForm = Literal["pixels", "planes"]
"""pixels: uint8 (b, h, w, 3) BGR, as letterboxed. planes: float (b, 3, h, w) as the model was trained on."""

OutputForm = Literal["maps", "candidates", "boxes"]
"""See IoSpec.output. Names in the file: `maps_0`, `maps_1`, ... by level; `candidates`; `boxes`."""


class ExportHeader(BaseModel):
    """Stands as JSON in the file's own metadata (ONNX: metadata_props; OpenVINO: rt_info; TensorRT: beside it)."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    format_version: Literal[1] = 1
    model: str = Field(description="name of the network in available_models()")
    class_names: tuple[str, ...] = Field(min_length=1)
    input_hw: tuple[int, int] = Field(description="height and width that the weights are meant for (px)")
    preprocess: Preprocess
    head: HeadSpec
    stride: int = Field(ge=1, description="height and width must be multiples of it")
    input: InputForm
    output: OutputForm
    precision: Precision = "fp32"
    batch: int | None = Field(default=None, ge=1, description="the only batch size; None = any")
    fixed_hw: tuple[int, int] | None = Field(default=None, description="the only height and width; None = any (px)")
    source_sha256: str = Field(default="", description="digest of the weights it was made from")
    metrics: dict[str, float] = Field(default={}, description="what was measured on it, fractions of 1")
    provenance: dict[str, str] = Field(default={}, description="where the weights come from, and what made the file")

    @classmethod
    def of(cls, loaded: LoadedCheckpoint, *, input: InputForm, output: OutputForm) -> ExportHeader:
        """The header of an export in 32 bits, of any size, from loaded weights; `model_copy` changes the rest."""
        return cls(
            model=loaded.header.model,
            class_names=loaded.class_names,
            input_hw=loaded.input_hw,
            preprocess=loaded.header.preprocess,
            head=HeadSpec.of(loaded.model),
            stride=loaded.model.max_stride,
            input=input,
            output=output,
            provenance=loaded.header.provenance,
        )

    @classmethod
    def from_json(cls, text: str, where: str) -> ExportHeader:
        """Read what `model_dump_json` wrote.

        Raises:
            CheckpointError: it is no such header, or one of a newer version.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise CheckpointError(
                f"{where}: wanted the header of an exported network, found {place or 'text'}: {first['msg']}; "
                "export it again with this version"
            ) from error
