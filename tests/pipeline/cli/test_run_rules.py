"""Rules files that are wrong in a way that their checks alone cannot see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.main import main

SQUARE = [[0, 0], [60, 0], [60, 60], [0, 60]]
FAR = [[0, 0], [600, 0], [600, 60]]
WIDE = [[0, 0], [600, 0], [600, 60], [0, 60]]
PLANE = {"image": WIDE, "world_m": [[0, 0], [60, 0], [60, 6], [0, 6]]}


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({"zones": [{"name": "far", "polygon": FAR}]}, "'far': wanted points inside the picture of 128x96 px"),
        ({"lines": [{"name": "far", "points": FAR[:2]}]}, "'far': wanted points inside the picture of 128x96 px"),
        (
            {"ground_plane": PLANE, "zones": [{"name": "a", "polygon": SQUARE, "motion": {"max_speed": 9}}]},
            "wanted points inside the picture of 128x96 px",
        ),
    ],
    ids=["zone", "line", "ground plane"],
)
def test_a_point_outside_the_picture_is_a_usage_error(
    rules: dict[str, Any],
    told: str,
    small_clip: Path,
    small_weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(json.dumps({"sources": {"*": {"units": "px", **rules}}}))
    options = ["--source", str(small_clip), "--weights", str(small_weights), "--rules", str(path), "-o", "null"]
    assert main(["run", *options, "--quiet"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def test_an_empty_rules_file_is_a_usage_error(
    small_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("# to do\n")
    assert main(["run", "--source", str(small_clip), "--rules", str(path), "-o", "null"]) == 2
    assert "rules.yaml: wanted rules by source" in capsys.readouterr().err
