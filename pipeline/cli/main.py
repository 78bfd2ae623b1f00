"""Finds the verb, parses its arguments, and turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

from pipeline.cli import logs
from pipeline.core.errors import ConfigError, TracklightError, UsageError
from pipeline.core.url import redact

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""

VERBS = {
    "run": "detect and track in files, cameras and streams; write video, tracks and a report",
    "annotate": "tracks of every video of a folder; goes on where it was interrupted",
    "val": "average precision of a detector on a labelled data set",
    "track-eval": "HOTA, MOTA and IDF1 of recorded tracks",
    "stream-eval": "streaming accuracy (sAP): what latency costs, on labelled video",
    "train": "train or fine-tune a detector",
    "dataset": "make, check, convert, split and plot data sets",
    "events": "list and export what happened",
    "report": "tables and plots of what happened, in one HTML page",
    "export": "write a model for another runtime",
    "zones": "draw lines and zones on a picture of a source, show and check them",
    "bench": "measure stages and the whole pipeline",
    "tune": "choose model, size, backend, scheduler and compensation for a clip and this machine",
    "models": "the models: size, cost, published accuracy, licence, whether they are on disk",
    "check": "check a configuration without running it, and print it in full",
    "doctor": "versions, devices, codecs and extras of this machine",
}
"""Verbs that work; each is the module of that name beside this one (`_` for `-`), with `add_arguments(parser)` and
`run(args)`."""


class _Parser(argparse.ArgumentParser):
    """argparse with errors as UsageError, so that they leave through the same door as all others."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage of every flag."""
        raise UsageError(f"{self.prog}: {message}; see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program with these arguments (default: those of the process). Returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if argv is None:
        # Before a run has its own handlers (while a model loads, say) both signals end the program the same way.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
    except TracklightError as error:
        _print_error(error)
        # Some settings can only be judged by the size of a source's pictures: a stage of the run refuses them.
        code = USAGE if isinstance(error, UsageError) or isinstance(error.__cause__, ConfigError) else FAILED
    except KeyboardInterrupt:
        _print_error("interrupted")
        code = INTERRUPTED
    except MemoryError:
        _print_error("out of memory; use a smaller --img-size or --batch-size")
        code = FAILED
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): no error, but Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = DONE
    except Exception as error:  # noqa: BLE001 - a mistake of ours; a user gets one line, and -v gets the traceback
        _print_error(f"internal error, please report it: {type(error).__name__}: {error} (-v shows where)")
        code = FAILED
    if argv is None:
        # All is written: a late Ctrl-C has nothing left to stop, and must not change the exit code.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        _leave_if_blocked(code)
    return code


def _dispatch(arguments: list[str]) -> int:
    first = arguments[0] if arguments else "--help"
    if first in ("-h", "--help", "help"):
        print(_overview())
        return DONE if arguments else USAGE
    if first in ("-V", "--version"):
        from importlib.metadata import version

        print(f"tracklight {version('tracklight')}")
        return DONE
    if first.startswith("-"):
        arguments, first = ["run", *arguments], "run"
    if first not in VERBS:
        from pipeline.config.registry import nearest

        raise UsageError(f"wanted a verb ({', '.join(VERBS)}), found {first!r}{nearest(first, VERBS)}")
    verb = importlib.import_module(f"pipeline.cli.{first.replace('-', '_')}")
    parser = _Parser(prog=f"tracklight {first}", description=VERBS[first].capitalize() + ".", allow_abbrev=False)
    logs.add_arguments(parser)
    verb.add_arguments(parser)
    parsed = parser.parse_args(arguments[1:])
    logs.set_up(verbose=parsed.verbose, form=parsed.log_format)
    code: int = verb.run(parsed)
    return code


def _overview() -> str:
    width = max(map(len, VERBS)) + 2
    lines = ["usage: tracklight VERB [options]   (VERB may be left out: run)", ""]
    lines += [f"  {name:<{width}}{text}" for name, text in VERBS.items()]
    lines += [
        "",
        "tracklight VERB --help tells a verb's options.",
        "",
        "  tracklight --source street.mp4 -o out.mp4 -o tracks.jsonl",
        "  tracklight --source rtsp://camera/stream -o display",
    ]
    return "\n".join(lines)


def _print_error(error: object) -> None:
    text = " ".join(redact(str(error)).split())
    logs.say(text, level=logging.ERROR)
    logging.getLogger(__name__).debug("where it came from", exc_info=sys.exc_info()[0] is not None)


def _leave_if_blocked(code: int) -> None:
    """A thread that is stuck inside a library must not keep the program from ending; all outputs are closed by now."""
    stuck = [t.name for t in threading.enumerate() if t is not threading.main_thread() and not t.daemon]
    if stuck:
        print(f"tracklight: leaving with {', '.join(stuck)} still blocked", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
