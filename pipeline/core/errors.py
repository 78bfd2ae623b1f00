"""The error tree. Every class also inherits the builtin that a caller would expect.

    TracklightError
    +-- UsageError (ValueError)            the command line, or a value given to a function, is wrong
    |   +-- ConfigError                    a configuration file or --set is wrong
    |   +-- ShapeError                     an array has the wrong shape or dtype
    +-- MissingExtraError (ImportError)    an optional package is needed and absent
    +-- CheckpointError (ValueError)       weights cannot be read, or do not fit
    +-- DatasetError (ValueError)          labels or images of a data set cannot be used
    +-- SourceError (OSError)              a source cannot be opened or read
    +-- SinkError (OSError)                a sink cannot be opened or written
    +-- StoreError (OSError)               an event store cannot be reached, read or written
    +-- BackendError (RuntimeError)        an inference runtime failed or refused
    +-- TrainingError (RuntimeError)       a training run cannot go on
    +-- StageError (RuntimeError)          a stage of a running pipeline failed; names stage and frame

StopRequest is no error: a sink raises it when the person watching asks for the end.

A message says what was wanted, what was found and what to do, in one line.
"""

from __future__ import annotations


class TracklightError(Exception):
    """Base of every error that this project raises on purpose."""


class UsageError(TracklightError, ValueError):
    """A command line or an argument that cannot work."""


class ConfigError(UsageError):
    """A configuration value that cannot work; names its dotted path and file."""


class ShapeError(UsageError):
    """An array whose shape or dtype is not the documented one."""


class MissingExtraError(TracklightError, ImportError):
    """An optional package is needed and not installed."""

    def __init__(self, package: str, extra: str, needed_for: str) -> None:
        super().__init__(
            f"{needed_for} needs the package {package!r}; install it with: pip install 'tracklight[{extra}]'"
        )
        self.package = package
        self.extra = extra


class CheckpointError(TracklightError, ValueError):
    """Weights that cannot be read, are refused, or do not fit the model."""


class DatasetError(TracklightError, ValueError):
    """A data set that cannot be read or does not fit."""


class SourceError(TracklightError, OSError):
    """A source that cannot be opened or read.

    Args:
        message: one line, without credentials.
        retryable: whether opening the source again later may help (a live stream that broke: yes; a missing file,
            wrong credentials: no).
    """

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class SinkError(TracklightError, OSError):
    """A sink that cannot be opened or written."""


class StoreError(TracklightError, OSError):
    """An event store that cannot be reached, read or written now."""


class RefusedRecordError(StoreError):
    """An event store takes records, but not this one: for what it is, so that trying again does not help."""


class BackendError(TracklightError, RuntimeError):
    """An inference runtime failed, or cannot do what was asked."""


class TrainingError(TracklightError, RuntimeError):
    """A training run that cannot go on: the loss is no number any more."""


class StageError(TracklightError, RuntimeError):
    """A stage of a running pipeline failed. `__cause__` holds the original error."""

    def __init__(self, stage: str, cause: BaseException, frame: str | None = None) -> None:
        where = f"{stage} at {frame}" if frame else stage
        text = str(cause) if isinstance(cause, TracklightError) else f"{type(cause).__name__}: {cause}"
        super().__init__(f"{where}: {text}")
        self.stage = stage
        self.frame = frame
        self.__cause__ = cause


class StopRequest(Exception):
    """Raised by a sink's `write` when the person watching asks for the end (closed the window, pressed q)."""
