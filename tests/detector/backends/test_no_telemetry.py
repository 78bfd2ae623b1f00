"""Packages that report to their makers are imported at the places that silence them, and nowhere else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ("detector", "pipeline", "sinks", "sources", "tracker", "examples")


def importers(name: str) -> set[str]:
    """Files of the project with an import statement for that package, wherever it stands in them."""
    found = set()
    for file in (file for package in PACKAGES for file in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            if name in (imported.split(".")[0] for imported in names):
                found.add(file.relative_to(ROOT).as_posix())
    return found


@pytest.mark.parametrize(
    ("package", "silenced_in"),
    [
        # onnx_int8 takes a part of it, behind import_onnxruntime().
        ("onnxruntime", {"detector/backends/onnxruntime.py", "detector/export/onnx_int8.py"}),
        ("openvino", {"detector/export/openvino_ir.py"}),
        ("nncf", {"detector/export/quantise.py"}),
    ],
)
def test_imported_at_one_place(package: str, silenced_in: set[str]) -> None:
    assert importers(package) == silenced_in
