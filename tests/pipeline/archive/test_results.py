"""Results come to their place whole; a kill at any moment leaves nothing half done and nothing to do twice."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.archive.done import Done
from pipeline.archive.journal import Journal
from pipeline.archive.lock import locked
from pipeline.archive.results import Results
from pipeline.core.errors import DatasetError, UsageError

Write = Callable[[Path, Done], Path]
LATER = "2026-01-02T03:04:06.000000+00:00"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_commit(out: Path, make_done: Callable[..., Done], write_results: Write) -> None:
    results = Results(out)
    done = make_done()
    assert results.commit(write_results(out / ".work/r-0", done)) == done
    assert results.done == {done.name: done}
    assert sorted(path.name for path in (out / "videos/day1/a.mp4").iterdir()) == ["done.json", "tracks.jsonl"]
    results.clear()
    assert not (out / ".work").exists()
    assert Results(out).done == {done.name: done}


def test_newer_results_replace_older_ones(out: Path, make_done: Callable[..., Done], write_results: Write) -> None:
    results = Results(out)
    results.commit(write_results(out / ".work/r-0", make_done()))
    newer = make_done(size=5, finished=LATER)
    results.commit(write_results(out / ".work/r-1", newer))
    assert Results(out).done == {newer.name: newer}
    assert not list((out / ".work").iterdir())


def test_half_done_is_never_committed(out: Path) -> None:
    results = Results(out)
    (out / ".work/r-0").mkdir()
    with pytest.raises(DatasetError, match="wanted whole results"):
        results.commit(out / ".work/r-0")


@pytest.mark.parametrize("moment", ["made", "old one put aside", "new one in place"])
def test_killed_while_committing(out: Path, make_done: Callable[..., Done], write_results: Write, moment: str) -> None:
    place, made, aside = out / "videos/day1/a.mp4", out / ".work/r-1", out / ".work/r-1.replaced"
    write_results(place, make_done())
    newer = make_done(finished=LATER, work="r-1")
    write_results(made, newer)
    (out / ".work/r-2").mkdir()
    (out / ".work/r-2/tracks.jsonl").touch()
    if moment != "made":
        place.rename(aside)
    if moment == "new one in place":
        made.rename(place)
    assert Results(out).done == {newer.name: newer}
    assert not list((out / ".work").iterdir())


def test_what_an_orphan_made_late_does_not_replace_newer_results(
    out: Path, make_done: Callable[..., Done], write_results: Write
) -> None:
    newer = make_done(finished=LATER)
    write_results(out / "videos/day1/a.mp4", newer)
    write_results(out / ".work/r-1", make_done())
    assert Results(out).done == {newer.name: newer}


def lines(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]


def test_journal_has_one_line_for_each_work(out: Path, make_done: Callable[..., Done]) -> None:
    a, b = make_done("a.mp4"), make_done("b.mp4")
    journal = Journal(out)
    journal.finished(a)
    journal.failed("c.mp4", "corrupt", "no video")
    Journal(out).complete([a, b])
    Journal(out).complete([a, b])
    assert [(row["video"], row["status"]) for row in lines(out)] == [
        *(("a.mp4", "done"), ("c.mp4", "corrupt"), ("b.mp4", "done"))
    ]
    Journal(out).complete([replace(a, work="another"), b])
    assert [row["video"] for row in lines(out)] == ["a.mp4", "c.mp4", "b.mp4", "a.mp4"]


def test_a_torn_line_is_written_again(out: Path, make_done: Callable[..., Done]) -> None:
    a, b = make_done("a.mp4"), make_done("b.mp4")
    Journal(out).complete([a, b])
    path = out / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    Journal(out).complete([a, b])
    assert [row["video"] for row in lines(out)] == ["a.mp4", "b.mp4"]


def test_one_at_a_time(out: Path) -> None:
    with locked(out), pytest.raises(UsageError, match="found another annotate at work in it"), locked(out):
        pass
    with locked(out):
        pass


def test_a_dead_process_holds_nothing(out: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from pipeline.archive.lock import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen([sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE, cwd=root) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UsageError, match="another annotate"), locked(out):
            pass
        holder.kill()
    with locked(out):
        shutil.rmtree(out)
