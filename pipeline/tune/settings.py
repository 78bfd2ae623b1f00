"""The chosen way of running as a configuration file of `run`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from detector.zoo import list_models
from pipeline.config.build import detector_section_for_tracking
from pipeline.config.schema import RunConfig, Section
from pipeline.tune.simulated import Row


def run_settings(row: Row) -> Section:
    """Sections of a run's configuration."""
    detector: Section = {
        "weights": _found_from_anywhere(row.configuration.weights),
        "img_size": row.configuration.img_size,
        "backend": row.backend,
        "precision": row.precision,
        "device": row.configuration.device,
        "conf_thres": conf_thres(),
    }
    return {
        "detector": {name: value for name, value in detector.items() if value is not None},
        "runtime": {"scheduler": row.scheduler, "compensate": row.compensate},
    }


def conf_thres() -> float:
    """What the default tracker looks at, and so what was measured."""
    return float(detector_section_for_tracking(RunConfig())["conf_thres"])


def as_yaml(row: Row, remarks: Sequence[str]) -> str:
    """The file: remarks as comments, then the settings."""
    lines = [f"# {' '.join(remark.split())}" for remark in remarks]
    written: Any = yaml.safe_dump(run_settings(row), sort_keys=False, allow_unicode=True)
    return "\n".join([*lines, str(written)])


def _found_from_anywhere(weights: str) -> str:
    """A model's name as it is, a file with its whole path."""
    path = Path(weights).expanduser()
    if not path.is_file() and any(row.weights.name == weights.replace("_", "-") for row in list_models()):
        return weights
    return str(path.absolute())
