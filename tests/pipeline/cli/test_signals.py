"""Ctrl-C while something runs."""

from __future__ import annotations

import signal

import pytest

from pipeline.cli.signals import stop_on_signals


class _Running:
    def __init__(self) -> None:
        self.asked: list[bool] = []

    def stop(self, *, at_once: bool = False) -> None:
        self.asked.append(at_once)


def test_the_first_stops_the_second_gives_up_the_third_leaves(capsys: pytest.CaptureFixture[str]) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    running = _Running()
    with stop_on_signals(running) as received:
        signal.raise_signal(signal.SIGINT)
        assert running.asked == [False]
        signal.raise_signal(signal.SIGTERM)
        assert running.asked == [False, True]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert received == [signal.SIGINT, signal.SIGTERM, signal.SIGINT]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert capsys.readouterr().err.count("once more") == 1
