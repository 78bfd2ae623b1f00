"""What a configuration says of its run, for the record."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from pathlib import Path

from pipeline.config.schema import RunConfig
from pipeline.config.validate import validated
from pipeline.core.event import EventKind
from pipeline.core.run_facts import RunFacts
from pipeline.core.url import redact

_RESULT_KEYS = {"sources", "source", "detector", "tracker", "analytics", "max_frames"}
"""Sections that change what is found; the others say where it goes and how fast."""


def run_facts(config: RunConfig) -> RunFacts:
    """The facts of a run. Credentials are left out.

    Raises:
        SourceError, UsageError: a source's address leads nowhere.
    """
    from sources.address import SourceKind, expand_sources

    files = {SourceKind.VIDEO_FILE, SourceKind.IMAGES}
    found = expand_sources(config.sources)
    settings = config.model_dump(mode="json", include=_RESULT_KEYS)
    text = _plain(redact(json.dumps(settings, sort_keys=True, ensure_ascii=False)))
    clip_folder, clip_kinds = _clips(config)
    return RunFacts(
        command=_plain(redact(shlex.join(sys.argv))),
        config_digest=hashlib.blake2b(text.encode(), digest_size=8).hexdigest(),
        addresses={
            a.source_id: _plain(str(Path(a.value).absolute()) if a.kind in files else redact(a.value)) for a in found
        },
        videos=frozenset(a.source_id for a in found if a.kind is SourceKind.VIDEO_FILE),
        clip_folder=clip_folder,
        clip_kinds=clip_kinds,
    )


def _plain(text: str) -> str:
    """Bytes of a file's name that are no text are written out: no database takes them as they are."""
    return text.encode(errors="backslashreplace").decode()


def _clips(config: RunConfig) -> tuple[str, frozenset[EventKind]]:
    """Where a recorder keeps clips, and of what. Raises ConfigError."""
    from sinks.address import OutputKind, parse_output
    from sinks.clips import ClipConfig

    section = config.sink.get("recorder", {}).get("clips", {})
    kinds: frozenset[EventKind] = frozenset(validated(ClipConfig, section, "sink.recorder.clips").kinds)
    outputs = (parse_output(text) for text in config.outputs)
    folder = next((output.value for output in outputs if output.kind is OutputKind.RECORDER), "")
    return (str(Path(folder).absolute()), kinds) if folder and kinds else ("", frozenset())
