from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pipeline.core.errors import SinkError, UsageError
from sinks.output_path import check_output, claim_output, write_failure


def test_checking_changes_nothing(tmp_path: Path) -> None:
    check_output(tmp_path / "new" / "deep" / "out.mp4", exist_ok=False)
    assert list(tmp_path.iterdir()) == []


def test_claiming_creates_folders_and_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "out.mp4"
    os.close(claim_output(path, exist_ok=False))
    assert path.read_bytes() == b""


def test_an_existing_file_is_kept_unless_it_may_go(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("precious")
    for call, error in ((check_output, UsageError), (claim_output, SinkError)):
        with pytest.raises(error, match="--exist-ok"):
            call(path, exist_ok=False)
    assert path.read_text() == "precious"
    check_output(path, exist_ok=True)
    assert path.read_text() == "precious"
    os.close(claim_output(path, exist_ok=True))
    assert path.read_text() == ""


@pytest.mark.parametrize("exist_ok", [False, True])
def test_a_folder_is_no_file(tmp_path: Path, exist_ok: bool) -> None:
    with pytest.raises(UsageError, match="found a folder"):
        check_output(tmp_path, exist_ok=exist_ok)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    with pytest.raises(UsageError, match="is a file, not a folder"):
        check_output(tmp_path / "plain" / "sub" / "out.mp4", exist_ok=False)


def test_a_folder_that_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may write anywhere, so the answer of the system is put in.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UsageError, match=f"{tmp_path} is not writable"):
        check_output(tmp_path / "sub" / "out.mp4", exist_ok=False)


@pytest.mark.parametrize(
    ("code", "said"),
    [(errno.ENOSPC, "disk is full"), (errno.EACCES, "Permission denied"), (errno.EIO, "Input/output error")],
)
def test_refusals_name_the_reason(code: int, said: str) -> None:
    text = write_failure(Path("out.mp4"), OSError(code, "x"))
    assert said in text
    assert text.startswith("out.mp4: ")
    assert "\n" not in text
