"""The main job on a real clip with real weights: people get boxes, and keep their ids."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import av
import pytest

from pipeline.cli import main


@pytest.mark.slow
def test_people_are_found_and_keep_their_ids(data_dir: Path, tmp_path: Path) -> None:
    """Frames 66 to 196 show one woman at a table; the man who comes next is in view from frame 230 on (looked at)."""
    arguments = ["run", "--source", str(data_dir / "clips" / "one-by-one-person-detection.mp4"), "--quiet"]
    arguments += ["--weights", str(data_dir / "weights" / "yolox_nano.pth"), "--max-frames", "280"]
    for name in ("out.mp4", "out.jsonl", "out.txt"):
        arguments += ["-o", str(tmp_path / name)]
    assert main([*arguments, "--report", str(tmp_path / "report.json")]) == 0

    seen: dict[int, list[int]] = defaultdict(list)
    for line in (tmp_path / "out.jsonl").read_text().splitlines():
        record = json.loads(line)
        for item in record["objects"]:
            if item["class"] == "person":
                seen[item["track_id"]].append(record["frame"])
                left, top, right, bottom = item["xyxy"]
                assert right - left > 20
                assert bottom - top > 100
    first, second = (frames for _, frames in sorted(seen.items()))
    assert first == list(range(first[0], first[-1] + 1)), "her track has no hole"
    assert 60 <= first[0] <= 80
    assert 185 <= first[-1] <= 205
    assert second == list(range(second[0], 280))
    assert 220 <= second[0] <= 245
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 280
    rows = [line.split(",") for line in (tmp_path / "out.txt").read_text().splitlines()]
    assert {int(row[1]) for row in rows} == set(seen)
    assert len(rows) == sum(map(len, seen.values()))
