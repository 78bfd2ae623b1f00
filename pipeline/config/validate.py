"""From plain mappings to typed objects, with errors that a person can act on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from pipeline.config.registry import nearest
from pipeline.core.errors import ConfigError
from pipeline.core.url import Url, register_secret


def validated(config_class: Any, values: Mapping[str, Any], where: str) -> Any:
    """An instance of a config class (a pydantic model or dataclass) made from plain values.

    Texts of fields that are not for showing (`repr=False`) are masked in all output from then on.

    Args:
        config_class: the class; it forbids unknown keys.
        values: keys and plain values.
        where: dotted path of these values, for the error (`tracker`, `sink.video_file`); may be empty.

    Raises:
        ConfigError: an unknown key (with the nearest known one), a wrong type, or a value out of bounds. One line.
    """
    for name in _hidden(config_class):
        value = values.get(name)
        # A web hook's address is not told anyway.
        if isinstance(value, str) and not Url.looks_like(value):
            register_secret(value)
    try:
        return TypeAdapter(config_class).validate_python(dict(values))
    except ValidationError as error:
        raise ConfigError(_one_line(error, config_class, where)) from None


_WANTED = {
    "tuple_type": "wanted a list, such as [a, b]",
    "list_type": "wanted a list, such as [a, b]",
    "dict_type": "wanted settings (key: value)",
    "model_type": "wanted settings (key: value)",
    "dataclass_type": "wanted settings (key: value)",
}
"""Where pydantic's own words speak of Python's types to a person who writes YAML."""


def _one_line(error: ValidationError, config_class: Any, where: str) -> str:
    problems = error.errors(include_url=False, include_context=False)
    keys = [_key(problem["loc"], config_class) for problem in problems]
    location, first = keys[0], problems[0]
    path = ".".join([*([where] if where else []), *location]) or "configuration"
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = field_names(config_class, location[:-1])
        text = f"{path}: unknown key{nearest(location[-1], known) or '; there are ' + ', '.join(known)}"
    elif first["type"] == "missing":
        text = f"{path}: is needed, and absent"
    else:
        said = [_said(problem) for problem, key in zip(problems, keys, strict=True) if key == location]
        found = "a value that is not shown" if _is_hidden(config_class, location) else repr(first["input"])
        text = f"{path}: {' or '.join(dict.fromkeys(said))}, found {found}"
    n_others = sum(key != location for key in keys)
    return f"{text} (and {n_others} more)" if n_others else text


def _key(location: tuple[int | str, ...], config_class: Any) -> list[str]:
    """The path of the key, without the names that pydantic gives to the members of a union of types."""
    path = []
    for part in location:
        path.append(str(part))
        config_class = _below(config_class, str(part))
        members = [member for member in get_args(config_class) if member is not NoneType]
        if get_origin(config_class) in (Union, UnionType) and len(members) > 1:
            break
    return path


def _said(problem: Mapping[str, Any]) -> str:
    return _WANTED.get(problem["type"]) or _lower_first(problem["msg"])


def refuse_address(section: Mapping[str, Any], keys: Sequence[str], where: str, instead: str) -> None:
    """Raise ConfigError where a section holds what belongs into the list of sources or outputs."""
    for key in keys:
        if key in section:
            raise ConfigError(f"{where}.{key}: this section serves every address of its kind; list it in {instead}")


def field_names(config_class: Any, inside: list[str]) -> list[str]:
    """The keys that a config class knows, below a path of its own keys."""
    for key in inside:
        config_class = _below(config_class, key)
    return list(_fields(config_class))


def _below(annotation: Any, key: str) -> Any:
    """What stands under a key: a field's type, or that of the items of a list or mapping."""
    annotation = _not_none(annotation)
    if get_origin(annotation) in (tuple, list):
        return get_args(annotation)[0]
    if get_origin(annotation) is dict:
        return get_args(annotation)[1]
    return _not_none(_fields(annotation).get(key))


def _not_none(annotation: Any) -> Any:
    """`X` for `X | None`."""
    members = [member for member in get_args(annotation) if member is not NoneType]
    return members[0] if get_origin(annotation) in (Union, UnionType) and len(members) == 1 else annotation


def _fields(config_class: Any) -> dict[str, Any]:
    fields = getattr(config_class, "model_fields", None) or getattr(config_class, "__pydantic_fields__", None) or {}
    return {name: field.annotation for name, field in fields.items()}


def _hidden(config_class: Any) -> set[str]:
    """Names of the fields whose values are not for showing. Of addresses (`url`) only credentials are not shown."""
    fields = getattr(config_class, "model_fields", None) or getattr(config_class, "__pydantic_fields__", None) or {}
    return {name for name, field in fields.items() if not field.repr and name != "url"}


def _is_hidden(config_class: Any, location: list[str]) -> bool:
    for key in location:
        if key in _hidden(_not_none(config_class)):
            return True
        config_class = _below(config_class, key)
    return False


def _lower_first(text: str) -> str:
    text = text.removeprefix("Value error, ")
    return text[:1].lower() + text[1:]
