"""Threads: channels, workers, the runner. Knows only the core."""
