"""Every shipped tracker setting loads."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tracker.bytetrack import ByteTrackConfig, ByteTracker

FILES = sorted((Path(__file__).resolve().parents[2] / "configs" / "trackers").glob("bytetrack*.yaml"))


def test_there_are_some():
    assert {f.stem for f in FILES} == {"bytetrack", "bytetrack-mot20", "bytetrack-reference"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_loads(path):
    config = ByteTrackConfig(**yaml.safe_load(path.read_text()))
    assert ByteTracker(config).config.reference_compat == (path.stem == "bytetrack-reference")


def test_the_default_file_is_the_default():
    path = next(f for f in FILES if f.stem == "bytetrack")
    values = yaml.safe_load(path.read_text())
    assert ByteTrackConfig(**values) == ByteTrackConfig()
    shown = set(ByteTrackConfig.__dataclass_fields__) - {"reference_compat"}
    assert set(values) == shown, "the file shows every setting a user may want to change"


def test_the_docs_list_every_setting_with_its_default():
    text = (Path(__file__).resolve().parents[2] / "docs" / "tracking.md").read_text()
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| `")]
    listed = {row[1].strip(" `"): yaml.safe_load(row[2]) for row in rows}
    assert listed == {name: getattr(ByteTrackConfig(), name) for name in ByteTrackConfig.__dataclass_fields__}
