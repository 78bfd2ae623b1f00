"""From what a user writes after `--output` to the kind of sink and where it writes."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pipeline.core.errors import UsageError
from pipeline.core.url import Url
from sinks.mqtt_place import parse_place


class OutputKind(StrEnum):
    """What an address leads to; also the key of the sink in the registry."""

    VIDEO_FILE = "video_file"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    MOT_TXT = "mot_txt"
    COCO_JSON = "coco_json"
    EVENT_STORE = "event_store"
    RTSP = "rtsp"
    RTSP_SERVE = "rtsp_serve"
    HLS = "hls"
    RECORDER = "recorder"
    DISPLAY = "display"
    WEB = "web"
    METRICS = "metrics"
    MQTT = "mqtt"
    NULL = "null"


SUFFIXES = {
    ".mp4": OutputKind.VIDEO_FILE,
    ".m4v": OutputKind.VIDEO_FILE,
    ".mov": OutputKind.VIDEO_FILE,
    ".mkv": OutputKind.VIDEO_FILE,
    ".m3u8": OutputKind.HLS,
    ".jsonl": OutputKind.JSONL,
    ".csv": OutputKind.CSV,
    ".parquet": OutputKind.PARQUET,
    ".txt": OutputKind.MOT_TXT,
    ".json": OutputKind.COCO_JSON,
    ".db": OutputKind.EVENT_STORE,
    ".sqlite": OutputKind.EVENT_STORE,
    ".sqlite3": OutputKind.EVENT_STORE,
}
FILE_KINDS = frozenset(SUFFIXES.values()) - {OutputKind.EVENT_STORE}
"""Files that a run makes. A store is added to."""
WORDS = {"display": OutputKind.DISPLAY, "null": OutputKind.NULL, "web": OutputKind.WEB}
DEFAULT_WEB_PORT = 8080
DEFAULT_METRICS_PORT = 9464
_FORMS = (
    ".mp4 .m4v .mov .mkv (video), .jsonl (JSON lines), .csv, .parquet, .txt (MOT challenge), .json (COCO results), "
    ".db .sqlite .sqlite3 (event store), postgresql://host/database, "
    "rtsp://host/path (push), rtsp-serve:PORT, .m3u8 (HLS), record:FOLDER, display, web, web:PORT, metrics:PORT, "
    "mqtt://host/prefix, null"
)


@dataclass(frozen=True)
class OutputAddress:
    """One output.

    Attributes:
        kind: which sink class writes it.
        value: a path, a URL, the port of a web page, or an empty text (`display`, `null`).
    """

    kind: OutputKind
    value: str

    def __repr__(self) -> str:
        return f"OutputAddress({self.kind.value}, {str(Url(self.value))!r})"


def parse_output(text: str) -> OutputAddress:
    """The output that a text names; a path named like a word (`display`, `null`, `web`) is written `./display`.

    Raises:
        UsageError: the form is not one of those known; offers the nearest.
    """
    text = text.strip()
    if not text:
        raise UsageError(f"output: wanted one of {_FORMS}; found an empty text")
    if text.lower() in WORDS:
        kind = WORDS[text.lower()]
        return OutputAddress(kind, str(DEFAULT_WEB_PORT) if kind is OutputKind.WEB else "")
    if match := re.fullmatch(r"web:(.*)", text, re.IGNORECASE):
        return OutputAddress(OutputKind.WEB, str(_port(match.group(1))))
    if match := re.fullmatch(r"metrics(?::(.*))?", text, re.IGNORECASE):
        port = match.group(1)
        return OutputAddress(
            OutputKind.METRICS, str(_port(str(DEFAULT_METRICS_PORT) if port is None else port, "metrics"))
        )
    if match := re.fullmatch(r"rtsp-serve:([^/]*)(/.*)?", text, re.IGNORECASE):
        return OutputAddress(OutputKind.RTSP_SERVE, _serve_place(match.group(1), match.group(2) or ""))
    if match := re.fullmatch(r"record:(.*)", text, re.IGNORECASE):
        return OutputAddress(OutputKind.RECORDER, _folder(match.group(1)))
    if Url.looks_like(text):
        return _parse_url(text)
    suffix = Path(text).suffix.lower()
    if suffix in SUFFIXES:
        return OutputAddress(SUFFIXES[suffix], str(Path(text).expanduser()))
    raise UsageError(f"output {text}: wanted one of {_FORMS}; found {_found(text, suffix)}")


def per_source_path(path: Path, source_id: str) -> Path:
    """Where one source of several writes: the source's id comes before the suffix, `out.mp4` -> `out.street.mp4`."""
    return path.with_name(f"{path.stem}.{source_id}{path.suffix}")


def _parse_url(text: str) -> OutputAddress:
    url = Url(text)
    if url.scheme in ("postgresql", "postgres"):
        return OutputAddress(OutputKind.EVENT_STORE, text)
    if url.scheme in ("mqtt", "mqtts"):
        parse_place(text)
        return OutputAddress(OutputKind.MQTT, text)
    if url.scheme != "rtsp":
        raise UsageError(
            f"output {url}: wanted rtsp://host/path to push to, postgresql:// to keep events or mqtt:// to tell them, "
            f"found {url.scheme}://"
        )
    if not re.match(r"(?i)rtsp://(?:[^/?#]*@)?(?:\[[0-9a-f:.]+\]|[\w.-]+)(?::\d+)?(?:[/?]|$)", text):
        raise UsageError(f"output {url}: wanted rtsp://host:port/path, found no host or a port that is no number")
    return OutputAddress(OutputKind.RTSP, text)


def _port(text: str, form: str = "web") -> int:
    if text.isdecimal() and 1 <= int(text) <= 65535:
        return int(text)
    raise UsageError(f"output {form}:{text}: wanted a port from 1 to 65535, found {text!r}")


def _serve_place(port: str, path: str) -> str:
    if not (port.isdecimal() and 0 <= int(port) <= 65535):
        raise UsageError(f"output rtsp-serve:{port}: wanted a port from 0 (any free one) to 65535, found {port!r}")
    if not re.fullmatch(r"(/[\w.-]+)*/?", path):
        raise UsageError(f"output rtsp-serve:{port}{path}: wanted a path of letters, digits and . _ -, found {path!r}")
    return f"rtsp-serve:{int(port)}{path.rstrip('/')}"


def _folder(text: str) -> str:
    if not text.strip():
        raise UsageError("output record: wanted record:FOLDER, found no folder")
    return str(Path(text.strip()).expanduser())


def _found(text: str, suffix: str) -> str:
    known = SUFFIXES if suffix else WORDS
    close = difflib.get_close_matches(suffix or text.lower(), known, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"the suffix {suffix}{hint}" if suffix else f"no suffix{hint}"
