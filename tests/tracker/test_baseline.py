"""What the benchmark measures the tracker against is ByteTrack: it gives the published ids."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the baseline needs scipy (pip install -e '.[dev]')")


@pytest.fixture(scope="module")
def baseline():
    folder = Path(__file__).resolve().parents[1] / "benchmarks"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        import tracker_baseline

        yield tracker_baseline
        del sys.modules["tracker_baseline"]


@pytest.fixture(scope="module")
def make(baseline):
    def build(args, frame_rate):
        return baseline.BaselineTracker(
            high_score=args["track_thresh"],
            max_cost=args["match_thresh"],
            buffer_frames=int(frame_rate / 30 * args["track_buffer"]),
            fuse_score=not args["mot20"],
        )

    return build


def check_sequence(folder, meta, make, baseline):
    data, i = np.load(folder / f"{meta['seq']}.npz"), meta["cfg"]
    dets, key, out = data["dets"], data[f"out{i}_fid"], data[f"out{i}"]
    tracker = make(meta["args"], meta["frame_rate"])
    for frame in range(1, meta["n_frames"] + 1):
        rows = dets[dets[:, 0] == frame]
        tracks = tracker.update(rows[:, 1:5], rows[:, 5])
        wanted = key[:, 0] == frame
        where = f"{meta['seq']} config {i} frame {frame}"
        assert [t.track_id for t in tracks] == key[wanted, 1].tolist(), where
        if tracks:
            left_top = baseline.corners(tracks)[:, :2]
            np.testing.assert_allclose(left_top, out[wanted, :2], rtol=0, atol=1e-4, err_msg=where)


@pytest.mark.parametrize("index", range(5))
def test_real_footage(golden_dir, make, baseline, index):
    folder = golden_dir / "tracker"
    check_sequence(folder, json.loads((folder / "meta.json").read_text())[index], make, baseline)


@pytest.mark.reference
@pytest.mark.slow
def test_every_reference_sequence(reference_dir, make, baseline):
    folder = reference_dir / "bytetrack"
    metas = json.loads((folder / "meta.json").read_text())
    assert len(metas) > 10
    for meta in metas:
        check_sequence(folder, meta, make, baseline)


def test_edge_cases(golden_dir, make):
    for name, case in json.loads((golden_dir / "tracker" / "edge_cases.json").read_text()).items():
        tracker = make(case["args"], case["frame_rate"])
        for frame, (rows, out) in enumerate(zip(case["frames"], case["out"], strict=True)):
            dets = np.array(rows, np.float64).reshape(-1, 5)
            tracks = tracker.update(dets[:, :4], dets[:, 4])
            assert [t.track_id for t in tracks] == [int(row[0]) for row in out], f"{name} frame {frame}"
