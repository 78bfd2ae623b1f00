"""The house rules that no other tool checks."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("pipeline", "detector", "tracker", "sources", "sinks")
FIXED = {*PACKAGES, "configs", "tests", "run_pipeline.py", "pyproject.toml"}
BESIDE = {
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", ".pre-commit-config.yaml", ".ci", "docs"),
    *("examples", ".gitignore", "constraints-cpu.txt"),
}


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [Path(line) for line in listed.stdout.splitlines() if (ROOT / line).exists()]


def test_the_root_holds_what_the_design_names() -> None:
    assert {path.parts[0] for path in _tracked()} == FIXED | BESIDE


def test_importing_the_core_drags_nothing_in() -> None:
    assert (ROOT / "pipeline" / "__init__.py").read_bytes() == b""
    code = "import pipeline.core.frame, sys; print([m for m in ('torch', 'cv2', 'av') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_there_are_no_drawers_for_odds_and_ends() -> None:
    bad = [p for p in _tracked() if re.fullmatch(r"(utils?|misc|common|helpers?)\.pyx?", p.name)]
    assert not bad
    assert not [p for p in _tracked() if re.search(r"(^|_)part\d", p.stem)]


def test_nothing_is_evaluated_or_executed() -> None:
    call = re.compile(r"(?<![\w.])(eval|exec)\(")
    for path in _tracked():
        if path.suffix == ".py" and path.parts[0] in PACKAGES:
            for number, line in enumerate((ROOT / path).read_text().splitlines(), 1):
                code = line.split("#")[0]
                assert not (call.search(code) and '"' not in code), f"{path}:{number}: {line.strip()}"


def test_threads_are_no_daemons() -> None:
    for path in _tracked():
        if path.suffix == ".py" and path.parts[0] in PACKAGES:
            assert "daemon=True" not in (ROOT / path).read_text(), path


def test_one_file_imports_onnx_runtime() -> None:
    """The one that keeps it from reporting to its maker; the others ask that one first."""
    imports = re.compile(r"^\s*(import onnxruntime\b|from onnxruntime\b)", re.MULTILINE)
    found = {str(p): p for p in _tracked() if p.suffix == ".py" and p.parts[0] in PACKAGES}
    texts = {name: (ROOT / path).read_text() for name, path in found.items()}
    assert {name for name, text in texts.items() if imports.search(text)} == {
        "detector/backends/onnxruntime.py",
        "detector/export/onnx_int8.py",
    }
    text = texts["detector/export/onnx_int8.py"]
    assert -1 < text.find("    import_onnxruntime()") < text.find("    from onnxruntime.quantization import")


def test_python_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    floor = project["project"]["requires-python"].removeprefix(">=")
    assert project["tool"]["ruff"]["target-version"] == "py" + floor.replace(".", "")
    assert project["tool"]["mypy"]["python_version"] == floor
    assert any(line.endswith(f":: {floor}") for line in project["project"]["classifiers"])


def test_run_pipeline_is_short() -> None:
    assert len((ROOT / "run_pipeline.py").read_text().splitlines()) <= 20


def test_every_configuration_folder_is_known() -> None:
    """Each file below configs/ is loaded by the test of its folder."""
    folders = {entry.name for entry in files("configs").iterdir() if entry.is_dir()}
    assert folders - {"__pycache__"} <= {"models", "trackers", "pipelines", "train", "data"}


def test_no_text_names_a_machine_or_a_registry_host() -> None:
    bad = re.compile(r"/(work|root|home/\w+)/|" + "files.python" + "hosted|" + r"deb\.deb" + "ian")
    for path in _tracked():
        if path.suffix in {".py", ".pyx", ".md", ".yaml", ".toml", ".txt", ".sh", ""} and path.name != "LICENSE":
            for number, line in enumerate((ROOT / path).read_text(errors="replace").splitlines(), 1):
                assert not bad.search(line), f"{path}:{number}: {line.strip()[:100]}"


def test_decision_records_are_complete() -> None:
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert len(records) >= 9
    numbers = [record.name[:4] for record in records]
    assert len(set(numbers)) == len(numbers)
    for record in records:
        text = record.read_text()
        for part in ("## Context", "## Decision", "## Rejected"):
            assert part in text, record.name
