"""The inner loops of the rules in NumPy. The compiled ones, of compiled_rules.py, give the same, bit for bit."""

from pipeline.analytics.cells import Cells
from pipeline.analytics.conditions import Conditions
from pipeline.analytics.episodes import Episodes
from pipeline.analytics.headcount import Headcount
from pipeline.analytics.likeness import alike
from pipeline.analytics.sides import Sides
from pipeline.analytics.sightings import Sightings
from pipeline.analytics.slopes import Slopes
from pipeline.analytics.stays import Stays
from pipeline.analytics.sudden_stops import SuddenStops
from pipeline.analytics.ways import Ways

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
