"""YAML read strictly: duplicate keys refused, secrets only as ${ENV}, and `--set a.b=value` laid over it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline.core.errors import ConfigError
from pipeline.core.url import register_secret

_ENV = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key that stands twice (YAML keeps the last one in silence)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"line {line}: wanted a plain text as key, found a list or mapping")
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise ConfigError(f"line {line}: the key {key!r} stands twice; keep one")
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path, *, fill: bool = True) -> dict[str, Any]:
    """A YAML file whose top level is a mapping, with ${ENV} filled in.

    Args:
        path: the file.
        fill: False leaves ${ENV} as it stands, for a file that is to be written again.

    Raises:
        ConfigError: no such file, no YAML, no mapping, a duplicate key, or an environment variable that is not set.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text: {error}") from error
    try:
        data = _load(text, path)
        if data is None:
            return {}
        if not isinstance(data, dict):
            raise ConfigError(f"{path}: wanted a mapping (key: value), found {type(data).__name__}")
        filled: dict[str, Any] = fill_environment(data, str(path)) if fill else data
    except RecursionError:
        raise ConfigError(f"{path}: wanted settings, found a value that holds itself or is nested too deep") from None
    return filled


def _load(text: str, path: Path) -> Any:
    try:
        return yaml.load(text, _StrictLoader)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{path}{where}: not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error


def fill_environment(value: Any, where: str) -> Any:
    """Replace ${NAME} in every text by the environment variable; what it held is masked in all output from then on."""
    if isinstance(value, Mapping):
        return {key: fill_environment(item, f"{where}: {key}") for key, item in value.items()}
    if isinstance(value, list):
        return [fill_environment(item, where) for item in value]
    if isinstance(value, str):
        return _ENV.sub(lambda match: _environment(match.group(1), where), value)
    return value


def _environment(name: str, where: str) -> str:
    try:
        value = os.environ[name]
    except KeyError:
        raise ConfigError(f"{where}: the environment variable {name} is not set") from None
    register_secret(value)
    return value


def merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`, mapping by mapping; anything but a mapping replaces. Returns a new dictionary."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return merged


def parse_settings(texts: Iterable[str]) -> dict[str, Any]:
    """`["tracker.buffer_s=2", ...]` as nested mappings; values are YAML (`true`, `[0, 2]`, `text`).

    Raises:
        ConfigError: no `=`, an empty key, or a value that is no YAML.
    """
    settings: dict[str, Any] = {}
    for text in texts:
        path, separator, value_text = text.partition("=")
        keys = path.strip().split(".")
        if not separator or not all(keys):
            raise ConfigError(f"--set: wanted key.path=value, found {text!r}")
        try:
            value = yaml.safe_load(value_text)
        except yaml.YAMLError:
            raise ConfigError(f"--set {path}: the value {value_text!r} is no valid YAML; quote it") from None
        nested: Any = fill_environment(value, f"--set {path}")
        for key in reversed(keys):
            nested = {key: nested}
        settings = merge(settings, nested)
    return settings
