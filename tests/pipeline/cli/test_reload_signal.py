"""SIGHUP reads the configuration again, in a thread of its own; everything is as before afterwards."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from pipeline.cli.signals import stop_on_signals


class Run:
    def stop(self, *, at_once: bool = False) -> None:
        raise AssertionError("SIGHUP must not stop the run")


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_hang_up_reads_again_and_is_put_back() -> None:
    before = signal.getsignal(signal.SIGHUP)
    called: list[str] = []
    done = threading.Event()

    def reload() -> None:
        called.append(threading.current_thread().name)
        done.set()

    with stop_on_signals(Run(), reload) as received:
        os.kill(os.getpid(), signal.SIGHUP)
        assert done.wait(5)
    assert called == ["reload"]
    assert received == []
    assert signal.getsignal(signal.SIGHUP) is before


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_without_a_file_hang_up_is_left_alone() -> None:
    before = signal.getsignal(signal.SIGHUP)
    with stop_on_signals(Run()):
        assert signal.getsignal(signal.SIGHUP) is before
