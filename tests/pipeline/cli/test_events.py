"""Verb `events`, as a person uses it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.cli.main import main
from pipeline.core.event import Event, EventKind, event_id
from pipeline.records.address import parse_store_address
from pipeline.records.making import event_record, run_record, source_record
from pipeline.records.rows import EventFilter, StoredRun, StoredSource
from pipeline.records.store import open_store
from pipeline.records.unsaved import keep_unsaved

BEGAN = datetime(2026, 5, 1, 8, 0, tzinfo=UTC)
RUN = "20260501-080000-000-aaaa"
Said = Callable[..., tuple[int, str, str]]


def an_event(at: float, kind: EventKind, rule: str, class_name: str, source: str = "gate") -> Event:
    name = event_id(source, kind, rule, at, (3,))
    return Event(
        *(name, kind, rule, source, at, at if kind is EventKind.CROSSING else at + 2, 0, int(at * 25), (3, 4), 0),
        *(class_name, (1.0, 2.0, 30.0, 40.0), False, {"direction": "in"}),
    )


EVENTS = [
    an_event(1.0, EventKind.CROSSING, "door [a]", "person"),
    an_event(2.0, EventKind.VISIT, "yard", "person"),
    an_event(3.0, EventKind.CROSSING, "door [a]", "car"),
]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with three events in the working folder."""
    monkeypatch.chdir(tmp_path)
    run = StoredRun(RUN, BEGAN, BEGAN, BEGAN, "completed", "0", "digest", "tracklight", "")
    source = StoredSource(RUN, "gate", "/videos/gate.mp4", False, 640, 480, BEGAN, 0.0, 9.0, 250, True)
    with open_store("events.db", read_only=False) as store:
        records = [event_record(RUN, event, BEGAN + timedelta(seconds=event.start_s), "", "") for event in EVENTS]
        store.put([run_record(run), source_record(source), *records])
    return tmp_path / "events.db"


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """Runs `events …`; gives the exit code and what it printed."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main(["events", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_list(store: Path, said: Said) -> None:
    code, out, _ = said("list")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == ["time", "source", "kind", "rule", "class", "tracks", "lasts", "what", "id"]
    local = (BEGAN + timedelta(seconds=2)).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    assert lines[2].split() == [
        *local.split(),
        "gate",
        "visit",
        "yard",
        "person",
        "3",
        "4",
        "2.0",
        "s",
        "direction",
        "in",
        EVENTS[1].event_id,
    ]
    assert "door [a]" in lines[1]
    assert lines[-1] == "3 events"


@pytest.mark.parametrize(
    ("options", "n", "last"),
    [
        (["--kind", "visit"], 1, "1 event"),
        (["--kind", "visit", "--kind", "crossing"], 3, "3 events"),
        (["--rule", "door [a]", "--class", "car"], 1, "1 event"),
        (["--source", "gate", "--limit", "2"], 2, "the newest 2 of 3 events"),
        (["--since", "2.5"], 1, "1 event"),
        (["--until", "2026-05-01T08:00:02.5+00:00"], 2, "2 events"),
        (["--since", "2026-05-02"], 0, "0 events"),
        (["--run", RUN], 3, "3 events"),
        (["--run", "all"], 3, "3 events"),
        (["--store", "events.db"], 3, "3 events"),
    ],
)
def test_filters(store: Path, said: Said, options: list[str], n: int, last: str) -> None:
    code, out, _ = said("list", *options)
    assert code == 0
    assert out.splitlines()[-1] == last
    assert len([line for line in out.splitlines() if "direction in" in line]) == n


def test_show(store: Path, said: Said) -> None:
    code, out, _ = said("show", EVENTS[1].event_id[:6])
    shown = json.loads(out)
    assert code == 0
    assert (shown["run"], shown["kind"], shown["address"]) == (RUN, "visit", "/videos/gate.mp4")
    assert shown["start_utc"] == "2026-05-01T08:00:02.000Z"


def test_export(store: Path, said: Said) -> None:
    assert said("export", "e.jsonl", "--kind", "crossing")[0] == 0
    lines = [json.loads(line) for line in Path("e.jsonl").read_text().splitlines()]
    assert [line["start_s"] for line in lines] == [1.0, 3.0]
    code, out, _ = said("export", "new/e.csv")
    assert out == "wrote 3 events to new/e.csv\n"
    with Path("new/e.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert next((row["rule"], row["x2"], row["track_ids"], row["values"]) for row in rows) == (
        *("door [a]", "30.0", "3 4", '{"direction": "in"}'),
    )
    code, _, err = said("export", "e.jsonl")
    assert (code, "--exist-ok" in err) == (2, True)
    assert said("export", "e.jsonl", "--exist-ok")[0] == 0
    assert sorted(path.name for path in Path().iterdir()) == ["e.jsonl", "events.db", "new"]


def test_prune(store: Path, said: Said) -> None:
    # What it is about was recorded long ago.
    assert said("prune", "--days", "1") == (0, "deleted 3 events\n", "")
    assert said("list")[1] == "0 events\n"


def test_import(store: Path, said: Said) -> None:
    run = StoredRun("20270101", BEGAN, None, BEGAN, "failed", "0", "digest", "tracklight", "")
    source = StoredSource("20270101", "cam", "rtsp://cam", True, 640, 480, BEGAN, 0.0, 9.0, 250, True)
    late = [
        event_record("20270101", an_event(at, EventKind.VISIT, "yard", "car", "cam"), None, "", "") for at in (5.0, 6.0)
    ]
    path = keep_unsaved(parse_store_address("events.db"), "20270101", [run_record(run), source_record(source), *late])
    assert path.name == "events.unsaved-20270101.jsonl"
    for _ in range(2):
        code, out, _ = said("import", path)
        assert (code, out.startswith("read 2 events from")) == (0, True)
    with open_store("events.db") as opened:
        assert opened.count() == 5
        assert [run.status for run in opened.runs()] == ["completed", "failed"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["list", "--store", "none.db"], "no such event store"),
        (["list", "--store", "mysql://a:canary@b/c"], "found mysql://"),
        (["list", "--store", "text.txt"], "no whole SQLite database"),
        (["list", "--store", "postgresql://u:${NOT_SET_AT_ALL}@h/d"], "NOT_SET_AT_ALL is not set"),
        (["list", "--kind", "crosing"], "did you mean 'crossing'?"),
        (["list", "--source", "gat"], "did you mean 'gate'?"),
        (["list", "--rule", "yrad"], "--rule: found no 'yrad'; did you mean 'yard'?"),
        (["list", "--run", "2026"], "--run: found no '2026'"),
        (["list", "--since", "yesterday"], "found 'yesterday'"),
        (["list", "--limit", "0"], "wanted 1 or more"),
        (["show", "0000000000000000"], "found no such id"),
        (["show", EVENTS[0].event_id[:-1] + "x"], f"did you mean '{EVENTS[0].event_id}'?"),
        (["show", ""], "3 ids that begin so"),
        (["export", "e.xlsx"], "found the suffix '.xlsx'"),
        (["export", "text.txt/e.csv"], "not a folder"),
        (["prune"], "wanted --days or --max-mb"),
        (["prune", "--days", "-1"], "more than 0"),
        (["prune", "--days", "1", "--store", "none.db"], "no such event store"),
        (["import", "none.jsonl"], "No such file"),
        (["import", "text.txt"], "line 1: wanted a record"),
        (["import", "odd.jsonl"], "line 1: wanted a record"),
        ([], "SUB-VERB"),
    ],
)
def test_bad_input_is_one_line(store: Path, said: Said, arguments: list[str], says: str) -> None:
    Path("text.txt").write_text("no database at all\n" * 100)
    Path("odd.jsonl").write_text('{"table": "events", "run_id": 3}\n')
    code, out, err = said(*arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1
    assert "canary" not in err
    assert not Path("none.db").exists()


def test_which_store_is_meant(store: Path, said: Said) -> None:
    Path("second.sqlite").write_bytes(b"")
    assert "2 in the working folder (events.db, second.sqlite)" in said("list")[2]
    Path("second.sqlite").unlink()
    store.unlink()
    assert "wanted --store FILE or URL, found none" in said("list")[2]


def test_a_newer_store(store: Path, said: Said) -> None:
    with open_store("events.db", read_only=False) as opened:
        opened.engine.run("INSERT INTO schema_version (version) VALUES (9)")
    code, _, err = said("list")
    assert (code, "made by a newer Tracklight" in err, err.count("\n")) == (2, True, 1)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from pipeline.cli.main import main\n"
        "try: main(['events', '--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'cv2', 'av', 'pyarrow', 'psycopg') if m in sys.modules])"
    )
    root = Path(__file__).resolve().parents[3]
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert shown.stdout.splitlines()[-1] == "[]"


def test_a_database_s_password_is_shown_nowhere(
    new_database: Callable[[], str], said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database()
    monkeypatch.setenv("STORE_PASSWORD", "canary-password")
    hidden = url.replace("canary-password", "${STORE_PASSWORD}")
    code, out, err = said("list", "--store", hidden)
    assert (code, out) == (2, "")
    assert "empty database" in err
    assert "canary-password" not in err
    run = StoredRun(RUN, BEGAN, None, BEGAN, "completed", "0", "digest", "tracklight", "")
    source = StoredSource(RUN, "gate", "", False, 640, 480, None, None, None, 0, True)
    with open_store(url, read_only=False) as store:
        other = replace(source, source_id="other")
        store.put([run_record(run), source_record(source), source_record(other)])
        store.put([event_record(RUN, EVENTS[0], None, "", "")])
        assert store.count(EventFilter(sources=("gate",))) == 1
    code, out, _ = said("list", "--store", hidden)
    assert (code, out.splitlines()[-1]) == (0, "1 event")
    assert "0:00:01.000" in out
