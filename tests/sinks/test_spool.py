"""What waits for delivery: bounds, order, restarts, kills, disks that refuse."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.errors import SinkError
from sinks.backlog import Backlog, MemoryBacklog
from sinks.spool import Spool

pytestmark = pytest.mark.timeout(30)
Make = Callable[[], Backlog]


@pytest.fixture(params=["memory", "disk"])
def backlog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backlog]:
    made: Backlog = MemoryBacklog(1000) if request.param == "memory" else Spool(tmp_path / "spool", 1_000_000)
    yield made
    made.close()


def drain(backlog: Backlog) -> list[int]:
    found = []
    while (item := backlog.next()) is not None:
        found.append(item[1]["n"])
    return found


def test_first_in_first_out_until_it_has_arrived(backlog: Backlog) -> None:
    for n in range(5):
        backlog.append({"n": n})
    first = backlog.next()
    assert first is not None
    assert first[1] == {"n": 0}
    assert drain(backlog) == [1, 2, 3, 4]
    assert backlog.next() is None
    backlog.done(first[0] + 1)
    assert backlog.n_waiting == 3
    backlog.rewind()
    backlog.append({"n": 5})
    assert drain(backlog) == [2, 3, 4, 5]


def test_what_arrived_twice_counts_once(backlog: Backlog) -> None:
    for n in range(3):
        backlog.append({"n": n})
    numbers = [backlog.next()[0] for _ in range(3)]  # type: ignore[index]
    for number in (numbers[1], numbers[0], numbers[1], numbers[2], numbers[2]):
        backlog.done(number)
    assert (backlog.n_waiting, backlog.n_dropped) == (0, 0)


def test_memory_is_bounded() -> None:
    backlog = MemoryBacklog(3)
    for n in range(10):
        backlog.append({"n": n})
    assert (backlog.n_waiting, backlog.n_dropped) == (3, 7)
    assert drain(backlog) == [7, 8, 9]


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.jsonl"))


def test_a_spool_is_bounded_and_drops_the_oldest(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 16_000)
    largest = 0
    for n in range(2000):
        spool.append({"n": n, "text": "é" * 20})
        largest = max(largest, size_of(tmp_path))
    assert 14_000 < largest <= 16_000
    found = drain(spool)
    assert found == list(range(found[0], 2000))
    assert len(found) == spool.n_waiting
    assert len(found) + spool.n_dropped == 2000
    spool.close()
    spool.close()


def test_it_goes_on_after_a_restart(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 100_000)
    for n in range(500):
        spool.append({"n": n})
    for _ in range(200):
        item = spool.next()
    assert item is not None
    spool.done(item[0])
    spool.close()
    spool = Spool(tmp_path, 100_000)
    assert spool.n_waiting == 300
    spool.append({"n": 500})
    assert drain(spool) == list(range(200, 501))
    spool.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["append", "next", "done", "rewind", "restart"]), st.integers(1, 12))))
def test_it_behaves_like_a_list(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]) -> None:
    folder = tmp_path_factory.mktemp("spool")
    spool = Spool(folder, 2_000)  # segments of some ten records
    waiting: list[int] = []
    given_out = n_appended = 0
    last: int | None = None
    for step, times in steps:
        for _ in range(times):
            if step == "append" and len(waiting) < 100:
                spool.append({"n": n_appended})
                waiting.append(n_appended)
                n_appended += 1
            elif step == "next":
                item = spool.next()
                assert (None if item is None else item[1]["n"]) == (
                    waiting[given_out] if given_out < len(waiting) else None
                )
                if item is not None:
                    given_out, last = given_out + 1, item[0]
        if step == "done" and last is not None:
            spool.done(last)
            waiting, given_out, last = waiting[given_out:], 0, None
        elif step == "rewind":
            spool.rewind()
            given_out, last = 0, None
        elif step == "restart":
            spool.close()
            spool = Spool(folder, 2_000)
            given_out, last = 0, None
        assert spool.n_waiting == len(waiting)
        assert spool.n_dropped == 0
    spool.close()


def test_a_file_that_somebody_took_away(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1_600)
    for n in range(30):
        spool.append({"n": n})
    spool.close()
    sorted(tmp_path.glob("*.jsonl"))[1].unlink()
    spool = Spool(tmp_path, 1_600)
    found = drain(spool)
    assert len(found) + spool.n_dropped == 30
    assert 0 < spool.n_dropped < 15
    spool.close()


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 100_000)
    for n in range(3):
        spool.append({"n": n})
    spool.close()
    with next(tmp_path.glob("*.jsonl")).open("ab") as file:
        file.write(b'{"n": 3, "te')
    spool = Spool(tmp_path, 100_000)
    spool.append({"n": 4})
    assert drain(spool) == [0, 1, 2, 4]
    spool.close()


def test_a_damaged_line_is_counted_and_passed_over(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 100_000)
    for n in range(3):
        spool.append({"n": n})
    spool.close()
    path = next(tmp_path.glob("*.jsonl"))
    path.write_bytes(path.read_bytes().replace(b'{"n":1}', b"\0\0\0\0\0\0\0"))
    spool = Spool(tmp_path, 100_000)
    assert drain(spool) == [0, 2]
    assert spool.n_dropped == 1
    spool.close()


KILLED = """
import os, sys
from pathlib import Path
from sinks.spool import Spool
spool = Spool(Path(sys.argv[1]), 10_000_000)
n = spool.n_waiting
while True:
    spool.append({"n": n})
    n += 1
    print(n, flush=True)
"""


def test_a_kill_loses_nothing_that_was_kept(tmp_path: Path) -> None:
    kept = 0
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _line in range(200):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        said = [int(line) for line in process.stdout if line.endswith("\n")]
        process.stdout.close()
        process.wait()
        kept = said[-1] if said else kept + 200
        spool = Spool(tmp_path, 10_000_000)
        found = drain(spool)
        spool.close()
        assert found == list(range(len(found)))
        assert len(found) >= kept
        kept = len(found)


def test_two_cannot_share_a_folder(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1_000)
    with pytest.raises(SinkError, match="another one uses it"):
        Spool(tmp_path, 1_000)
    spool.close()
    Spool(tmp_path, 1_000).close()


@pytest.mark.parametrize("what", ["file", "garbage"])
def test_a_folder_that_cannot_be_used(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "spool"
    if what == "file":
        folder.write_text("precious")
    else:
        folder.mkdir()
        (folder / "arrived").write_text("gibberish")
    n_open = sum(1 for _ in Path("/proc/self/fd").iterdir())
    with pytest.raises(SinkError, match="spool"):
        Spool(folder, 1_000)
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == n_open


def test_a_record_too_large_for_the_bound(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1_000)
    spool.append({"n": 0, "picture": "x" * 2_000})
    spool.append({"n": 1, "picture": "x" * 900})  # larger than a segment
    spool.append({"n": 2})
    assert drain(spool)[-1] == 2
    assert spool.n_dropped >= 1
    assert size_of(tmp_path) <= 1_000
    spool.close()


def test_a_full_disk_costs_records_and_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(tmp_path, 100_000)
    spool.append({"n": 0})
    write = os.write

    def refuse(descriptor: int, data: bytes) -> int:
        if data.startswith(b'{"n"'):
            return write(descriptor, data[:3])  # a part of it, as a disk does that is nearly full
        return write(descriptor, data)

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", refuse)
    spool.append({"n": 1})
    monkeypatch.setattr(os, "write", full)
    spool.append({"n": 2})
    monkeypatch.setattr(os, "write", write)
    spool.append({"n": 3})
    assert drain(spool) == [0, 3]
    assert spool.n_dropped == 2
    assert caplog.text.count("the disk is full") == 1
    spool.close()
    assert [json.loads(line)["n"] for path in tmp_path.glob("*.jsonl") for line in path.read_text().splitlines()] == [
        0,
        3,
    ]
