"""Annotations that people corrected in other tools come back and become a data set to train on."""
