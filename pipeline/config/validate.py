"""From plain mappings to typed objects, with errors that a person can act on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pipeline.config.registry import nearest
from pipeline.core.errors import ConfigError


def validated(config_class: Any, values: Mapping[str, Any], where: str) -> Any:
    """An instance of a config class (a pydantic model or dataclass) made from plain values.

    Args:
        config_class: the class; it forbids unknown keys.
        values: keys and plain values.
        where: dotted path of these values, for the error (`tracker`, `sink.video_file`); may be empty.

    Raises:
        ConfigError: an unknown key (with the nearest known one), a wrong type, or a value out of bounds. One line.
    """
    try:
        return TypeAdapter(config_class).validate_python(dict(values))
    except ValidationError as error:
        raise ConfigError(_one_line(error, config_class, where)) from None


def _one_line(error: ValidationError, config_class: Any, where: str) -> str:
    problems = error.errors(include_url=False, include_context=False)
    first = problems[0]
    location = [str(part) for part in first["loc"]]
    path = ".".join([*([where] if where else []), *location]) or "configuration"
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        text = f"{path}: unknown key{nearest(location[-1], field_names(config_class, location[:-1]))}"
    elif first["type"] == "missing":
        text = f"{path}: is needed, and absent"
    else:
        text = f"{path}: {_lower_first(first['msg'])}, found {first['input']!r}"
    return text if len(problems) == 1 else f"{text} (and {len(problems) - 1} more)"


def field_names(config_class: Any, inside: list[str]) -> list[str]:
    """The keys that a config class knows, below a path of its own keys."""
    for key in inside:
        config_class = _fields(config_class).get(key)
    return list(_fields(config_class))


def _fields(config_class: Any) -> dict[str, Any]:
    fields = getattr(config_class, "model_fields", None) or getattr(config_class, "__pydantic_fields__", None) or {}
    return {name: field.annotation for name, field in fields.items()}


def _lower_first(text: str) -> str:
    text = text.removeprefix("Value error, ")
    return text[:1].lower() + text[1:]
