"""Names, the cache and downloads, against a server on the loopback interface."""

from __future__ import annotations

import hashlib
import http.server
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from detector import zoo
from detector.checkpoint import read_header
from detector.download import download, file_sha256
from detector.zoo import DEFAULT_WEIGHTS, cache_dir, list_models, resolve_weights
from pipeline.core.errors import CheckpointError, UsageError

CONTENT = b"weights " * 100_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT under /good, half of it under /short, and nothing elsewhere."""

    def do_GET(self) -> None:
        if self.path not in ("/good", "/short"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT if self.path == "/good" else CONTENT[: len(CONTENT) // 2])
        self.server.served.append(self.path)  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as running:
        running.served = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running  # type: ignore[misc]
        running.shutdown()
        thread.join()


@pytest.fixture
def url(server: http.server.HTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRACKLIGHT_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


def publish(monkeypatch: pytest.MonkeyPatch, url: str, sha256: str | None) -> None:
    entry = replace(zoo._WEIGHTS[0], name="made", url=url, file_name="made.pt", sha256=sha256)
    monkeypatch.setattr(zoo, "_WEIGHTS", (entry,))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_a_download_is_verified_and_complete(url: str, cache: Path) -> None:
    assert download(f"{url}/good", cache / "x.pt", DIGEST.upper()) == DIGEST
    assert (cache / "x.pt").read_bytes() == CONTENT
    assert files(cache) == ["x.pt"]


@pytest.mark.parametrize(
    ("path", "sha256", "message"),
    [
        ("good", "0" * 64, f"wanted SHA-256 {'0' * 64}, found {DIGEST}; nothing was kept"),
        ("short", None, "ended early; try again"),
        ("none", None, "the server says 404 Not Found; fetch .* on another machine and put it at .*x.pt"),
    ],
)
def test_a_failed_download_leaves_nothing(url: str, cache: Path, path: str, sha256: str | None, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        download(f"{url}/{path}", cache / "x.pt", sha256)
    assert files(cache) == []
    assert "\n" not in str(caught.value)


def test_offline_tells_where_to_put_the_file(server: http.server.HTTPServer, cache: Path) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_port
    with pytest.raises(CheckpointError, match=r"cannot be reached .* put it at .*cache/x\.pt"):
        download(f"http://127.0.0.1:{port}/good", cache / "x.pt")


def test_a_failed_download_keeps_the_old_file(url: str, cache: Path) -> None:
    cache.mkdir()
    (cache / "x.pt").write_bytes(b"old")
    with pytest.raises(CheckpointError):
        download(f"{url}/short", cache / "x.pt")
    assert (cache / "x.pt").read_bytes() == b"old"


def test_a_name_is_downloaded_once(
    monkeypatch: pytest.MonkeyPatch, server: http.server.HTTPServer, url: str, cache: Path
) -> None:
    publish(monkeypatch, f"{url}/good", DIGEST)
    assert resolve_weights("made") == resolve_weights("made") == cache / "made.pt"
    assert server.served == ["/good"]  # type: ignore[attr-defined]
    assert [row.on_disk for row in list_models()] == [cache / "made.pt"]


def test_a_changed_file_in_the_cache_is_not_used(monkeypatch: pytest.MonkeyPatch, url: str, cache: Path) -> None:
    publish(monkeypatch, f"{url}/good", DIGEST)
    resolve_weights("made").write_bytes(b"changed")
    with pytest.raises(CheckpointError, match="delete the file to fetch it anew"):
        resolve_weights("made")


def test_without_a_published_digest_the_first_one_is_kept_and_checked(
    monkeypatch: pytest.MonkeyPatch, url: str, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publish(monkeypatch, f"{url}/good", None)
    with caplog.at_level(logging.WARNING):
        path = resolve_weights("made")
    assert f"no digest is published for it; taken on trust over HTTPS, SHA-256 {DIGEST}" in caplog.text
    assert (cache / "made.pt.sha256").read_text() == f"{DIGEST}  made.pt\n"
    path.write_bytes(b"changed")
    with pytest.raises(CheckpointError, match="wanted SHA-256"):
        resolve_weights("made")
    path.unlink()
    publish(monkeypatch, f"{url}/short", None)
    with pytest.raises(CheckpointError, match="ended early"):
        resolve_weights("made")


def test_the_users_digest_goes_before_the_published_one(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    publish(monkeypatch, f"{url}/good", "0" * 64)
    assert file_sha256(resolve_weights("made", DIGEST)) == DIGEST


def test_a_path_is_itself(tmp_path: Path) -> None:
    (tmp_path / "mine.pt").write_bytes(CONTENT)
    assert resolve_weights(str(tmp_path / "mine.pt")) == tmp_path / "mine.pt"
    assert resolve_weights(str(tmp_path / "mine.pt"), DIGEST) == tmp_path / "mine.pt"
    with pytest.raises(CheckpointError, match="wanted SHA-256"):
        resolve_weights(str(tmp_path / "mine.pt"), "0" * 64)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("yolov7-tinny", r"found neither at 'yolov7-tinny'; did you mean 'yolov7-tiny'\?"),
        ("/no/such/file.pt", "wanted a file or the name of a model, found neither .*lists the names"),
    ],
)
def test_unknown_weights(text: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        resolve_weights(text)


def test_a_folder_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="found a folder"):
        resolve_weights(str(tmp_path))
    with pytest.raises(UsageError, match="found an empty text"):
        resolve_weights("")


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("TRACKLIGHT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "tracklight"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "tracklight"


def test_the_table_is_sound() -> None:
    rows = [row.weights for row in list_models()]
    assert len({entry.name for entry in rows}) == len({entry.file_name for entry in rows}) == len(rows)
    for entry in rows:
        assert entry.url.startswith("https://github.com/") or entry.name == DEFAULT_WEIGHTS
        assert entry.licence in ("GPL-3.0", "Apache-2.0", "MIT")
        assert entry.sha256 is None or len(bytes.fromhex(entry.sha256)) == 32
        assert entry.ap is None or 0.2 < entry.ap < 0.6
        assert entry.size_px % 32 == 0


def test_the_default_weights_are_a_part_of_the_package() -> None:
    path = resolve_weights(DEFAULT_WEIGHTS)
    assert path.stat().st_size < 16e6
    assert read_header(path).class_names == ("person", "bicycle", "car", "motorcycle", "bus", "truck")
    [row] = [row for row in list_models() if row.weights.name == DEFAULT_WEIGHTS]
    assert row.on_disk == path


def test_an_installation_without_the_default_weights_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("detector.zoo._SHIPPED_FOLDER", tmp_path)
    with pytest.raises(CheckpointError, match="default weights are missing from this installation; install it again"):
        resolve_weights(DEFAULT_WEIGHTS)
