from __future__ import annotations

import logging
import threading

import pytest

from pipeline.core.clock import MonotonicClock, SimulatedClock
from pipeline.core.errors import UsageError
from pipeline.core.url import RedactingFilter, Url, redact, register_secret


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("rtsp://admin:pa55word@cam/1", "rtsp://***@cam/1"),
        ("open rtsp://u:p@a/1 and http://token@b/x failed", "open rtsp://***@a/1 and http://***@b/x failed"),
        ("http://cam/video?user=me&password=hunter2&x=1", "http://cam/video?user=me&password=***&x=1"),
        ("rtsp://cam/1", "rtsp://cam/1"),
        ("mail me@example.org", "mail me@example.org"),
    ],
)
def test_redact(text: str, masked: str) -> None:
    assert redact(text) == masked


def test_url_hides_credentials_but_gives_them_to_the_opener() -> None:
    url = Url("rtsp://admin:c4nary-pw@10.0.0.9:554/h264?token=abcd")
    for shown in (str(url), repr(url), f"{url}"):
        assert "c4nary-pw" not in shown
        assert "abcd" not in shown
    assert url.reveal().startswith("rtsp://admin:c4nary-pw@")
    assert url.scheme == "rtsp"
    assert "c4nary-pw" not in redact("authentication of c4nary-pw failed"), "the password is masked outside URLs too"


def test_a_password_with_percent_signs_is_masked_as_servers_report_it() -> None:
    Url("rtsp://admin:can%40ry%23pw@cam/1")
    assert redact("no user with can@ry#pw or can%40ry%23pw") == "no user with *** or ***"


def test_registered_secret_that_holds_another_one_leaves_no_rest() -> None:
    register_secret("abcd1234")
    register_secret("abcd1234-and-more")
    assert redact("x abcd1234-and-more y") == "x *** y"


def test_filter_masks_message_arguments_and_traceback() -> None:
    record = logging.LogRecord("x", logging.ERROR, "", 0, "open %s", ("rtsp://u:s3cretpw@cam",), None)
    try:
        raise OSError("cannot open rtsp://u:s3cretpw@cam")
    except OSError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    assert RedactingFilter().filter(record)
    assert "s3cretpw" not in logging.Formatter().format(record)


def test_simulated_clock_is_exact() -> None:
    clock = SimulatedClock(5)
    never = threading.Event()
    assert clock.advance(10) == 15
    assert clock.wait_until(40, never)
    assert clock.now_ns() == 40
    assert clock.wait_until(30, never)
    assert clock.now_ns() == 40, "waiting for the past does not turn the clock back"
    with pytest.raises(UsageError):
        clock.advance(-1)
    never.set()
    assert not clock.wait_until(99, never)
    assert clock.now_ns() == 40


def test_monotonic_wait_ends_at_once_when_interrupted() -> None:
    clock, interrupted = MonotonicClock(), threading.Event()
    assert clock.wait_until(clock.now_ns() - 1, interrupted)
    interrupted.set()
    assert not clock.wait_until(clock.now_ns() + 60 * 10**9, interrupted)
