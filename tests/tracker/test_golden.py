"""Compatibility mode gives the published code's tracks: the same ids, in the same order, in every frame."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tracker import association, kalman
from tracker.bytetrack import ByteTracker
from tracker.interpolation import fill_gaps
from tracker.track_table import TrackState

BOX_TOLERANCE_PX = 2e-4  # float32 detections against the reference's float64


def ltwh_score(tracks):
    return np.column_stack([tracks.xyxy[:, :2], tracks.xyxy[:, 2:] - tracks.xyxy[:, :2], tracks.confidence])


def check_sequence(folder, meta, config, detect, backend):
    data, i = np.load(folder / f"{meta['seq']}.npz"), meta["cfg"]
    dets, key, out, n_lost = data["dets"], data[f"out{i}_fid"], data[f"out{i}"], data[f"nlost{i}"]
    tracker = ByteTracker(config, backend=backend)
    for frame in range(1, meta["n_frames"] + 1):
        tracks = tracker.update(detect(dets[dets[:, 0] == frame, 1:]), frame, None)
        rows = key[:, 0] == frame
        where = f"{meta['seq']} config {i} frame {frame}"
        assert tracks.track_id.tolist() == key[rows, 1].tolist(), where
        np.testing.assert_allclose(ltwh_score(tracks), out[rows], rtol=0, atol=BOX_TOLERANCE_PX, err_msg=where)
        held_lost = tracker.count(TrackState.LOST) + tracker.count(TrackState.REMOVED)
        assert held_lost == n_lost[frame - 1], where


@pytest.mark.parametrize("index", range(5))
def test_real_footage(golden_dir, published_config, detect, backend, index):
    folder = golden_dir / "tracker"
    meta = json.loads((folder / "meta.json").read_text())[index]
    check_sequence(folder, meta, published_config(meta["args"], meta["frame_rate"]), detect, backend)


@pytest.mark.reference
@pytest.mark.parametrize("name", ["synth", "real_", "realmix_"])
def test_every_reference_sequence(reference_dir, published_config, detect, backend, name):
    folder = reference_dir / "bytetrack"
    metas = [m for m in json.loads((folder / "meta.json").read_text()) if m["seq"].startswith(name)]
    assert metas
    for meta in metas:
        check_sequence(folder, meta, published_config(meta["args"], meta["frame_rate"]), detect, backend)


def test_edge_cases(golden_dir, published_config, detect, backend):
    cases = json.loads((golden_dir / "tracker" / "edge_cases.json").read_text())
    assert len(cases) > 20
    for name, case in cases.items():
        tracker = ByteTracker(published_config(case["args"], case["frame_rate"]), backend=backend)
        for frame, (rows, out) in enumerate(zip(case["frames"], case["out"], strict=True)):
            tracks = tracker.update(detect(rows), frame, None)
            assert tracks.track_id.tolist() == [int(row[0]) for row in out], f"{name} frame {frame}"
            if out:
                wanted = np.array(out)[:, 1:]
                np.testing.assert_allclose(ltwh_score(tracks), wanted, rtol=0, atol=BOX_TOLERANCE_PX, err_msg=name)


def full_covariance(cov):
    """(8, 8) from what the tracker keeps."""
    full = np.zeros((8, 8))
    for p in range(4):
        first = 3 if p == 2 else 0
        full[p, p], full[p, p + 4], full[p + 4, p + 4] = cov[first : first + 3]
        full[p + 4, p] = full[p, p + 4]
    return full


def check_kalman(path, close):
    motion = kalman.Motion(1.0)  # the published filter's unit of time is the frame
    for case in json.loads(path.read_text()):
        mean, cov = kalman.initiate(np.array([case["z0"]]), motion)
        np.testing.assert_allclose(mean[0], case["init_mean"], **close)
        np.testing.assert_allclose(full_covariance(cov[0]), case["init_cov"], **close)
        for step in case["steps"]:
            kalman.predict(mean, cov, 1.0, motion.step_noise(1.0))
            np.testing.assert_allclose(mean[0], step["pred_mean"], **close)
            np.testing.assert_allclose(full_covariance(cov[0]), step["pred_cov"], **close)
            kalman.correct(mean, cov, np.array([step["z"]]))
            np.testing.assert_allclose(mean[0], step["upd_mean"], **close)
            np.testing.assert_allclose(full_covariance(cov[0]), step["upd_cov"], **close)


def test_kalman_filter(golden_dir):
    check_kalman(golden_dir / "tracker" / "kalman.json", {"rtol": 1e-6, "atol": 1e-6})  # rounded to 10 digits


@pytest.mark.reference
def test_kalman_filter_in_full(reference_dir):
    check_kalman(reference_dir / "bytetrack" / "kalman.json", {"rtol": 1e-9, "atol": 1e-11})


def test_costs_and_assignment(golden_dir):
    for case in json.loads((golden_dir / "tracker" / "matching.json").read_text()):
        a, b = np.array(case["a"]).reshape(-1, 4), np.array(case["b"]).reshape(-1, 4)
        cost = association.iou_cost(a, b, extent_px=1.0)
        np.testing.assert_allclose(cost, np.array(case["iou_distance"]).reshape(cost.shape), atol=1e-8)
        fused = association.fuse_score(cost, np.array(case["scores"]))
        np.testing.assert_allclose(fused, np.array(case["fused"]).reshape(cost.shape), atol=1e-8)
        for max_cost, wanted in case["assign"].items():
            found = association.associate(fused, float(max_cost))
            assert np.column_stack(found).tolist() == wanted["matches"]
            assert np.delete(np.arange(len(a)), found.tracks).tolist() == wanted["ua"]
            assert np.delete(np.arange(len(b)), found.detections).tolist() == wanted["ub"]


@pytest.mark.parametrize(("n_min", "n_dti", "index"), [(5, 20, 0), (25, 20, 1), (5, 5, 2)])
def test_interpolation(golden_dir, n_min, n_dti, index):
    data = np.load(golden_dir / "tracker" / "interp_synth0_cfg0.npz")
    rows = np.round(data["rows"].astype(np.float64), 2)
    filled = fill_gaps(rows, max_missing=n_dti - 2, min_rows=n_min + 1)
    assert len(filled) == data["n_rows"][index]
    wanted = data[f"min{n_min}_dti{n_dti}_added"]
    added = filled[filled[:, 6] == -1]
    np.testing.assert_allclose(
        added[np.lexsort((added[:, 0], added[:, 1]))], wanted[np.lexsort((wanted[:, 0], wanted[:, 1]))], atol=1e-3
    )
