"""Two results side by side: ratios, and whether they are more than noise."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pipeline.benchmark.campaign import FORMAT, each_result
from pipeline.benchmark.configuration import What
from pipeline.benchmark.figures import Spread, Verdict, verdict
from pipeline.benchmark.table import is_busy, spread_of
from pipeline.core.errors import UsageError

HIGHER_IS_BETTER = {"frames_per_s": True, "p50_ms": False, "p99_ms": False, "cpu_s_per_frame": False}
"""The figures that are compared."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of one stage in both results.

    Attributes:
        what: shared, detector or end to end.
        label: the configuration.
        stage: the stage.
        figure: name of the figure.
        old: in the first file.
        new: in the second file.
        ratio: new over old, of the medians.
        verdict: whether the difference is more than noise.
    """

    what: str
    label: str
    stage: str
    figure: str
    old: Spread
    new: Spread
    ratio: float
    verdict: Verdict


def read_document(path: Path) -> dict[str, Any]:
    """A file that `bench` wrote.

    Raises:
        UsageError: it is none.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: wanted a result of `tracklight bench`: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"{path}: wanted a result of `tracklight bench` (bench.json), found no JSON") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT or not isinstance(document.get("results"), list):
        raise UsageError(
            f"{path}: wanted a result of `tracklight bench` of format {FORMAT}, found format {found}; measure again"
        )
    return dict(document)


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[Comparison]:
    """Every figure that both have, in the order of the new one."""
    before = dict(_figures(old))
    compared = []
    for key, figure in _figures(new):
        if key in before and before[key].median:
            what, label, stage, name = key
            sign = verdict(figure, before[key], higher_is_better=HIGHER_IS_BETTER[name])
            ratio = figure.median / before[key].median
            compared.append(Comparison(what, label, stage, name, before[key], figure, ratio, sign))
    return compared


def left_out(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What only one of them has."""
    names = [
        dict.fromkeys(f"{what}: {label}" for (what, label, *_), _ in _figures(document)) for document in (old, new)
    ]
    return [
        *(f"only in the first: {name}" for name in names[0] if name not in names[1]),
        *(f"only in the second: {name}" for name in names[1] if name not in names[0]),
    ]


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Facts that make ratios of two results doubtful, each in one line."""
    both = (old, new)
    facts: dict[str, tuple[object, object]] = {}
    for name in ("cpu", "usable_cores", "cpu_features", "memory_gb", "gpu", "python"):
        facts[name.replace("_", " ")] = _pair(one["machine"].get(name) for one in both)
    facts["clips"] = _pair(_clip(one["clip"]) for one in both)
    for name in ("seconds", "repeats"):
        facts[f"--{name}"] = _pair(one["settings"].get(name) for one in both)
    versions = [one["machine"].get("versions", {}) for one in both]
    for package in sorted(versions[0].keys() | versions[1].keys()):
        facts[package] = _pair(one.get(package, "none") for one in versions)
    ran = [dict(_ran(one)) for one in both]
    for key in (key for key in ran[1] if key in ran[0]):
        facts[" of ".join(key)] = (ran[0][key], ran[1][key])
    lines = [f"different {name}: {_text(a)} and {_text(b)}" for name, (a, b) in facts.items() if a != b]
    busy = [is_busy(one["machine"]) for one in both]
    if busy[0] != busy[1]:
        loads = " and ".join(str(one["machine"].get("load_before")) for one in both)
        lines.append(f"other programs were running before the {'first' if busy[0] else 'second'} only: load {loads}")
    return lines


def _pair(values: Iterable[object]) -> tuple[object, object]:
    first, second = values
    return first, second


def _text(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def _clip(clip: dict[str, Any]) -> str:
    return f"{clip['name']} ({clip['width_px']}x{clip['height_px']}, {clip.get('frames')} frames)"


def _ran(document: dict[str, Any]) -> Iterator[tuple[tuple[str, str], object]]:
    """What `auto` stood for, by name and configuration."""
    for label, result in each_result(document, "detector"):
        for name, value in result["ran"].items():
            yield (name, label), value


def _figures(document: dict[str, Any]) -> Iterator[tuple[tuple[str, str, str, str], Spread]]:
    """Each figure by what was measured, configuration, stage and name."""
    kinds: tuple[What, ...] = get_args(What)
    for what in kinds:
        for label, result in each_result(document, what):
            for stage, figures in result["stages"].items():
                for name in HIGHER_IS_BETTER:
                    yield (what, label, stage, name), spread_of(figures[name])
