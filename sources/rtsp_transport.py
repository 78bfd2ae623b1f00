"""Whether RTP comes over TCP or UDP, remembered from one connection of a source to the next."""

from __future__ import annotations

import logging
from typing import Literal

log = logging.getLogger(__name__)

Transport = Literal["tcp", "udp"]

UDP_TRIAL_S = 3.0
"""A stream over UDP that gives nothing for so long is held to be kept out by a firewall, unless it gave some before."""


class RtspTransport:
    """The transport of one source. UDP that brings nothing is given up for TCP, once and for good, and said once.

    Args:
        wanted: what the configuration asks for.

    Attributes:
        current: what the next connection uses.
        is_proven: a frame has come over it.
    """

    def __init__(self, wanted: Transport) -> None:
        self.current: Transport = wanted
        self.is_proven = wanted == "tcp"

    def limit_s(self, configured_s: float) -> float:
        """How long a connection may be silent, instead of so long."""
        return configured_s if self.is_proven else min(configured_s, UDP_TRIAL_S)

    def fall_back(self, shown: str) -> bool:
        """Take TCP where UDP never brought anything; False where that is no way out."""
        if self.is_proven:
            return False
        log.warning("%s: no picture came over UDP (a firewall?); using TCP from now on", shown)
        self.current, self.is_proven = "tcp", True
        return True
