"""Files that are there whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.core.whole_file import remove_unfinished, write_whole, write_whole_json


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("content", ["größe\n", "größe\n".encode(), memoryview("größe\n".encode())])
def test_a_file_is_made_and_replaced(tmp_path: Path, content: bytes | str, durable: bool) -> None:
    path = tmp_path / "a" / "b" / "x.txt"
    write_whole(path, "old", durable=durable)
    write_whole(path, content, durable=durable)
    assert path.read_text(encoding="utf-8") == "größe\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["x.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    write_whole(path, "old")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.json"]


def test_what_a_killed_writer_left_is_replaced_or_removed(tmp_path: Path) -> None:
    path = tmp_path / "weights" / "x.pt"
    write_whole(path, "old")
    left = path.with_name(".x.pt.part")
    left.write_text("hal")
    write_whole(path, "new")
    assert not left.exists()
    left.write_text("hal")
    (tmp_path / "mine.part").write_text("mine")
    remove_unfinished(tmp_path)
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["mine.part", "weights", "x.pt"]


@pytest.mark.parametrize("name", ["x" * 251 + ".txt", "ß" * 125 + ".txt", "鳥" * 83 + ".txt"])
def test_the_longest_names(tmp_path: Path, name: str) -> None:
    write_whole(tmp_path / name, "x")
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_the_file_is_made_with_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_whole(tmp_path / "whole", "x", durable=True)
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_json_with_a_record_a_line(tmp_path: Path) -> None:
    document = {"a": [{"b": 1}, {"b": "ü"}], "c": [], "d": "x"}
    write_whole_json(tmp_path / "x.json", document)
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert json.loads(text) == document
    assert '  {"b": "ü"}\n' in text
