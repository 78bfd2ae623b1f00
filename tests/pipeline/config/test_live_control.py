"""A run steered while it goes on, through its configuration's words."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from pipeline.config.build import build_run, load_run_config
from pipeline.core.control import RunControl, SourceState
from pipeline.core.errors import SourceError, UsageError
from pipeline.core.result import FrameResult
from sinks.hls import HlsSink

pytestmark = pytest.mark.timeout(60)


def until(condition: Callable[[], bool]) -> None:
    waited = threading.Event()
    for _ in range(4000):
        if condition():
            return
        waited.wait(0.005)
    raise AssertionError("did not come about in 20 s")


def test_sources_join_leave_and_begin_anew(tmp_path: Path, small_clip: Path, small_weights: Path) -> None:
    second = tmp_path / "second.mp4"
    second.write_bytes(small_clip.read_bytes())
    config = load_run_config(
        None,
        {
            "outputs": [str(tmp_path / "all.jsonl"), str(tmp_path / "boxes.txt")],
            "detector": {"weights": str(small_weights), "img_size": 64, "backend": "eager"},
            "runtime": {"keep_open": True},
            "exist_ok": True,
        },
        [],
    )
    with build_run(config) as built:
        control: RunControl = built.control
        thread = threading.Thread(target=built.runner.run)
        thread.start()
        try:
            first_id = control.add(str(small_clip))
            until(lambda: states(control).get(first_id) == SourceState.ENDED)
            # A name that is taken gets a number, as on the command line.
            again_id = control.add(str(small_clip))
            assert again_id == f"{first_id}-2"
            second_id = control.add(str(second))
            until(lambda: set(states(control).values()) == {SourceState.ENDED})
            control.restart(second_id)
            n_frames = control.sources()[0].emitted
            until(lambda: {one.source_id: one.emitted for one in control.sources()}[second_id] == 2 * n_frames)
            control.remove(first_id)
            assert set(states(control)) == {again_id, second_id}
            for ask in (control.remove, control.restart):
                with pytest.raises(UsageError, match="wanted a source of this run"):
                    ask("nobody")
            with pytest.raises(SourceError, match="no-such-file"):
                control.add(str(tmp_path / "no-such-file.mp4"))
            assert control.report()["sources"][first_id]["emitted"] == n_frames
        finally:
            built.runner.stop()
            thread.join()
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    found = {name: sum(line["source"] == name for line in lines) for name in (first_id, again_id, second_id)}
    assert found == {first_id: n_frames, again_id: n_frames, second_id: 2 * n_frames}
    # An output that serves one source gets a file for each that joins.
    assert {path.name for path in tmp_path.glob("boxes*.txt")} == {
        f"boxes.{name}.txt" for name in (first_id, again_id, second_id)
    }


def test_a_file_that_is_there_refuses_the_source(tmp_path: Path, small_clip: Path, small_weights: Path) -> None:
    config = load_run_config(
        None,
        {
            "outputs": [str(tmp_path / "boxes.txt")],
            "detector": {"weights": str(small_weights), "img_size": 64, "backend": "eager"},
            "runtime": {"keep_open": True},
        },
        [],
    )
    (tmp_path / f"boxes.{small_clip.stem}.txt").write_text("mine")
    with build_run(config) as built, pytest.raises(UsageError, match="exists"):
        built.control.add(str(small_clip))
    assert (tmp_path / f"boxes.{small_clip.stem}.txt").read_text() == "mine"


def states(control: RunControl) -> dict[str, SourceState]:
    return {one.source_id: one.state for one in control.sources()}


def test_a_playlist_whose_disk_hangs_once_is_begun_anew(
    tmp_path: Path, small_clip: Path, small_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, hung, write = threading.Event(), [], HlsSink.write

    def hang_once(self: HlsSink, result: FrameResult) -> None:
        if result.frame.index == 5 and not hung:
            hung.append(self)
            stuck.wait(20)
        write(self, result)

    monkeypatch.setattr(HlsSink, "write", hang_once)
    config = load_run_config(
        None,
        {
            "sources": [str(small_clip)],
            "outputs": [str(tmp_path / "live.m3u8"), str(tmp_path / "all.jsonl")],
            "detector": {"weights": str(small_weights), "img_size": 64, "backend": "eager"},
            "runtime": {"realtime": True, "watchdog_s": 0.4},
        },
        [],
    )
    with build_run(config) as built:
        report = built.runner.run()
        stuck.set()
    assert (report.status, report.errors, len(hung)) == ("completed", (), 1)
    account = report.sinks[str(tmp_path / "live.m3u8")]
    assert account.written >= 10
    assert account.handed == account.written + account.dropped == report.sources[small_clip.stem].emitted
    assert "#EXT-X-ENDLIST" in (tmp_path / "live.m3u8").read_text()


def test_a_source_that_is_removed_leaves_whole_recordings_while_the_run_goes_on(
    tmp_path: Path, small_clip: Path, small_weights: Path
) -> None:
    """Without rules nothing is told of its end but the end."""
    others = [tmp_path / "door.mp4", tmp_path / "yard.mp4"]
    for path in others:
        path.write_bytes(small_clip.read_bytes())
    config = load_run_config(
        None,
        {
            "sources": [str(path) for path in others],
            "outputs": [f"record:{tmp_path / 'kept'}", str(tmp_path / "live.m3u8")],
            "detector": {"weights": str(small_weights), "img_size": 64, "backend": "eager"},
            "runtime": {"keep_open": True, "realtime": True},
            "source": {"replay": {"loop": True}},
        },
        [],
    )
    with build_run(config) as built:
        thread = threading.Thread(target=built.runner.run)
        thread.start()
        try:
            until(lambda: min(account.emitted for account in built.runner.ledger.snapshot().values()) > 5)
            built.control.remove("door")
            until(lambda: "record:door" not in {one.name for one in threading.enumerate()})
            (segment,) = (tmp_path / "kept" / "door").iterdir()
            with av.open(str(segment)) as container:
                n_recorded = sum(1 for _ in container.decode(video=0))
            assert n_recorded == built.runner.ledger.snapshot()["door"].emitted
            playlist = tmp_path / "live.door.m3u8"
            until(lambda: "#EXT-X-ENDLIST" in playlist.read_text())
            assert thread.is_alive()
            assert states(built.control) == {"yard": SourceState.LIVE}
        finally:
            built.runner.stop()
            thread.join()
    assert "record:yard" not in {one.name for one in threading.enumerate()}
