"""What a user may write after --source."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import SourceError, UsageError
from sources.address import MAX_ID_LENGTH, SourceKind, expand_sources, safe_name


def pairs(*texts: str) -> list[tuple[str, str]]:
    return [(a.kind.value, a.source_id) for a in expand_sources(texts)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "recordings"
    place.mkdir()
    for name in ("street10.mp4", "street2.MP4", "a.jpg", "b.png", "notes.txt"):
        (place / name).write_bytes(b"x")
    return place


@pytest.mark.parametrize(
    ("text", "kind", "source_id"),
    [
        ("0", "camera", "cam0"),
        (" 02 ", "camera", "cam2"),
        ("/dev/video3", "camera", "cam3"),
        ("rtsp://user:pass-word@cam.lan/Streaming/101?token=abc", "network", "cam.lan-Streaming-101"),
        ("rtsp://10.0.0.7:554/live", "network", "10.0.0.7-554-live"),
        ("rtsp://[::1]:554/live", "network", "1-554-live"),
        ("http://host/a/index.m3u8", "network", "host-a-index"),
        ("https://host/clip.mp4?x=1", "network", "host-clip"),
        ("udp://:5000", "network", "udp-5000"),
        ("udp://@239.0.0.1:5000", "network", "239.0.0.1-5000"),
        ("RTMP://host/app/key", "network", "host-app-key"),
        ("srt://host:9000?mode=caller", "network", "host-9000"),
    ],
)
def test_cameras_and_urls(text: str, kind: str, source_id: str) -> None:
    assert pairs(text) == [(kind, source_id)]


def test_files_folders_and_globs(folder: Path) -> None:
    assert pairs(str(folder / "a.jpg")) == [("images", "a")]
    assert pairs(str(folder / "street10.mp4")) == [("video_file", "street10")]
    assert pairs(str(folder / "notes.txt")) == [("video_file", "notes")]
    assert pairs(str(folder)) == [("images", "recordings"), ("video_file", "street2"), ("video_file", "street10")]
    assert pairs(str(folder / "street*")) == [("video_file", "street2"), ("video_file", "street10")]
    assert pairs(str(folder / "*.jpg")) == [("images", "recordings")]
    assert pairs(f"file://{folder}/a.jpg") == [("images", "a")]


def test_ids_are_unique_whatever_the_case(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "Street2.mp4").write_bytes(b"x")
    (tmp_path / "street2-2.mp4").write_bytes(b"x")
    texts = [str(folder / "street2.MP4"), str(tmp_path / "Street2.mp4"), str(tmp_path / "street2-2.mp4"), "0", "0"]
    assert [i for _, i in pairs(*texts)] == ["street2", "Street2-2", "street2-2-2", "cam0", "cam0-2"]


def test_a_list_of_streams(folder: Path) -> None:
    listing = folder / "all.streams"
    listing.write_text("# cameras\nrtsp://u:p%23ss@cam/1#a  # door\n\n0\nstreet2.MP4\n" + str(folder / "a.jpg") + "\n")
    found = expand_sources([str(listing)])
    assert [a.kind for a in found] == [SourceKind.NETWORK, SourceKind.CAMERA, SourceKind.VIDEO_FILE, SourceKind.IMAGES]
    assert found[0].value == "rtsp://u:p%23ss@cam/1#a"
    assert found[2].value == str(folder / "street2.MP4")


def test_errors_in_a_list_name_the_line(folder: Path) -> None:
    listing = folder / "all.streams"
    listing.write_text("0\n\nstreet3.MP4\n")
    with pytest.raises(SourceError, match=r"all\.streams, line 3: .*did you mean .*street2\.MP4"):
        expand_sources([str(listing)])
    listing.write_text("# nothing\n")
    with pytest.raises(SourceError, match="found none"):
        expand_sources([str(listing)])
    listing.write_text("other.streams\n")
    with pytest.raises(UsageError, match="another list"):
        expand_sources([str(listing)])


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("", UsageError, "empty text"),
        ("ftp://host/a.mp4", UsageError, "found 'ftp'"),
        ("rtsp:///live", UsageError, "no host"),
        ("rtsp://host:port/live", UsageError, "wanted scheme://user:password@host:port/path"),
        ("{folder}/strret2.MP4", SourceError, "did you mean .*street2"),
        ("{folder}/zzz.mp4", SourceError, "exists, check the name"),
        ("{folder}/no/such/a.mp4", SourceError, "does not exist either"),
        ("{folder}/*.mkv", SourceError, "no file that matches"),
        ("{folder}/*.txt", SourceError, "1 matching files, none of them"),
        ("{folder}/..", SourceError, "it has the folders .*recordings"),
    ],
)
def test_what_cannot_be_a_source_is_one_clear_line(folder: Path, text: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as raised:
        expand_sources([text.format(folder=folder)])
    assert "\n" not in str(raised.value)


def test_no_credentials_in_ids_texts_and_errors() -> None:
    (address,) = expand_sources(["rtsp://viewer:hunter2canary@cam/live"])
    assert "hunter2canary" not in repr(address) + str(address) + address.source_id
    assert "viewer" not in address.source_id


@pytest.mark.parametrize(
    "text", ["gopher://viewer:canary@cam/1", "rtsp://viewer:cana#ry@cam/1", "rtsp://v:12#canary@cam"]
)
def test_no_password_in_errors_even_where_it_breaks_the_url(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        expand_sources([text])
    assert "cana" not in str(raised.value)


@given(st.text())
def test_every_name_is_safe_as_a_part_of_a_file_name(text: str) -> None:
    name = safe_name(text)
    assert 0 < len(name) <= MAX_ID_LENGTH
    assert Path(name).name == name
    assert not name.startswith(".")
    assert not set(name) & set('/\\:*?"<>|\0\n ')
