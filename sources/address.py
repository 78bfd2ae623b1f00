"""From what a user writes after `--source` to what is to be opened: kinds, expansion, and names for the results."""

from __future__ import annotations

import difflib
import glob
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.core.errors import SourceError, UsageError
from pipeline.core.url import Url
from sources.natural import natural_key

_IMAGES = "jpg jpeg jpe png bmp dib webp tif tiff jp2 pbm pgm ppm pnm avif"
_VIDEOS = (
    "mp4 m4v mov mkv webm avi mpg mpeg mpe m2v ts mts m2ts vob flv f4v wmv asf 3gp 3g2 ogv ogg mxf gif mjpeg mjpg "
    "h264 264 avc h265 265 hevc ivf y4m dav nut rm rmvb dv"
)
IMAGE_SUFFIXES = frozenset(f".{name}" for name in _IMAGES.split())
VIDEO_SUFFIXES = frozenset(f".{name}" for name in _VIDEOS.split())
"""Which files of a folder are videos. A file that is named itself is opened whatever it ends in."""
NETWORK_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "rtp", "srt", "tcp")
MAX_ID_LENGTH = 64


class SourceKind(StrEnum):
    """What an address leads to; also the key of the source in the registry."""

    VIDEO_FILE = "video_file"
    IMAGES = "images"
    CAMERA = "camera"
    NETWORK = "network"


@dataclass(frozen=True)
class SourceAddress:
    """One source to open.

    Attributes:
        kind: which source class opens it.
        value: a file, a folder or glob of images, a camera (`0` or `/dev/video0`), or a URL.
        source_id: unique within one `expand_sources`, safe as part of a file name, without credentials.
    """

    kind: SourceKind
    value: str
    source_id: str

    def __repr__(self) -> str:
        return f"SourceAddress({self.kind.value}, {str(Url(self.value))!r}, {self.source_id!r})"


def expand_sources(texts: Sequence[str]) -> list[SourceAddress]:
    """Every source that the texts name, in their order, with unique ids.

    Args:
        texts: each a video, an image, a folder, a glob, a camera (`0`, `/dev/video0`), a URL, or a `.streams` file
            with one of these a line (paths relative to that file; `#` begins a comment). All images of a folder or
            glob are one source; every video is its own.

    Raises:
        UsageError: a text is empty, or has a scheme that is not supported.
        SourceError: a file or folder does not exist, or holds nothing that can be opened.
    """
    addresses = [address for text in texts for address in parse_source(text)]
    taken: set[str] = set()
    unique = []
    for address in addresses:
        name, count = address.source_id, 1
        while name.casefold() in taken:
            count += 1
            name = f"{address.source_id}-{count}"
        taken.add(name.casefold())
        unique.append(replace(address, source_id=name))
    return unique


def parse_source(text: str) -> list[SourceAddress]:
    """The sources that one text names; ids are not made unique. Arguments and errors as for `expand_sources`."""
    text = text.strip()
    if not text:
        raise UsageError("source: wanted a file, folder, glob, camera number or URL, found an empty text")
    try:
        return _parse(text)
    except SourceError:
        raise
    except OSError as error:
        raise SourceError(
            f"{text}: wanted a file or folder, found one that cannot be reached: {error.strerror}"
        ) from error


def _parse(text: str) -> list[SourceAddress]:
    if text.isdecimal():
        return [SourceAddress(SourceKind.CAMERA, str(int(text)), f"cam{int(text)}")]
    if re.fullmatch(r"/dev/video\d+", text):
        return [SourceAddress(SourceKind.CAMERA, text, f"cam{text.removeprefix('/dev/video')}")]
    if Url.looks_like(text):
        return _parse_url(text)
    path = Path(text).expanduser()
    if path.suffix.lower() == ".streams" and path.is_file():
        return _parse_streams(path)
    if path.is_dir():
        return _parse_folder(path)
    if path.exists():
        return [_of_file(path)]
    if glob.has_magic(text):
        return _parse_glob(path)
    raise SourceError(_not_there(path))


def _parse_url(text: str) -> list[SourceAddress]:
    url = Url(text)
    if url.scheme == "file":
        return parse_source(unquote(urlsplit(text).path))
    if url.scheme not in NETWORK_SCHEMES:
        raise UsageError(f"source {url}: wanted one of {', '.join(NETWORK_SCHEMES)}, found {url.scheme!r}")
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        port = f"-{parts.port}" if parts.port else ""
    except ValueError:
        raise _malformed(url) from None
    if "@" in parts.fragment:
        raise _malformed(url)
    # udp://:5000 and srt://:5000 listen on this machine and name no host.
    if not host and not port:
        raise UsageError(f"source {url}: wanted scheme://host/path, found no host")
    path = Path(parts.path)
    tail = path.with_suffix("") if path.suffix.lower() in {".m3u8", *VIDEO_SUFFIXES} else path
    name = f"{host or url.scheme}{port}{tail if parts.path.strip('/') else ''}"
    return [SourceAddress(SourceKind.NETWORK, text, safe_name(name))]


def _malformed(url: Url) -> UsageError:
    # Nothing of the text is shown: where a password breaks the URL, its parts turn up as host, port or path.
    return UsageError(
        f"source {url.scheme}://...: wanted scheme://user:password@host:port/path, found a host or port that "
        "cannot be; in a password write # as %23, / as %2F, ? as %3F and @ as %40"
    )


def _parse_streams(path: Path) -> list[SourceAddress]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: wanted a text file with one source per line, found {error}") from error
    found: list[SourceAddress] = []
    for number, line in enumerate(lines, start=1):
        # A "#" inside a URL is a fragment or part of a password, so only one after a space begins a comment.
        entry = re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip()
        if not entry:
            continue
        if entry.lower().endswith(".streams"):
            raise UsageError(f"{path}, line {number}: wanted a source, found another list; name it on the command line")
        if not (entry.isdecimal() or Url.looks_like(entry) or Path(entry).expanduser().is_absolute()):
            entry = str(path.parent / entry)
        try:
            found += parse_source(entry)
        except (UsageError, SourceError) as error:
            raise type(error)(f"{path}, line {number}: {error}") from error
    if not found:
        raise SourceError(f"{path}: wanted one source per line, found none")
    return found


def _parse_folder(folder: Path) -> list[SourceAddress]:
    inside = sorted(folder.iterdir(), key=natural_key)
    files = [p for p in inside if p.is_file()]
    found = _of_files(files, images_value=str(folder), images_name=folder.resolve().name)
    if not found:
        folders = [p.name for p in inside if p.is_dir()][:3]
        hint = f"; it has the folders {', '.join(folders)}" if folders else ""
        raise SourceError(f"{folder}: wanted images or videos, found none in this folder{hint}")
    return found


def _parse_glob(pattern: Path) -> list[SourceAddress]:
    # Path.glob takes no absolute patterns.
    matches = [Path(p) for p in glob.glob(str(pattern), recursive=True)]  # noqa: PTH207
    files = sorted((p for p in matches if p.is_file()), key=natural_key)
    found = _of_files(files, images_value=str(pattern), images_name=files[0].resolve().parent.name if files else "")
    if not found:
        raise SourceError(
            f"{pattern}: wanted images or videos, found {len(files)} matching files, none of them an image or a video"
            if files
            else f"{pattern}: wanted images or videos, found no file that matches; check the folder and the pattern"
        )
    return found


def _of_files(files: Iterable[Path], *, images_value: str, images_name: str) -> list[SourceAddress]:
    files = list(files)
    found = [_of_file(p) for p in files if p.suffix.lower() in VIDEO_SUFFIXES]
    if any(p.suffix.lower() in IMAGE_SUFFIXES for p in files):
        found.insert(0, SourceAddress(SourceKind.IMAGES, images_value, safe_name(images_name)))
    return found


def _of_file(path: Path) -> SourceAddress:
    kind = SourceKind.IMAGES if path.suffix.lower() in IMAGE_SUFFIXES else SourceKind.VIDEO_FILE
    return SourceAddress(kind, str(path), safe_name(path.stem))


def _not_there(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"{path}: wanted a file or folder, found nothing there; the folder {folder} does not exist either"
    near = difflib.get_close_matches(path.name, [p.name for p in folder.iterdir()], n=1, cutoff=0.7)
    shown = "the current folder" if folder == Path() else folder
    hint = f"; did you mean {folder / near[0]}?" if near else f"; {shown} exists, check the name"
    return f"{path}: wanted a file or folder, found nothing there{hint}"


def safe_name(text: str) -> str:
    """The text as a part of a file name: letters, digits, `.`, `_` and `-`, never empty or beginning with a dot."""
    return re.sub(r"[^\w.-]+", "-", text)[:MAX_ID_LENGTH].strip("-.") or "source"
