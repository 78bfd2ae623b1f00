"""Which videos an archive holds, and what they are called."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import SourceError, UsageError
from pipeline.core.url import Url
from sources.address import VIDEO_SUFFIXES
from sources.natural import natural_key

NO_TEXT = "wanted a file name that is text (UTF-8), found other bytes; rename it"


@dataclass(frozen=True, slots=True)
class FoundVideo:
    """A video's name (its path below the root, with `/`), and the size (bytes) and time by which a change is seen."""

    name: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class FoundArchive:
    """Videos in natural order of their names, all below `root`.

    Attributes:
        root: the folder that holds them.
        videos: those that can be annotated.
        unnamed: those whose names are no text (UTF-8), which no format could name; other bytes shown in hexadecimal.
    """

    root: Path
    videos: tuple[FoundVideo, ...]
    unnamed: tuple[str, ...] = ()


def find_videos(sources: Sequence[str], out: Path) -> FoundArchive:
    """All videos that the texts name, those in folders below included.

    The root is the folder that was named, the fixed part of a glob or the folder of a file; of several, the one folder
    that holds them all. Files and folders whose names begin with a dot are left out, and links to folders not followed.

    Args:
        sources: folders, globs (`**` reaches into folders) and files.
        out: where results go, which must lie apart.

    Raises:
        UsageError: no source, one that is no file, only names that are no text, or `out` among the sources.
        SourceError: nothing there, no video found, or a folder that cannot be read.
    """
    if not sources:
        raise UsageError("annotate: wanted --source (a folder, glob or files), found none")
    found = [_find(text) for text in sources]
    home = out.resolve()
    for root, paths in found:
        if any(path.resolve().is_relative_to(home) for path in (root, *paths)):
            raise UsageError(f"{out}: wanted a folder apart from the videos, found {root} in it; name another with -o")
    for text, (root, _) in zip(sources, found, strict=True):
        if _reaches_below(text) and home.is_relative_to(root.resolve()):
            raise UsageError(
                f"{out}: wanted a folder outside of the source {text}, found it inside; name another with -o"
            )
    videos = {path for _, inside in found for path in inside}
    if not videos:
        raise SourceError(f"{', '.join(sources)}: wanted videos, found none, nor in folders below")
    root = Path(os.path.commonpath([root for root, _ in found]))
    ordered = sorted(videos, key=natural_key)
    named = [path for path in ordered if _is_text(str(path))]
    unnamed = [_shown(path.relative_to(root)) for path in ordered if not _is_text(str(path))]
    if not named:
        raise UsageError(f"{_shown(ordered[0])}: {NO_TEXT}")
    return FoundArchive(root, tuple(_found_video(root, path) for path in named), tuple(unnamed))


def _find(text: str) -> tuple[Path, list[Path]]:
    """The root of one text, and the videos that it names."""
    if Url.looks_like(text) or text.isdecimal():
        raise UsageError(
            f"source {text}: wanted a folder, glob or file of recorded video; `tracklight run` takes others"
        )
    path = Path(os.path.abspath(Path(text).expanduser()))  # noqa: PTH100 - resolve() would follow links
    if path.is_dir():
        return path, list(_below(path))
    if path.exists():
        return path.parent, [path]
    if not glob.has_magic(text):
        raise SourceError(f"{text}: wanted a folder, glob or file, found nothing there; check the path")
    fixed = path
    while glob.has_magic(str(fixed)):
        fixed = fixed.parent
    # Path.glob takes no absolute patterns.
    matches = [Path(match) for match in glob.glob(str(path), recursive=True)]  # noqa: PTH207
    return fixed, [match for match in matches if match.is_file() and _is_video(match)]


def _below(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise SourceError(
            f"{error.filename}: wanted to look into this folder, found: {error.strerror}; make it readable"
        ) from error

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (path for name in files if _is_video(path := Path(parent, name)) and path.is_file())


def _is_video(path: Path) -> bool:
    # Names that begin with a dot are what systems and copying programs leave behind (`._clip.mp4`).
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")


def _reaches_below(text: str) -> bool:
    return Path(text).expanduser().is_dir() or "**" in text


def _found_video(root: Path, path: Path) -> FoundVideo:
    status = path.stat()
    return FoundVideo(path.relative_to(root).as_posix(), status.st_size, status.st_mtime_ns)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(path: Path) -> str:
    return os.fsencode(path).decode(errors="backslashreplace")
