"""Streaming accuracy: what is shown at each moment, against what is true at that moment."""
