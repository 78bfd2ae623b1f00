from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.core.errors import SinkError
from sinks.line_file import LineFile


@contextmanager
def files_up_to(n_bytes: int) -> Iterator[None]:
    """A disk that is full once a file has `n_bytes`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_records_are_on_disk_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    file = LineFile(path, exist_ok=False)
    file.append("one\n")
    assert path.read_text() == "one\n"
    file.append("zwölf\n")
    assert path.read_text(encoding="utf-8") == "one\nzwölf\n"
    file.close()
    file.close()
    with pytest.raises(SinkError, match="closed"):
        file.append("late\n")


def test_the_tail_stands_at_the_end_after_every_record(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    file = LineFile(path, exist_ok=False, tail="]")
    for text, expected in (("[", "[]"), ("1", "[1]"), (",22", "[1,22]")):
        file.append(text)
        assert path.read_text() == expected
    file.close()


@pytest.mark.parametrize("tail", ["", "]\n"])
def test_a_full_disk_leaves_whole_records(tmp_path: Path, tail: str) -> None:
    path = tmp_path / "a.txt"
    file = LineFile(path, exist_ok=False, tail=tail)
    file.append("whole\n")
    with files_up_to(len("whole\n" + tail) + 3), pytest.raises(SinkError, match=r"a\.txt: wanted to write"):
        file.append("this does not fit\n")
    assert path.read_text() == "whole\n" + tail
    file.append("again\n")
    file.close()
    assert path.read_text() == "whole\nagain\n" + tail
