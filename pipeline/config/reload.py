"""A configuration file that changed while its run goes on (SIGHUP)."""

from __future__ import annotations

import logging
from collections.abc import Callable

from pipeline.config.live_control import LiveControl
from pipeline.config.schema import RunConfig
from pipeline.core.errors import TracklightError

log = logging.getLogger(__name__)


def reload(control: LiveControl, read: Callable[[], RunConfig]) -> None:
    """Read the configuration again and bring the run in line with it; an error leaves the run as it is.

    Args:
        control: steers the run.
        read: reads the file, with the flags of the command line over it. Raises TracklightError.
    """
    try:
        changes = control.adopt(read())
    except TracklightError as error:
        log.warning("configuration not taken over, the run goes on as it was: %s", error)
        return
    log.warning("configuration read again: %s", changes)
