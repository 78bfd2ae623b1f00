"""A whole archive of videos, annotated in one resumable command."""
