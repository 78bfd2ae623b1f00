"""Scores: COCO average precision, tracking metrics, streaming accuracy, and the readers of their formats."""
