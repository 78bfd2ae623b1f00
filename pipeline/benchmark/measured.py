"""What one measuring process found out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.benchmark.figures import StageFigures


@dataclass(frozen=True, slots=True)
class Measured:
    """One job's answer.

    Attributes:
        stages: figures by stage.
        peak_memory_mb: the most memory that the process held, or None where the system does not tell.
        load_s: opening the network and its warm-up (s); None where there is no network.
        ran: what `auto` stood for: backend, precision, device, height and width of the largest input.
        notes: further facts, by name.
    """

    stages: Mapping[str, StageFigures] = field(default_factory=dict)
    peak_memory_mb: float | None = None
    load_s: float | None = None
    ran: Mapping[str, object] = field(default_factory=dict)
    notes: Mapping[str, object] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Measured:
        """What `to_json` gave."""
        stages = {name: StageFigures(**figures) for name, figures in values["stages"].items()}
        return cls(**{**values, "stages": stages})
