"""The command line: one file per verb. Importing this package imports no verb."""

from pipeline.cli.main import main

__all__ = ["main"]
