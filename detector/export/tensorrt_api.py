"""TensorRT as a package: there or not, which version, its log, and the GPU that it runs on.

Its Python classes report failure by None or False and say why in their logger only; `TensorRtLog` keeps that.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import torch

from detector.backends.eager import choose_device
from pipeline.core.errors import BackendError, MissingExtraError

_log = logging.getLogger(__name__)

_ADVICE = (
    (("out of memory", "outofmemory", "cudamalloc"), "take a smaller batch, image or model"),
    (("no importer registered", "plugin not found", "unsupported operator"), "this TensorRT lacks an operator of it"),
    (("version tag", "serialization", "magic tag", "not created by"), "build the engine again on this machine"),
    (
        ("no cuda-capable device", "driver version", "cuda initialization", "returned nullptr"),
        "check the NVIDIA driver with nvidia-smi",
    ),
)
"""What to do, by what a message says."""


class Here(NamedTuple):
    """What an engine is made for: it runs on no other TensorRT or GPU."""

    tensorrt: str
    gpu: str
    compute_capability: str


def import_tensorrt() -> Any:
    """The package `tensorrt`, 10 or 11.

    Raises:
        MissingExtraError: it is not installed.
        BackendError: it is too old, or its libraries do not load.
    """
    try:
        import tensorrt
    except ModuleNotFoundError as error:
        raise MissingExtraError("tensorrt", "tensorrt", "running a network in TensorRT") from error
    except (ImportError, OSError) as error:
        raise BackendError(f"TensorRT is installed, but does not load ({error}); install it anew") from error
    if major_version(tensorrt) < 10:
        raise BackendError(f"TensorRT: wanted version 10 or newer, found {tensorrt.__version__}; install a newer one")
    return tensorrt


def major_version(trt: Any) -> int:
    """10 or 11: from 11 on all networks are strongly typed, and flags of precision and calibrators are gone."""
    return int(trt.__version__.split(".")[0])


def choose_gpu(text: str) -> torch.device:
    """The GPU for `auto`, `cuda`, `cuda:N` or `N`.

    Raises:
        BackendError: there is none, or the CPU was asked for.
    """
    device = choose_device(text)
    if device.type != "cuda":
        raise BackendError(f"tensorrt: wanted a CUDA device, found {device} for --device {text}; use --backend eager")
    return torch.device("cuda", device.index or 0)


def here(trt: Any, device: torch.device) -> Here:
    """This TensorRT and this GPU."""
    major, minor = torch.cuda.get_device_capability(device)
    return Here(trt.__version__, torch.cuda.get_device_name(device), f"{major}.{minor}")


class TensorRtLog:
    """A logger for TensorRT that remembers errors.

    Attributes:
        logger: to be handed to TensorRT. It must outlive whatever it was handed to.
    """

    def __init__(self, trt: Any) -> None:
        errors: list[str] = []
        severity = trt.ILogger.Severity
        levels = {
            severity.INTERNAL_ERROR: logging.DEBUG,  # told by whoever asked, as an error of ours
            severity.ERROR: logging.DEBUG,
            severity.WARNING: logging.INFO,
            severity.INFO: logging.DEBUG,
            severity.VERBOSE: logging.NOTSET,
        }

        class Logger(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, level: Any, message: str) -> None:
                if level in (severity.INTERNAL_ERROR, severity.ERROR):
                    errors.append(message)
                if levels[level]:
                    _log.log(levels[level], "TensorRT: %s", message)

        self._errors = errors
        self.logger = Logger()

    def made(self, what: str, make: Any) -> Any:
        """What `make()` gives.

        Raises:
            BackendError: it gave None or raised what the bindings raise where the library gave nothing.
        """
        self._errors.clear()
        try:
            value = make()
        except (TypeError, RuntimeError, ValueError) as error:
            raise self.failure(what, str(error)) from error
        if value is None:
            raise self.failure(what)
        return value

    def done(self, what: str, success: bool) -> None:
        """Check what a call returned.

        Raises:
            BackendError: False.
        """
        if not success:
            raise self.failure(what)

    def failure(self, what: str, otherwise: str = "it does not say why") -> BackendError:
        """The error for something that did not work: what TensorRT said first about it, and what to do."""
        reason = " ".join((self._errors[0] if self._errors else otherwise).split())
        self._errors.clear()
        return BackendError(f"TensorRT: {what} failed ({reason[:300]}); {_advice(reason)}")


def _advice(reason: str) -> str:
    for words, advice in _ADVICE:
        if any(word in reason.lower() for word in words):
            return advice
    return "-v shows its whole log"
