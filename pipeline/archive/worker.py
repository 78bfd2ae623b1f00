"""What a worker process does. Imports little, so that threads are limited before any library counts cores."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from pipeline.archive.job import Job, Task

if TYPE_CHECKING:
    from pipeline.archive.job import Message

READY = "ready"


def work(job: Job, parent: Connection, *, verbose: bool) -> None:
    """Annotate the videos that come through the connection, until it is closed."""
    # Ctrl-C reaches every process of a terminal; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ["OMP_NUM_THREADS"] = str(job.threads)
    _set_up_logging(verbose)
    with _EndingWithParent():
        _serve(job, parent)


def _serve(job: Job, parent: Connection) -> None:
    from pipeline.archive.annotator import Annotator, describe

    lock = threading.Lock()

    def tell(message: Message | str) -> None:
        with lock:
            parent.send(message)

    try:
        annotator = Annotator(job, tell)
    except Exception as error:
        logging.getLogger(__name__).debug("no annotator", exc_info=True)
        tell(describe(error))
        return
    try:
        tell(READY)
        while True:
            task: Task = parent.recv()
            tell(annotator.annotate(task))
    except (EOFError, OSError):
        # The parent has closed its end: nothing is left to do.
        return
    finally:
        annotator.close()


class _EndingWithParent:
    """While inside, the process ends at once when its parent is killed: nobody would take its results."""

    def __init__(self) -> None:
        self._here, self._there = multiprocessing.Pipe()
        self._thread = threading.Thread(target=self._watch, name="parent")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._there.close()
        self._thread.join()
        self._here.close()

    def _watch(self) -> None:
        parent = multiprocessing.parent_process()
        if parent is not None and parent.sentinel in wait([parent.sentinel, self._here]):
            os._exit(1)


def _set_up_logging(verbose: bool) -> None:
    # Lines of workers would run through the progress of the parent; what matters of them is in the records.
    if verbose:
        logging.basicConfig(level=logging.DEBUG, format="%(process)d %(levelname)s %(name)s: %(message)s", force=True)
    else:
        logging.basicConfig(level=logging.CRITICAL, handlers=[logging.NullHandler()], force=True)
        logging.getLogger("libav").setLevel(logging.CRITICAL)
