"""Archives annotated by real workers: what is done stays, what changed is done again, what dies is tried again."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.archive.annotate import Annotated, Annotation, annotate_archive
from pipeline.archive.archive import read_archive
from pipeline.archive.find import FoundVideo
from pipeline.archive.job import Begun, Message, Outcome
from pipeline.archive.local_pool import LocalPool
from pipeline.config.build import load_run_config
from pipeline.config.yaml_file import merge
from pipeline.core.errors import SinkError, TracklightError, UsageError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

Clip = Callable[..., Path]


@pytest.fixture
def footage(tmp_path: Path, make_clip: Clip) -> Path:
    """Three clips, the longest one last in the order of names."""
    root = tmp_path / "footage"
    for seed, (name, n_frames) in enumerate((("a.mp4", 5), ("night/b.mp4", 5), ("night/z.mp4", 40))):
        make_clip(root / name, n_frames, seed)
    return root


@pytest.fixture
def annotation(footage: Path, small_weights: Path, tmp_path: Path) -> Callable[..., Annotation]:
    """One call of `annotate` on the footage, with one worker and other settings where given."""

    def make(settings: dict[str, Any] | None = None, **options: Any) -> Annotation:
        detector = {"weights": str(small_weights), "backend": "eager", "device": "cpu", "max_det": 20}
        values = merge({"sources": [str(footage)], "detector": detector}, settings or {})
        return Annotation(load_run_config(None, values, []), tmp_path / "out", **({"workers": 1} | options))

    return make


def tracks(out: Path) -> dict[str, bytes]:
    return {video.facts.name: (video.folder / "tracks.jsonl").read_bytes() for video in read_archive(out)}


def counts(annotated: Annotated) -> tuple[str, int, int, int]:
    return annotated.status, annotated.n_done, annotated.n_redone, annotated.n_skipped


def test_what_changed_is_done_again(
    annotation: Callable[..., Annotation], footage: Path, make_clip: Clip, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert counts(annotation().run()) == ("completed", 3, 0, 0)
    facts = {video.facts.name: video.facts for video in read_archive(out)}
    assert (facts["a.mp4"].width_px, facts["a.mp4"].height_px, facts["a.mp4"].n_frames) == (64, 48, 5)
    assert facts["a.mp4"].fps == pytest.approx(10.0)
    assert facts["night/z.mp4"].path == footage / "night/z.mp4"
    assert sum(len(frame.tracks) for video in read_archive(out) for frame in video.frames()) > 100
    first = tracks(out)

    assert counts(annotation().run()) == ("completed", 0, 0, 3)
    make_clip(footage / "a.mp4", 7, seed=5)
    make_clip(footage / "new.mp4", 4, seed=6)
    (footage / "night/b.mp4").unlink()
    assert counts(annotation().run()) == ("completed", 2, 1, 1)
    second = tracks(out)
    assert second["a.mp4"].count(b"\n") == 7
    assert second["night/z.mp4"] == first["night/z.mp4"]
    manifest = {row["video"]: row for row in json.loads((out / "manifest.json").read_text())["videos"]}
    assert list(manifest) == ["a.mp4", "new.mp4", "night/z.mp4", "night/b.mp4"]
    assert manifest["night/b.mp4"]["notes"] == ["its video is gone"]

    with pytest.raises(UsageError, match=r"found detector\.max_det 20 before and 10 now; name another folder, or .*"):
        annotation({"detector": {"max_det": 10}})
    assert tracks(out) == second
    assert counts(annotation({"detector": {"max_det": 10}}, exist_ok=True).run()) == ("completed", 3, 3, 0)
    with pytest.raises(UsageError, match=r"found detector\.max_det 10 before and 20 now"):
        annotation()
    assert counts(annotation({"detector": {"max_det": 10, "threads": 2}}).run()) == ("completed", 0, 0, 3)


def test_another_root_and_other_rules_are_other_settings(
    annotation: Callable[..., Annotation], footage: Path, tmp_path: Path
) -> None:
    line = {"name": "door", "points": [[0.5, 0.0], [0.5, 1.0]], "band_px": 0}
    rules = {"analytics": {"sources": {"night/*": {"lines": [line]}}}, "max_frames": 6}
    assert counts(annotation(rules).run()) == ("completed", 3, 0, 0)
    lines = [json.loads(line) for line in tracks(tmp_path / "out")["night/z.mp4"].splitlines()]
    assert len(lines) == 7
    assert "end_s" in lines[-1]
    assert {event["source"] for line in lines for event in line["events"]} == {"night/z.mp4"}
    assert len(tracks(tmp_path / "out")["a.mp4"].splitlines()) == 5
    with pytest.raises(UsageError, match=r"found root of the videos .* before and .* now"):
        annotation({**rules, "sources": [str(footage / "night")]})
    with pytest.raises(UsageError, match=r"found analytics\.sources\.night/\*"):
        annotation({"max_frames": 6})


@contextmanager
def killing(annotation: Annotation, monkeypatch: pytest.MonkeyPatch, name: str, times: int) -> Iterator[list[int]]:
    """While inside, the worker that opens a video is killed, so many times."""
    killed: list[int] = []
    messages = LocalPool.messages

    def watched(pool: LocalPool) -> Iterator[Message]:
        for message in messages(pool):
            if isinstance(message, Begun) and message.name == name and len(killed) < times:
                (worker,) = multiprocessing.active_children()
                assert worker.pid is not None
                os.kill(worker.pid, signal.SIGKILL)
                killed.append(worker.pid)
            yield message

    monkeypatch.setattr(LocalPool, "messages", watched)
    yield killed


@pytest.mark.parametrize(("times", "status"), [(1, "completed"), (2, "partial")])
def test_a_worker_that_dies_takes_only_its_video_with_it(
    annotation: Callable[..., Annotation],
    make_clip: Clip,
    footage: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    times: int,
    status: str,
) -> None:
    make_clip(footage / "night/z.mp4", 400, seed=2)
    one = annotation()
    with killing(one, monkeypatch, "night/z.mp4", times) as killed:
        annotated = one.run()
    assert len(set(killed)) == times
    assert annotated.status == status
    assert annotated.n_done == (3 if times == 1 else 2)
    if times == 2:
        ((name, failure, reason),) = annotated.given_up
        assert (name, failure) == ("night/z.mp4", "failed")
        assert reason == "its worker was killed by signal 9, 2 times (out of memory? fewer --workers may help)"
    assert not (tmp_path / "out/.work").exists()
    assert not multiprocessing.active_children()


def test_stop_gives_up_what_is_in_work(
    annotation: Callable[..., Annotation], make_clip: Clip, footage: Path, tmp_path: Path
) -> None:
    make_clip(footage / "night/z.mp4", 4000, seed=2)
    one = annotation()
    done: list[Annotated] = []
    thread = threading.Thread(target=lambda: done.append(one.run()), name="annotation")
    thread.start()
    while not ((progress := one.progress()) and progress.running):
        thread.join(0.05)
    one.stop()
    thread.join(10)
    assert [result.status for result in done] == ["interrupted"]
    assert not list((tmp_path / "out").glob("videos/**/done.json"))
    rows = json.loads((tmp_path / "out/manifest.json").read_text())
    assert (rows["status"], rows["totals"]["waiting"]) == ("interrupted", 3)
    make_clip(footage / "night/z.mp4", 10, seed=2)
    assert counts(annotation().run()) == ("completed", 3, 0, 0)


def test_lasting_events_count_once(annotation: Callable[..., Annotation], tmp_path: Path) -> None:
    zone = {"name": "hall", "polygon": [[0, 0], [1, 0], [0, 1]], "empty_s": 0.01}
    rules = {"analytics": {"sources": {"*": {"zones": [zone]}}}}
    assert annotation(rules).run().status == "completed"
    for video in read_archive(tmp_path / "out"):
        lines = [json.loads(line) for line in (video.folder / "tracks.jsonl").read_text().splitlines()]
        told = [event["event_id"] for line in lines for event in line["events"]]
        done = json.loads((video.folder / "done.json").read_text())
        assert 0 < done["n_events"] == len(set(told)) < len(told)


def test_a_name_that_is_no_text_costs_only_its_video(
    annotation: Callable[..., Annotation], footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nameless = Path(os.fsdecode(os.fsencode(footage) + b"/caf\xe9.mp4"))
    nameless.write_bytes((footage / "a.mp4").read_bytes())
    given = []

    def given_up(self: Annotation, waiting: list[FoundVideo], settings: str) -> Iterator[Message]:
        given.extend(video.name for video in waiting)
        return (Outcome(video.name, "corrupt", reason="not looked at") for video in waiting)

    monkeypatch.setattr(Annotation, "_messages", given_up)
    annotated = annotation().run()
    reason = "wanted a file name that is text (UTF-8), found other bytes; rename it"
    assert annotated.status == "partial"
    assert annotated.given_up[0] == ("caf\\xe9.mp4", "failed", reason)
    assert given == ["a.mp4", "night/b.mp4", "night/z.mp4"]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["totals"]["videos"] == 4
    assert {"video": "caf\\xe9.mp4", "status": "failed", "reason": reason} in manifest["videos"]


def test_from_python(footage: Path, small_weights: Path, tmp_path: Path, annotation: Callable[..., Annotation]) -> None:
    settings = {"detector": {"backend": "eager", "device": "cpu", "max_det": 20}}
    annotated = annotate_archive(
        footage / "night", tmp_path / "other", weights=small_weights, settings=settings, workers=2
    )
    assert counts(annotated) == ("completed", 2, 0, 0)
    annotation().run()
    here, there = tracks(tmp_path / "other"), tracks(tmp_path / "out")
    assert here["z.mp4"].replace(b'"z.mp4"', b'"night/z.mp4"') == there["night/z.mp4"]


@pytest.mark.parametrize(
    ("settings", "kind", "told"),
    [
        ({"detector": {"classes": ["dragon"]}}, UsageError, "dragon"),
        ({"analytics": {"sources": {"gone*": {}}}}, UsageError, "wanted a source of this run"),
    ],
)
def test_settings_that_only_workers_can_judge(
    annotation: Callable[..., Annotation], settings: dict[str, Any], kind: type[TracklightError], told: str
) -> None:
    with pytest.raises(kind, match=told) as refused:
        annotation(settings).run()
    assert "\n" not in str(refused.value)


def test_a_folder_that_refuses(annotation: Callable[..., Annotation], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.work").write_text("in the way")
    with pytest.raises(SinkError, match="wanted to write there, found: "):
        annotation().run()


@pytest.mark.parametrize(
    ("settings", "options", "told"),
    [
        ({"outputs": ["a.mp4"]}, {}, "wanted no 'outputs' in the configuration"),
        ({"draw": {"labels": False}}, {}, "wanted no 'draw' in the configuration"),
        ({"runtime": {"realtime": True}}, {}, "wanted runtime.realtime off"),
        ({"runtime": {"compensate": "emit"}}, {}, "wanted runtime.compensate off, found emit"),
        ({"source": {"camera": {}}}, {}, "wanted source.video_file alone"),
        ({"tracker": {"kind": "none"}}, {}, "wanted a tracker, found none"),
        ({}, {"workers": 0}, "--workers: wanted 1 or more, found 0"),
        ({"detector": {"weights": "no-such-model"}}, {}, "wanted a file or the name of a model"),
    ],
)
def test_settings_that_cannot_work(
    annotation: Callable[..., Annotation], tmp_path: Path, settings: dict[str, Any], options: dict[str, Any], told: str
) -> None:
    with pytest.raises(TracklightError) as refused:
        annotation(settings, **options)
    assert told in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_folders_of_others(annotation: Callable[..., Annotation], tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UsageError, match="wanted a folder for the results, found a file"):
        annotation()
    (tmp_path / "out").unlink()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("precious")
    with pytest.raises(UsageError, match="wanted a new folder or one of an earlier annotate, found other files"):
        annotation()
