"""What stands beside an engine file: a plain engine, which other programs can load, says nothing about itself."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from detector.export.header import ExportHeader
from detector.export.tensorrt_api import Here
from detector.export.tensorrt_shapes import Profile
from pipeline.core.errors import BackendError, CheckpointError
from pipeline.core.whole_file import write_whole


class EngineCard(BaseModel):
    """The JSON file `<engine>.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: Literal[1] = 1
    header: ExportHeader
    made_for: Here
    profiles: tuple[Profile, ...]

    def write(self, engine: Path) -> None:
        """Write it beside its engine."""
        write_whole(card_path(engine), self.model_dump_json(indent=1) + "\n")

    @classmethod
    def read(cls, engine: Path) -> EngineCard:
        """Read what stands beside an engine.

        Raises:
            CheckpointError: nothing does, or it is damaged.
        """
        path = card_path(engine)
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError as error:
            raise CheckpointError(
                f"{engine}: wanted {path.name} beside it, which says what the engine is, found none; "
                "copy both, or export the engine again"
            ) from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise CheckpointError(f"{path}: damaged, {place or 'text'}: {first['msg']}; export again") from error

    def check(self, engine: Path, here: Here) -> None:
        """See whether the engine can run here.

        Raises:
            BackendError: it was made for another TensorRT or GPU.
        """
        for name, made_for, found in zip(("TensorRT", "GPU", "compute capability"), self.made_for, here, strict=True):
            if made_for != found:
                raise BackendError(
                    f"{engine}: was made for {name} {made_for}, found {found}; an engine runs on what it was made on "
                    "only: export it again here, or give the weights, from which one is made and kept"
                )


def card_path(engine: Path) -> Path:
    """Where the card of an engine stands."""
    return engine.with_name(engine.name + ".json")
