"""The settings of a run on disk, from which it is resumed or made again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from detector.train.config import TrainConfig
from pipeline.core.whole_file import write_whole

SETTINGS_FILE = "config.yaml"


def save_settings(folder: Path, config: TrainConfig) -> None:
    """Write config.yaml. Paths in it are whole, so that it means the same wherever it is read from."""
    values = plain_values(asdict(config))
    values["data"] = str(config.data.resolve())
    for key in ("weights", "teacher"):
        if values[key] is not None and Path(values[key]).is_file():
            values[key] = str(Path(values[key]).resolve())
    write_whole(folder / SETTINGS_FILE, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def plain_values(value: Any) -> Any:
    """Settings as texts, numbers, lists and mappings only, for files."""
    if isinstance(value, dict):
        return {key: plain_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(item) for item in value]
    return str(value) if isinstance(value, Path) else value
