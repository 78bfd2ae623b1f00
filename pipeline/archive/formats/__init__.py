"""Writes annotated videos in the formats that other tools read."""

from __future__ import annotations

from pipeline.archive.formats.options import FormatOptions
from pipeline.archive.formats.write import FORMATS, write_format

__all__ = ["FORMATS", "FormatOptions", "write_format"]
