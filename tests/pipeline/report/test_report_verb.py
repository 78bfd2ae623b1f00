"""Verb `report`, as a person uses it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.main import main
from pipeline.core.event import EventKind
from pipeline.records.store import Store

Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Said:
    """Runs `report …` in the store's folder; gives the exit code and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main(["report", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def small(footage: Any, make_store: Callable[..., Store]) -> Store:
    clip = footage("gate [x]", length_s=8.0)
    clip.add(EventKind.OBJECT, 1.0, 4.0)
    clip.cross(2.0, rule="door")
    clip.visit(1.0, 3.0)
    clip.add(EventKind.LOITERING, 3.0, 1.0, rule="hall")
    return make_store(clip)


def test_tables(small: Store, said: Said) -> None:
    code, out, _ = said()
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert code == 0
    assert lines[1] == "gate [x]"
    assert lines[2] == "0:00:00 to 0:00:08 (times in the footage), 8.0 s watched, 4 events"
    assert "person 1" in lines
    assert "door person 1 0 in out" in lines
    assert "hall 1 0 3.0 s 3.0 s 3.0 s 3.0 s 0.38 1" in lines
    assert "loitering hall 1 1.0 s" in lines
    assert "0:00:01 1 0/0 1 0" in lines
    assert "0:00:02 0 1/0 0 0" in lines


def test_what_nobody_crossed_or_visited_is_told(footage: Any, make_store: Callable[..., Store], said: Said) -> None:
    clip = footage("gate", length_s=8.0)
    clip.begin(lines=("back door", "door"), zones=("hall", "yard"))
    clip.cross(2.0, rule="door")
    clip.visit(1.0, 3.0)
    make_store(clip)
    lines = [" ".join(line.split()) for line in said()[1].splitlines()]
    assert "back door — 0 0 in out" in lines
    assert "door person 1 0 in out" in lines
    assert "yard 0 0 0.00 0" in lines
    assert "per second door in/out hall visits" in lines
    assert said("-o", "report.html", "--json", "report.json")[0] == 0
    (source,) = json.loads(Path("report.json").read_text())["sources"]
    assert [(line["name"], line["in"]["total"]) for line in source["lines"]] == [("back door", 0), ("door", 1)]
    assert [(zone["name"], zone["visits"]) for zone in source["zones"]] == [("hall", 1), ("yard", 0)]
    page = Path("report.html").read_text()
    assert re.findall(r"<h3>(?:Line|Zone) ([a-z ]+): (?:crossings|how many)", page) == ["door", "hall"]
    assert ">back door</td>" in page
    assert ">yard</td>" in page
    for options, told in ((["--kind", "crossing"], {"back door", "door"}), (["--rule", "yard"], {"yard"})):
        assert said("--json", "report.json", "--exist-ok", *options)[0] == 0
        (source,) = json.loads(Path("report.json").read_text())["sources"]
        assert {rule["name"] for rule in [*source["lines"], *source["zones"]]} == told


def test_a_quiet_day_is_told_as_zeros(footage: Any, make_store: Callable[..., Store], said: Said) -> None:
    clip = footage("gate", length_s=8.0)
    clip.begin(lines=("door",), zones=("hall",))
    make_store(clip)
    code, out, _ = said()
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert code == 0
    assert "door — 0 0 in out" in lines
    assert "hall 0 0 0.00 0" in lines
    assert "nothing was recorded" not in out
    assert said("-o", "report.html")[0] == 0
    page = Path("report.html").read_text()
    assert ">door</td>" in page
    assert "Nothing was recorded" not in page
    assert "No events." not in page


def test_a_window_in_which_a_zone_has_only_visits_that_began_before_it(small: Store, said: Said) -> None:
    code, out, err = said("--since", "1.5")
    assert (code, err) == (0, "")
    assert "hall 0 0 0.38 1" in [" ".join(line.split()) for line in out.splitlines()]


def test_files(small: Store, said: Said) -> None:
    code, out, _ = said("--store", "events.db", "-o", "new/report.html", "--json", "report.json")
    assert (code, out.splitlines()) == (0, ["wrote new/report.html", "wrote report.json"])
    document = json.loads(Path("report.json").read_text())
    assert document["headline"] == {"objects": 1, "crossings_in": 1, "crossings_out": 0, "visits": 1, "incidents": 1}
    assert Path("new/report.html").read_text().startswith("<!DOCTYPE html>")
    written = {path.name for path in Path().rglob("*") if path.is_file()}
    assert {name for name in written if not name.startswith("events.db")} == {"report.html", "report.json"}


def test_a_file_that_exists_is_kept(small: Store, said: Said) -> None:
    Path("report.html").write_text("precious")
    code, _, err = said("-o", "report.html")
    assert code == 2
    assert "--exist-ok" in err
    assert Path("report.html").read_text() == "precious"
    assert said("-o", "report.html", "--exist-ok")[0] == 0
    assert "precious" not in Path("report.html").read_text()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["-o", "report.pdf"], "wanted a file named .html"),
        (["--timezone", "Mars"], "Europe/Berlin"),
        (["--by", "week"], "week"),
        (["--pictures", "-1"], "--pictures"),
        (["--source", "gait [x]"], "did you mean 'gate [x]'?"),
        (["--store", "other.db"], "no such event store"),
        (["-o", "a.html", "--json", "a.html"], "wanted two files"),
        (["--since", "yesterday"], "--since"),
    ],
)
def test_mistakes_are_one_line(small: Store, said: Said, options: list[str], text: str) -> None:
    code, out, err = said(*options)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert text in err


def test_an_empty_store_and_a_filter_that_nothing_fits(
    make_store: Callable[..., Store], said: Said, small: Store
) -> None:
    code, out, _ = said("--since", "500")
    assert code == 0
    assert "only events of: since second 500" in out
    assert "no event fits what was asked for" in out


def test_an_empty_store_is_no_error(make_store: Callable[..., Store], said: Said) -> None:
    make_store()
    assert said()[:2] == (0, "nothing was recorded\n")
    code, _, _ = said("-o", "report.html")
    assert code == 0
    assert "Nothing was recorded." in Path("report.html").read_text()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_takes_no_files(small: Store, said: Said, tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    code, _, err = said("-o", folder / "report.html")
    assert code == 2
    assert "not writable" in err


def test_a_full_disk(small: Store, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def refuse(path: Path, content: str) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("pipeline.cli.report.write_whole", refuse)
    code, _, err = said("-o", "report.html")
    assert code == 1
    assert "the disk is full" in err
    assert not Path("report.html").exists()
