"""A run in real time: what is kept of it, and which pictures are refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from pipeline.config.build import load_run_config
from pipeline.core.detections import Detections
from pipeline.core.errors import DatasetError, SourceError, UsageError
from pipeline.core.frame import Frame
from pipeline.stream_eval import job
from pipeline.stream_eval.clip import Clip, detect_all
from pipeline.stream_eval.evaluate import evaluate
from pipeline.stream_eval.job import Pipeline, clips_of, device_of
from pipeline.stream_eval.labelled import Labelled
from pipeline.stream_eval.live import run_live
from pipeline.stream_eval.read_truth import read_truth

FPS = 100


class BrightDetector:
    """Finds what is white."""

    class_names = ("dog", "person")

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.is_closed = False

    def warmup(self) -> None: ...

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        self.seen += [frame.index for frame in frames]
        return [self._find(frame.image) for frame in frames]

    def _find(self, image: np.ndarray) -> Detections:
        rows, columns = np.nonzero(image[..., 0] > 128)
        xyxy = [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], [0, 0, 9, 9]]
        return Detections(np.array(xyxy, np.float32), np.full(2, 0.9, np.float32), np.array([1, 0]))

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def clip(
    argoverse: Callable[..., dict[str, Any]], pictures: Callable[..., Path], tmp_path: Path
) -> Callable[..., Clip]:
    def make(n_labels: int = 24, n_pictures: int = 24, tracker: str = "bytetrack") -> Clip:
        pictures(n_pictures)
        labels = tmp_path / "labels.json"
        labels.write_text(json.dumps(argoverse(n_labels)))
        labelled = read_truth(labels, Fraction(FPS))
        config = load_run_config(None, {"tracker": {"kind": tracker}}, [])
        return clips_of(labelled, None, config)[0]

    return make


@pytest.mark.parametrize("tracker", ["none", "bytetrack"])
def test_a_real_run_is_answered_on_the_streams_clock(
    tracker: str, clip: Callable[..., Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = BrightDetector()
    monkeypatch.setattr(job, "build_detector", lambda section: detector)
    one = clip(tracker=tracker)
    pipeline = Pipeline(one.config, [one])
    (found,) = pipeline.detect()
    assert detector.seen == list(range(24))
    assert dict(pipeline.classes.left_out) == {"dog": 24}
    live = pipeline.play(one, "excluded")
    answers = pipeline.answers(one, live)
    pipeline.close()
    assert detector.is_closed

    for result, output in zip(live.results, answers.outputs, strict=True):
        assert result.timeline.captured == live.t0_ns + result.frame * 1_000_000_000 // FPS
        assert output.input_frame == result.frame
        assert output.at_ns == result.timeline.emitted - live.t0_ns  # type: ignore[operator]
    assert (answers.motion is None) == (tracker == "none")
    assert all(one.class_id.tolist() in ([0], []) for one in (o.boxes for o in answers.outputs))
    device = device_of([live], "here")
    assert device.lag_ns > 0
    assert len(device.runtimes.samples_ns) == len(live.results)
    # How late it is depends on this machine; what is found in each picture does not.
    shown = evaluate([answers])
    assert shown.combined.offline.ap50 == pytest.approx(1)
    assert found.offline()[20].ltwh[0] == pytest.approx([48, 20, 32, 32], abs=0.5)


def test_without_a_class_in_common_the_detector_is_let_go(
    clip: Callable[..., Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = BrightDetector()
    detector.class_names = ("dog", "cat")
    monkeypatch.setattr(job, "build_detector", lambda section: detector)
    one = clip()
    with pytest.raises(UsageError, match=r"a class that the truth has \(person, bus\), found dog, cat"):
        Pipeline(one.config, [one])
    assert detector.is_closed


def test_only_so_many_seconds_are_played(clip: Callable[..., Clip]) -> None:
    live = run_live(clip(), BrightDetector(), seconds=0.05)
    assert live.results[-1].frame <= 5


def test_decoding_may_count(clip: Callable[..., Clip]) -> None:
    live = run_live(clip(), BrightDetector(), decode="included")
    assert device_of([live], "here").lag_ns > 0
    first = live.results[0]
    assert first.timeline.captured == live.t0_ns + first.frame * 1_000_000_000 // FPS


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n_labels": 25}, "wanted 25 frames as .*labels.json has labels for .*, found 24"),
        ({}, None),
        ({"n_labels": 20}, None),
    ],
    ids=["too few pictures", "equal", "more pictures than labels"],
)
def test_pictures_and_labels_belong_together(
    change: dict[str, int], said: str | None, clip: Callable[..., Clip]
) -> None:
    one = clip(**change)
    if said is None:
        assert len(detect_all(one, BrightDetector())) == one.stream.n_frames
    else:
        with pytest.raises(DatasetError, match=said):
            detect_all(one, BrightDetector())


def test_pictures_of_another_size_are_refused(clip: Callable[..., Clip]) -> None:
    one = clip()
    cv2.imwrite(str(one.labelled.pictures / "000003.png"), np.zeros((50, 60, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"wanted 400x96 px as .*, found 60x50"):
        detect_all(one, BrightDetector())


def test_a_picture_that_cannot_be_decoded_is_refused(clip: Callable[..., Clip]) -> None:
    one = clip()
    (one.labelled.pictures / "000003.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match="found one before it that cannot be decoded"):
        detect_all(one, BrightDetector())


def test_a_video_of_another_rate_is_refused(square: Callable[..., Labelled], tmp_path: Path) -> None:
    path = tmp_path / "square.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 400, 96, "yuv420p"
        for _ in range(12):
            image = av.VideoFrame.from_ndarray(np.zeros((96, 400, 3), np.uint8), format="bgr24")
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))
    (one,) = clips_of([square(12, fps=30)], str(path), load_run_config(None, {}, []))
    with pytest.raises(DatasetError, match=r"wanted 30 frames/s as labels.json says, found 25 frames/s"):
        list(one.frames())
    (same,) = clips_of([square(12, fps=25)], str(path), load_run_config(None, {}, []))
    assert len(list(same.frames())) == 12


def test_every_sequence_needs_its_pictures(square: Callable[..., Labelled], tmp_path: Path) -> None:
    config = load_run_config(None, {}, [])
    with pytest.raises(UsageError, match="found no such folder"):
        clips_of([square()], None, config)
    with pytest.raises(UsageError, match="a place for each of 2 sequences"):
        clips_of([square(name="a"), square(name="b")], "clip.mp4", config)
    with pytest.raises(SourceError, match="none"):
        clips_of([square()], str(tmp_path / "none.mp4"), config)
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.mp4").touch()
    clips = clips_of([square(name="a"), square(name="b")], str(tmp_path / "{sequence}.mp4"), config)
    assert [Path(*one.config.sources).name for one in clips] == ["a.mp4", "b.mp4"]
    for wrong in (str(tmp_path), "rtsp://camera/stream", "0"):
        with pytest.raises(UsageError, match="wanted one video or folder of pictures"):
            clips_of([square()], wrong, config)
