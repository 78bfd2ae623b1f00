"""The rules of one source in a YAML file: read, checked and written, with all else in the file kept as it is."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from copy import deepcopy
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import yaml

from pipeline.analytics.config import AnalyticsConfig
from pipeline.config.analytics import analytics_config
from pipeline.config.validate import validated
from pipeline.config.yaml_file import fill_environment, read_yaml
from pipeline.core.errors import ConfigError
from pipeline.core.whole_file import write_whole

Units = Literal["fraction", "px"]
EDITED = ("lines", "zones", "ground_plane")
"""What of a source's rules the page changes."""
_DECIMALS = {"fraction": 5, "px": 1}
_HEAD = "# Rules of Tracklight. `tracklight zones edit` draws them, `tracklight run --rules THIS_FILE` follows them.\n"


class RulesFile:
    """The rules of one source in a file that may hold those of others.

    They stand under the source's own id; where the file has none, under the first pattern that fits it. The page gets
    and gives coordinates as fractions of the picture.

    Args:
        path: the file; it need not exist.
        source_id: the source.
        size_wh: width and height of its pictures (px).
        units: what coordinates are written in; None = as the file has them, fractions where it has none.

    Raises:
        ConfigError: the file is no file of rules.
    """

    def __init__(self, path: Path, source_id: str, size_wh: tuple[int, int], units: Units | None = None) -> None:
        self.path = path
        self._size_wh = size_wh
        self._lock = threading.Lock()
        document = self._document()
        self.key = _key_for(document.get("sources") or {}, source_id)
        entry = self._entry(document)
        self._units: Units = units or entry.get("units", "fraction")

    @property
    def has_comments(self) -> bool:
        """Whether the file holds comments of a person, which are lost when it is written."""
        if not self.path.exists():
            return False
        lines = self.path.read_text(encoding="utf-8").splitlines()
        return any(line.lstrip().startswith("#") or " #" in line for line in lines if line + "\n" != _HEAD)

    def load(self) -> dict[str, Any]:
        """The part that the page changes: lists `lines` and `zones`, and `ground_plane` or None.

        Raises:
            ConfigError: the file is no file of rules.
        """
        with self._lock:
            entry = self._entry(self._document())
        width, height = self._size_wh if entry.get("units") == "px" else (1, 1)
        rules = {"lines": entry.get("lines") or [], "zones": entry.get("zones") or []}
        return _scaled({**rules, "ground_plane": entry.get("ground_plane")}, (1 / width, 1 / height), 7)

    def problems(self, rules: Mapping[str, Any]) -> list[dict[str, str | None]]:
        """What is wrong with rules of the page: for each problem `shape` (`zones.1`, or None) and `text`."""
        with self._lock:
            return self._problems(rules)

    def save(self, rules: Mapping[str, Any]) -> list[dict[str, str | None]]:
        """Write the file if nothing is wrong; what is wrong otherwise, as `problems`.

        Raises:
            ConfigError: the file was changed meanwhile and cannot be read any more.
            OSError: the file cannot be written.
        """
        with self._lock:
            problems = self._problems(rules)
            if not problems:
                # Read again: what somebody else changed meanwhile for other sources stays.
                text = yaml.dump(_with_short_points(self._merged(rules)), Dumper=_Dumper, sort_keys=False, **_STYLE)
                write_whole(self.path, _HEAD + text)
        return problems

    def _document(self) -> dict[str, Any]:
        document = read_yaml(self.path, fill=False) if self.path.exists() else {}
        try:
            # What a single rule gets wrong is for the page to show; only the structure must hold.
            validated(AnalyticsConfig, fill_environment(document, str(self.path)), "analytics")
        except ConfigError as error:
            raise ConfigError(f"{self.path}: {error}") from None
        return document

    def _entry(self, document: Mapping[str, Any]) -> dict[str, Any]:
        return dict((document.get("sources") or {}).get(self.key) or {})

    def _merged(self, rules: Mapping[str, Any]) -> dict[str, Any]:
        document = self._document()
        sources = dict(document.get("sources") or {})
        factors = (1, 1) if self._units == "fraction" else self._size_wh
        edited = _scaled({name: rules.get(name) for name in EDITED}, factors, _DECIMALS[self._units])
        kept = {name: value for name, value in self._entry(document).items() if name not in (*EDITED, "units")}
        drawn = {name: value for name, value in edited.items() if value}
        sources[self.key] = {"units": self._units, **drawn, **kept}
        return {**document, "sources": sources}

    def _problems(self, rules: Mapping[str, Any]) -> list[dict[str, str | None]]:
        whole = self._problem(rules)
        if whole is None:
            return []
        found: list[dict[str, str | None]] = []
        for kind in ("lines", "zones"):
            shapes = rules.get(kind)
            for number, shape in enumerate(shapes if isinstance(shapes, list) else []):
                text = self._problem({kind: [shape]})
                if text is not None:
                    found.append({"shape": f"{kind}.{number}", "text": _short(text, f"{kind}.0.")})
        plane = self._problem({"ground_plane": rules.get("ground_plane")})
        if plane is not None:
            found.append({"shape": "ground_plane", "text": _short(plane, "ground_plane.")})
        return found or [{"shape": None, "text": whole}]

    def _problem(self, rules: Mapping[str, Any]) -> str | None:
        """The first thing that is wrong with the rules; None if nothing is."""
        try:
            document = self._merged(rules)
            own = {"sources": {self.key: document["sources"][self.key]}}
            analytics_config(fill_environment(own, str(self.path)))
        except ConfigError as error:
            return str(error).removeprefix(f"analytics.sources.{self.key}").lstrip(".,: ")
        return None


def _key_for(sources: Mapping[str, Any], source_id: str) -> str:
    if source_id in sources:
        return source_id
    return next((name for name in sources if fnmatchcase(source_id, name)), source_id)


def _short(text: str, prefix: str) -> str:
    """An error without the path of the shape beside which it is shown."""
    return text.removeprefix(prefix)


# -- coordinates ------------------------------------------------------------------------------------------------------


def _scaled(rules: dict[str, Any], factors: tuple[float, float], decimals: int) -> dict[str, Any]:
    """A copy of the rules with every point of the picture multiplied and rounded."""
    scaled = deepcopy(rules)

    def scale(holder: Any, key: str) -> None:
        if isinstance(holder, dict) and holder.get(key) is not None:
            holder[key] = [_point(point, factors, decimals, key) for point in _list(holder[key], key)]

    for line in _list(scaled.get("lines") or [], "lines"):
        scale(line, "points")
    for zone in _list(scaled.get("zones") or [], "zones"):
        scale(zone, "polygon")
        if isinstance(zone, dict):
            scale(zone.get("motion"), "direction")
    scale(scaled.get("ground_plane"), "image")
    return scaled


def _list(value: Any, key: str) -> list[Any]:
    if not isinstance(value, list):
        raise ConfigError(f"{key}: wanted a list, found {value!r}")
    return value


def _point(point: Any, factors: tuple[float, float], decimals: int, key: str) -> list[float]:
    numbers = [part for part in _list(point, key) if isinstance(part, int | float) and not isinstance(part, bool)]
    if len(numbers) != 2 or len(point) != 2:
        raise ConfigError(f"{key}: wanted points of two numbers, [x, y], found {point!r}")
    return [round(number * factor, decimals) + 0.0 for number, factor in zip(numbers, factors, strict=True)]


# -- the file's looks -------------------------------------------------------------------------------------------------


class _Short(list[Any]):
    """A list that is written on one line."""


class _Dumper(yaml.SafeDumper):
    """SafeDumper that writes points as a person would."""


_STYLE: dict[str, Any] = {"allow_unicode": True, "width": 110}
_Dumper.add_representer(
    _Short, lambda dumper, value: dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)
)


def _with_short_points(value: Any) -> Any:
    """The document with each list of plain values or points marked to be written on one line."""
    if isinstance(value, dict):
        return {key: _with_short_points(item) for key, item in value.items()}
    if isinstance(value, list):
        plain = all(not isinstance(part, dict) for part in value)
        return _Short(value) if plain else [_with_short_points(part) for part in value]
    return value
