"""The trainer. Nothing that only detects imports it."""
