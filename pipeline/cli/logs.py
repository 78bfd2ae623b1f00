"""What the program says while it works: lines for people, or JSON for programs. Credentials are masked in both."""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
from datetime import UTC, datetime

from pipeline.core.url import RedactingFilter, redact

FORMATS = ("text", "json")
_ours = logging.getLogger("tracklight")
_THREAD_OF_SOURCE = re.compile(r"source:(.+)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that every verb has."""
    parser.add_argument("-v", "--verbose", action="store_true", help="log what goes on, and show tracebacks")
    parser.add_argument(
        "--log-format", choices=FORMATS, default="text", help="json: one object per line (default: %(default)s)"
    )


def set_up(*, verbose: bool, form: str = "text") -> None:
    """Send log records to the standard error output."""
    handler = logging.StreamHandler()
    handler.addFilter(RedactingFilter())
    if form == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s" if verbose else "%(message)s"))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.WARNING, handlers=[handler], force=True)
    _ours.setLevel(logging.INFO)
    logging.captureWarnings(form == "json")
    if not verbose:
        logging.getLogger("libav").setLevel(logging.CRITICAL)


class JsonFormatter(logging.Formatter):
    """One JSON object per record: time (UTC), level, logger, message; source and exception where there is one.

    The source is a record's own `source` (`extra={"source": ...}`), or that whose thread speaks.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        source = getattr(record, "source", None)
        if source is None and (match := _THREAD_OF_SOURCE.fullmatch(record.threadName or "")):
            source = match.group(1)
        if source is not None:
            line["source"] = redact(str(source))
        if record.exc_text or record.exc_info:
            line["exception"] = record.exc_text or self.formatException(record.exc_info or (None, None, None))
        return json.dumps(line, ensure_ascii=False)


def say(text: str, *, level: int = logging.INFO) -> None:
    """A line to whoever started the program: `tracklight: text`, or a record among the others where those are JSON."""
    if any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers):
        _ours.log(level, text)
    else:
        print(f"tracklight: {text}", file=sys.stderr)
