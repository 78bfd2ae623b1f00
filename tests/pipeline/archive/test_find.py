"""Which videos an archive holds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.archive.find import find_videos
from pipeline.core.errors import SourceError, TracklightError


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    root = tmp_path / "footage"
    files = ["b.mp4", "a10.MKV", "a2.avi", "day 1/x.mp4", "day 1/deep/y.mov", "day 1/._x.mp4", ".trash/z.mp4", "n.txt"]
    for name in [*files, "picture.jpg"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def names(sources: list[str], out: Path) -> list[str]:
    return [video.name for video in find_videos(sources, out).videos]


def test_a_folder_with_all_below(footage: Path, tmp_path: Path) -> None:
    found = find_videos([str(footage)], tmp_path / "out")
    assert found.root == footage
    assert [v.name for v in found.videos] == ["a2.avi", "a10.MKV", "b.mp4", "day 1/deep/y.mov", "day 1/x.mp4"]
    status = (footage / "b.mp4").stat()
    assert found.videos[2].size == status.st_size == 5
    assert found.videos[2].mtime_ns == status.st_mtime_ns


@pytest.mark.parametrize(
    ("sources", "root", "expected"),
    [
        (["day 1/x.mp4"], "day 1", ["x.mp4"]),
        (["*.mp4"], ".", ["b.mp4"]),
        (["day 1/*.mp4"], "day 1", ["x.mp4"]),
        (["**/*.m*"], ".", ["b.mp4", "day 1/deep/y.mov", "day 1/x.mp4"]),
        (["b.mp4", "day 1/deep/y.mov"], ".", ["b.mp4", "day 1/deep/y.mov"]),
        (["day 1", "day 1/x.mp4"], "day 1", ["deep/y.mov", "x.mp4"]),
        (["n.txt"], ".", ["n.txt"]),
    ],
)
def test_files_and_globs(footage: Path, tmp_path: Path, sources: list[str], root: str, expected: list[str]) -> None:
    found = find_videos([str(footage / one) for one in sources], tmp_path / "out")
    assert found.root == (footage / root)
    assert [video.name for video in found.videos] == expected


def test_links_are_found_and_links_to_folders_not_followed(footage: Path, tmp_path: Path) -> None:
    (footage / "link.mp4").symlink_to(footage / "b.mp4")
    (footage / "loop").symlink_to(footage)
    (footage / "broken.mp4").symlink_to(footage / "gone.mp4")
    assert names([str(footage)], tmp_path / "out") == [
        *("a2.avi", "a10.MKV", "b.mp4", "day 1/deep/y.mov", "day 1/x.mp4", "link.mp4")
    ]


def test_a_root_that_is_a_link_keeps_its_name(footage: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(footage)
    assert find_videos([str(tmp_path / "link")], tmp_path / "out").root == tmp_path / "link"


@pytest.mark.parametrize(
    ("sources", "out", "told"),
    [
        ([], "out", "wanted --source"),
        (["footage/gone"], "out", "found nothing there"),
        (["footage/*.flv"], "out", "wanted videos, found none"),
        (["footage/.trash"], "footage/.trash", "wanted a folder apart from the videos"),
        (["footage"], "footage/out", "wanted a folder outside of the source footage, found it inside"),
        (["footage"], "footage", "wanted a folder apart from the videos"),
        (["footage/**/*.mp4"], "footage/out", "wanted a folder outside of the source"),
        (["footage/day 1"], "footage", "wanted a folder apart from the videos"),
        (["rtsp://camera/stream"], "out", "wanted a folder, glob or file of recorded video"),
        (["0"], "out", "wanted a folder, glob or file of recorded video"),
    ],
)
def test_sources_that_cannot_work(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sources: list[str], out: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TracklightError) as refused:
        find_videos(sources, Path(out))
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_folder_that_cannot_be_read(footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SourceError, match=r"deep: wanted to look into this folder, found: Permission denied"):
        find_videos([str(footage)], tmp_path / "out")


def test_a_name_that_is_no_text(footage: Path, tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(footage) + b"/\xff.mp4")).touch()
    before = find_videos([str(footage)], tmp_path / "out")
    assert before.videos
    assert before.unnamed == ("\\xff.mp4",)
    assert "\\" not in "".join(video.name for video in before.videos)
    nameless = Path(os.fsdecode(os.fsencode(footage) + b"/only-\xff"))
    nameless.mkdir()
    (nameless / "a.mp4").touch()
    with pytest.raises(
        TracklightError, match=r"only-\\xff/a.mp4: wanted a file name that is text \(UTF-8\), found other"
    ):
        find_videos([str(nameless)], tmp_path / "out")
