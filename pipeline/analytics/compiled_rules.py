"""The inner loops of the rules, compiled. Gives, bit for bit, what numpy_rules.py gives; the documentation is there."""

from pipeline.analytics._motion import Cells, Conditions, Episodes, Slopes, SuddenStops, Ways
from pipeline.analytics._rules import Headcount, Sides, Sightings, Stays, alike

__all__ = [
    "Cells",
    "Conditions",
    "Episodes",
    "Headcount",
    "Sides",
    "Sightings",
    "Slopes",
    "Stays",
    "SuddenStops",
    "Ways",
    "alike",
]
