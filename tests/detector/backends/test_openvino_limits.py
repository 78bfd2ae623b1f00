"""What the OpenVINO backend says of machines that are not this one, and what it holds for threads that have gone."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import pytest

from detector.backends import openvino as module
from detector.backends.openvino import _Compiled, _require_precision
from pipeline.core.errors import BackendError


class Core:
    """Of a machine with these capabilities."""

    def __init__(self, *capabilities: str) -> None:
        self.capabilities = capabilities

    def get_property(self, device: str, name: str) -> list[str]:
        assert name == "OPTIMIZATION_CAPABILITIES"
        return list(self.capabilities)


@pytest.mark.parametrize("capabilities", [("FP32", "INT8"), ("FP32", "INT8", "BF16")])
def test_bf16_on_a_cpu_without_it(capabilities: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether OpenVINO leaves it out of its list, or would compute it the long way round."""
    monkeypatch.setattr(module, "cpu_flags", lambda: frozenset({"avx2"}))
    monkeypatch.setattr(module, "has_fast_bf16", lambda: False)
    with pytest.raises(BackendError, match="found CPU with fp32, int8; take --precision fp32"):
        _require_precision("bf16", "CPU", Core(*capabilities))
    _require_precision("int8", "CPU", Core(*capabilities))


def test_requests_go_with_their_threads() -> None:
    class Request: ...

    alive: list[Any] = []

    class Network:
        def create_infer_request(self) -> Request:
            request = Request()
            alive.append(weakref.ref(request))
            return request

    compiled = _Compiled(Network())
    for _ in range(3):
        thread = threading.Thread(target=lambda: [compiled.request(), compiled.request()])
        thread.start()
        thread.join()
    mine = compiled.request()
    assert mine is compiled.request()
    gc.collect()
    assert len(alive) == 4
    assert [ref() for ref in alive] == [None, None, None, mine]
