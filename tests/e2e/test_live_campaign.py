"""A minute of the fault campaign: four cameras broken over and over, everything back, nothing left over."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "servers"))
sys.path.insert(0, str(TESTS / "benchmarks"))

from fault_campaign import LIVE_AGAIN_S, campaign  # noqa: E402
from rtsp_process import MissingServerError, RtspServer  # noqa: E402

SEED = 7


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_a_minute_of_faults() -> None:
    probe = RtspServer()
    try:
        probe.start()
    except MissingServerError as error:
        pytest.skip(f"the RTSP test server needs GStreamer's RTSP server: {error}")
    probe.kill()
    outcome = campaign(60, SEED)
    summary = outcome.summary()
    print(summary)
    assert sum(outcome.faults.values()) >= 20, summary
    assert outcome.never_back == [], summary
    assert outcome.errors == (), summary
    assert outcome.shared_ids == 0, summary
    assert (outcome.threads_left, outcome.files_left) == (0, 0), summary
    times_s = sorted(second for seconds in outcome.back_s.values() for second in seconds)
    assert times_s[-1] <= 2 * LIVE_AGAIN_S, summary
    assert times_s[int(0.9 * len(times_s))] <= LIVE_AGAIN_S, summary
