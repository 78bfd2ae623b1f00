"""The inner loops of the rules in NumPy. The compiled build, _rules.pyx, gives the same, bit for bit."""

from pipeline.analytics.headcount import Headcount
from pipeline.analytics.sides import Sides
from pipeline.analytics.sightings import Sightings
from pipeline.analytics.slopes import Slopes
from pipeline.analytics.stays import Stays

__all__ = ["Headcount", "Sides", "Sightings", "Slopes", "Stays"]
