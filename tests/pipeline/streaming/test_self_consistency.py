"""What latency costs without labels: worlds whose answer is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pytest

from pipeline.core.latency_cost import LatencyCost
from pipeline.core.tracks import Tracks
from pipeline.streaming.loss_tally import NEW_COUNTS
from pipeline.streaming.self_consistency import KNOWN_IDS, LONGEST_GAP_S, REMEMBERED, SelfConsistency

MS = 1_000_000
Box = tuple[float, float, float, float]


def tracks(
    boxes: dict[int, Box], scores: dict[int, float] | None = None, classes: dict[int, int] | None = None
) -> Tracks:
    n = len(boxes)
    return Tracks(
        np.array(list(boxes.values()), np.float32).reshape(n, 4),
        np.array([(scores or {}).get(i, 0.9) for i in boxes], np.float32),
        np.array([(classes or {}).get(i, 0) for i in boxes], np.int64),
        np.array(list(boxes), np.int64),
        np.full(n, -1, np.int64),
    )


def square(x: float, side: float = 40.0, y: float = 0.0) -> Box:
    return (x, y, x + side, y + side)


def play(
    world: Callable[[int], Tracks], frames: Iterable[int], latency_ms: int, interval_ms: int = 100
) -> SelfConsistency:
    """A pipeline that takes these frames and has each result so long after the frame's capture."""
    account = SelfConsistency("here")
    for frame in frames:
        captured_ns = frame * interval_ms * MS
        at_ns = captured_ns + latency_ms * MS
        account.shown("here", at_ns, frame, captured_ns, world(frame))
        account.said(frame, captured_ns, at_ns, world(frame))
    return account


def cost_of(account: SelfConsistency, offline_ap50: float | None = None, viewer: str = "here") -> LatencyCost:
    cost = account.cost(viewer, offline_ap50)
    assert cost is not None
    return cost


def moving(*speeds: float, side: float = 40.0) -> Callable[[int], Tracks]:
    """Objects far apart, each so many px per frame to the right."""
    return lambda frame: tracks({i: square(v * frame, side, 500.0 * i) for i, v in enumerate(speeds, 1)})


def test_without_latency_nothing_is_lost() -> None:
    cost = cost_of(play(moving(3, -80, 15), range(20), latency_ms=0), offline_ap50=0.5)
    assert (cost.frames, cost.missed_frames, cost.age_ms, cost.staleness_frames) == (19, 0, 0.0, 0.0)
    assert (cost.mean_iou, cost.iou_lost_per_100ms) == (1.0, None)
    assert (cost.below_50, cost.below_75, cost.not_yet_shown, cost.gone) == (0.0, 0.0, 0.0, 0.0)
    assert (cost.ap50_kept, cost.ap50_lost, cost.ap50_points_lost) == (1.0, 0.0, 0.0)


def test_a_result_counts_from_the_instant_at_which_it_is_there() -> None:
    just_in_time = cost_of(play(moving(1), range(10), latency_ms=100))
    too_late = cost_of(play(moving(1), range(10), latency_ms=101))
    assert (just_in_time.staleness_frames, just_in_time.missed_frames) == (1.0, 1)
    assert (too_late.staleness_frames, too_late.missed_frames) == (2.0, 2)


def test_an_object_that_moves_by_a_quarter_of_itself() -> None:
    """Every frame is processed, and shown when the next one arrives: 10 of 40 px, an IoU of 30 / 50."""
    cost = cost_of(play(moving(10), range(11), latency_ms=50), offline_ap50=0.5)
    assert (cost.frames, cost.missed_frames, cost.age_ms, cost.staleness_frames) == (10, 1, 100.0, 1.0)
    assert cost.mean_iou == pytest.approx(0.6)
    assert cost.iou_lost_per_100ms == pytest.approx(0.4)
    assert (cost.below_50, cost.below_75) == (0.0, 1.0)
    # 9 of 10 objects are found and nothing is wrong: 91 of COCO's 101 levels of recall are reached.
    assert cost.ap50_kept == pytest.approx(91 / 101)
    assert cost.ap50_points_lost == pytest.approx(50 * 10 / 101)


def test_where_frames_were_dropped_the_objects_moved_in_a_straight_line() -> None:
    """Every second frame is processed and takes 1.5 frames: what stands is 2 frames old, then 3, in turn."""
    cost = cost_of(play(moving(4), range(0, 21, 2), latency_ms=150))
    assert (cost.frames, cost.missed_frames) == (20, 2)
    assert cost.staleness_frames == 2.5
    assert cost.mean_iou == pytest.approx((32 / 48 + 28 / 52) / 2)


def test_half_of_a_world_stands_still() -> None:
    """One object of two has left its box: half of the objects are found, by half of the boxes."""
    world = moving(0, 30)
    account = play(world, range(201), latency_ms=50)
    cost = cost_of(account)
    assert (cost.below_50, cost.gone, cost.not_yet_shown) == (0.5, 0.0, 0.0)
    # A recall of 199 / 400 reaches 50 of the 101 levels, from 0 to 0.49, with a precision of one half.
    assert cost.ap50_kept == pytest.approx(0.5 * 50 / 101)


def test_a_low_score_on_what_has_gone_wrong_costs_less() -> None:
    def world(sure: int) -> Callable[[int], Tracks]:
        scores = {1: 0.9 if sure == 1 else 0.6, 2: 0.9 if sure == 2 else 0.6}
        return lambda frame: tracks({1: square(0), 2: square(30.0 * frame, y=500.0)}, scores)

    of_still = cost_of(play(world(1), range(201), latency_ms=50)).ap50_kept
    of_moving = cost_of(play(world(2), range(201), latency_ms=50)).ap50_kept
    assert of_still == pytest.approx(50 / 101)
    assert of_moving == pytest.approx(0.5 * 50 / 101)


def test_a_box_that_comes_to_lie_on_another_object_counts_for_that_one() -> None:
    """Two in a row, one after the other: each box lies on the next object, as a score by labels would have it."""
    queue = moving_queue({1: 0, 2: 40, 3: 80})
    cost = cost_of(play(queue, range(2, 203), latency_ms=50))
    assert cost.below_50 == 1.0
    # Of 3 objects per frame, 2 are found by 2 of 3 boxes.
    assert cost.ap50_kept == pytest.approx(2 / 3 * 67 / 101)
    other_class = moving_queue({1: 0, 2: 40, 3: 80}, classes={1: 0, 2: 1, 3: 2})
    assert cost_of(play(other_class, range(2, 203), latency_ms=50)).ap50_kept == 0.0


def moving_queue(starts: dict[int, float], classes: dict[int, int] | None = None) -> Callable[[int], Tracks]:
    return lambda frame: tracks({i: square(x + 40.0 * frame) for i, x in starts.items()}, classes=classes)


def steps(*frames: set[int]) -> Sequence[Tracks]:
    """Objects that stand still, by frame."""
    return [tracks({i: square(0, y=100.0 * i) for i in sorted(frame)}) for frame in frames]


@pytest.mark.parametrize(
    ("frames", "not_yet_shown", "gone", "recall", "precision"),
    [
        ([{1}, {1}, {1, 2}, {1, 2}], 1 / 4, 0.0, 2 / (3 + NEW_COUNTS), 1.0),
        ([{1, 2}, {1, 2}, {1}, {1}], 0.0, 1 / 4, 3 / 5, 3 / 4),
        ([{1, 2}, {1}, {1, 2}, {1}], 0.0, 0.0, 2 / 4, 1.0),
    ],
    ids=["one comes", "one goes", "one is lost for a moment"],
)
def test_objects_that_come_and_go(
    frames: list[set[int]], not_yet_shown: float, gone: float, recall: float, precision: float
) -> None:
    """Nothing stands for the first frame, the one before for each of the next two; the last is not asked about."""
    world = steps(*frames)
    cost = cost_of(play(world.__getitem__, range(len(world)), latency_ms=50))
    assert cost.not_yet_shown == pytest.approx(not_yet_shown)
    assert cost.gone == pytest.approx(gone)
    levels = int(np.floor(100 * recall + 1e-9)) + 1
    assert cost.ap50_kept == pytest.approx(precision * levels / 101)


def test_an_object_lost_as_often_as_found_again_costs_nothing() -> None:
    world = steps(*([{1, 2}, {1}] * 50), {1, 2})
    cost = cost_of(play(world.__getitem__, range(len(world)), latency_ms=50))
    assert cost.not_yet_shown == 0.0
    assert cost.gone == pytest.approx(1 / 149), "lost 50 times, found again 49 times"
    assert cost.ap50_lost == pytest.approx(0.0, abs=0.03)


def test_viewers_and_sources_are_independent() -> None:
    account, other = SelfConsistency("soon", "late", "never"), SelfConsistency("soon")
    world, still = moving(10), moving(0)
    for frame in range(50):
        captured_ns = frame * 100 * MS
        account.shown("soon", captured_ns + 50 * MS, frame, captured_ns, world(frame))
        account.shown("late", captured_ns + 150 * MS, frame, captured_ns, world(frame))
        account.said(frame, captured_ns, captured_ns + 50 * MS, world(frame))
        other.shown("soon", captured_ns + 50 * MS, frame, captured_ns, still(frame))
        other.said(frame, captured_ns, captured_ns + 50 * MS, still(frame))
    soon, late = cost_of(account, viewer="soon"), cost_of(account, viewer="late")
    assert (soon.staleness_frames, late.staleness_frames) == (1.0, 2.0)
    assert soon.mean_iou == pytest.approx(30 / 50)
    assert late.mean_iou == pytest.approx(20 / 60)
    assert soon.ap50_lost is not None
    assert late.ap50_lost == 1.0
    assert account.cost("never") is None, "nothing was ever shown to it"
    assert cost_of(other, viewer="soon").mean_iou == 1.0


def test_boxes_that_were_moved_ahead_are_judged_where_they_were_shown() -> None:
    account, world = SelfConsistency("here"), moving(10)
    for frame in range(20):
        captured_ns = frame * 100 * MS
        account.shown("here", captured_ns + 50 * MS, frame, captured_ns, world(frame + 1))
        account.said(frame, captured_ns, captured_ns + 50 * MS, world(frame))
    cost = cost_of(account)
    assert (cost.mean_iou, cost.below_75, cost.staleness_frames) == (1.0, 0.0, 1.0)


def test_nothing_is_told_across_a_new_beginning() -> None:
    account = SelfConsistency("here")
    for frame, x in ((0, 0.0), (1, 0.0)):
        account.shown("here", frame * 100 * MS, frame, frame * 100 * MS, tracks({1: square(x)}))
        account.said(frame, frame * 100 * MS, frame * 100 * MS, tracks({1: square(x)}))
    before = cost_of(account)
    account.begin_anew()
    for frame in (2, 3):
        account.shown("here", frame * 100 * MS, frame, frame * 100 * MS, tracks({1: square(900)}))
        account.said(frame, frame * 100 * MS, frame * 100 * MS, tracks({1: square(900)}))
    after = cost_of(account)
    assert (before.frames, after.frames) == (1, 2), "sums stay; the frames between are not asked about"
    assert (after.mean_iou, after.ap50_lost) == (1.0, 0.0)


def test_a_long_gap_is_left_out() -> None:
    ms = round(LONGEST_GAP_S * 1000)
    assert cost_of(play(moving(0), range(3), 50, interval_ms=ms)).frames == 2
    assert play(moving(0), range(3), 50, interval_ms=ms + 1).cost("here") is None


def test_frames_that_run_back_are_left_out() -> None:
    account = play(moving(0), [5, 3, 4, 4], latency_ms=0)
    assert cost_of(account).frames == 1, "only from frame 3 to 4 is there anything to ask"


def test_recent_figures_forget() -> None:
    def world(frame: int) -> Tracks:
        return moving(0 if frame < 30 else 30)(frame)

    account = play(world, range(300), latency_ms=50, interval_ms=1000)
    recent = account.cost("here", recent=True)
    assert recent is not None
    assert recent.below_50 == pytest.approx(1.0, abs=1e-3)
    assert cost_of(account).below_50 == pytest.approx(0.9, abs=0.01)


def test_some_frames_tell_what_all_would() -> None:
    """Every third frame is processed: what stands has a rhythm of three frames, which the draws must not share."""
    world, every = moving(2, 9, -13, 21), SelfConsistency("here")
    some = SelfConsistency("here", frames_per_s=10)
    for frame in range(0, 4500, 3):
        captured_ns = frame * 33 * MS
        for account in (every, some):
            account.shown("here", captured_ns + 99 * MS, frame, captured_ns, world(frame))
            account.said(frame, captured_ns, captured_ns + 99 * MS, world(frame))
    all_frames, drawn = cost_of(every), cost_of(some)
    seconds = 4500 * 0.033
    assert all_frames.frames == 4497
    assert drawn.frames / seconds == pytest.approx(9, abs=1), "each is the first that arrives when one is due"
    for name in ("staleness_frames", "age_ms", "mean_iou", "below_50", "below_75", "ap50_lost"):
        assert getattr(drawn, name) == pytest.approx(getattr(all_frames, name), rel=0.03), name


def test_empty_outputs() -> None:
    cost = cost_of(play(lambda frame: Tracks.empty(), range(5), latency_ms=50), offline_ap50=0.5)
    assert (cost.frames, cost.missed_frames, cost.age_ms) == (4, 1, 100.0)
    assert (cost.mean_iou, cost.below_50, cost.gone, cost.ap50_kept, cost.ap50_points_lost) == (None,) * 5


def test_boxes_without_area_overlap_nothing() -> None:
    flat = tracks({1: (5.0, 5.0, 5.0, 9.0), 2: (9.0, 9.0, 5.0, 5.0)})
    cost = cost_of(play(lambda frame: flat, range(5), latency_ms=0))
    assert (cost.mean_iou, cost.ap50_kept) == (0.0, 0.0)


def test_memory_is_bounded() -> None:
    account = SelfConsistency("far behind", "never")
    for frame in range(REMEMBERED + 20):
        ids = range(1 + 10 * frame, 11 + 10 * frame)
        new = tracks({i: square(0, y=50.0 * (i % 10)) for i in ids})
        account.shown("far behind", frame * 100 * MS + 10**15, frame, frame * 100 * MS, new)
        account.said(frame, frame * 100 * MS, frame * 100 * MS, new)
    assert len(account._viewers["far behind"].shown) == REMEMBERED
    assert len(account._first_said_ns) == KNOWN_IDS
    cost = cost_of(account, viewer="far behind")
    assert cost.frames == cost.missed_frames == REMEMBERED - 2, "what stood before the oldest one kept is not known"
