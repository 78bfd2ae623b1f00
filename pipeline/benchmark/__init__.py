"""Measuring: stages alone, the whole pipeline, and whether two results differ by more than noise."""
