"""Hardware decoders: choosing one, and opening a container with it."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Literal

from av.codec.hwaccel import HWAccel, hwdevices_available
from av.container import InputContainer

from pipeline.core.errors import SourceError
from sources.libav import OpenFailure, OpenOptions, explain, open_input

log = logging.getLogger(__name__)

HwDecode = Literal["none", "auto", "cuda", "qsv", "vaapi", "videotoolbox", "d3d11va", "d3d12va", "vulkan"]
"""`none` = software; `auto` = the first that works, software otherwise; a name = that one or an error."""

_PREFERRED = ("cuda", "videotoolbox", "qsv", "vaapi", "d3d12va", "d3d11va")


def open_with_hardware(target: str, options: OpenOptions, hw_decode: HwDecode, shown: str) -> InputContainer:
    """Open a container with the hardware decoder that the configuration asks for.

    Args:
        target: what FFmpeg opens, with its credentials.
        options: how; `hwaccel` is filled in here.
        hw_decode: which decoder.
        shown: what messages call the source.

    Raises:
        OpenFailure: FFmpeg refused the input itself.
        SourceError: a decoder was named and cannot decode this input here.
    """
    if hw_decode == "none":
        return open_input(target, options)
    if hw_decode == "auto":
        return _open_with_any(target, options, shown)
    available = hwdevices_available()
    if hw_decode not in available:
        raise SourceError(
            f"{shown}: wanted the hardware decoder {hw_decode!r}, but this build of FFmpeg has only "
            f"{', '.join(available) or 'none'}; set hw_decode to one of them, auto or none"
        )
    try:
        return open_input(target, replace(options, hwaccel=HWAccel(hw_decode, allow_software_fallback=False)))
    except OpenFailure as failure:
        # A missing file or a refused password must not be reported as a hardware problem.
        open_input(target, options).close()
        raise SourceError(
            f"{shown}: wanted the hardware decoder {hw_decode!r}, but it cannot decode this here "
            f"({explain(failure.error, failure.log)}); set hw_decode to auto or none"
        ) from failure


def _open_with_any(target: str, options: OpenOptions, shown: str) -> InputContainer:
    available = hwdevices_available()
    for name in (n for n in _PREFERRED if n in available):
        try:
            container = open_input(target, replace(options, hwaccel=HWAccel(name, allow_software_fallback=True)))
        except OpenFailure as failure:
            log.debug("%s: hardware decoder %s: %s", shown, name, failure)
            continue
        if any(s.codec_context is not None and s.codec_context.is_hwaccel for s in container.streams.video):
            log.info("%s: decoding with %s", shown, name)
            return container
        container.close()
    log.info("%s: no hardware decoder works here; decoding in software", shown)
    return open_input(target, options)
