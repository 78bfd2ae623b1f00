"""Work of a GPU on buffers that stay where they are: recorded once per input shape, then replayed in one call.

A network is hundreds of kernels of a few microseconds each; at batch 1 the CPU takes longer to start them than the GPU
to run them. A CUDA graph starts them all at once, but only on the addresses that it was recorded with.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

MAX_SHAPES = 8
"""Buffers and graphs are kept for that many input shapes; the one that was used longest ago gives way."""

CALLS_BEFORE_RECORDING = 3
"""A shape is recorded when it comes for the third time: a validation set has shapes that come once, a stream has not.
The calls before are also the warm-up that libraries need, which choose their kernels and take their memory in it."""

Work = Callable[[], list[torch.Tensor]]
"""Reads the input buffer that it was made for and gives its output buffers."""


@dataclass(slots=True)
class _Slot:
    buffer: torch.Tensor
    work: Work
    n_calls: int = 0
    graph: Any = None
    outputs: list[torch.Tensor] = field(default_factory=list)


class RecordedWork:
    """Runs work on a GPU in a stream of its own, with fixed buffers for each input shape.

    Args:
        device: the GPU.
        dtype: of the input.
        prepare: makes the work for an input buffer; called once per shape.
        record: False runs the work afresh each time.

    Attributes:
        stream: where all of it runs.
    """

    def __init__(
        self, device: torch.device, dtype: torch.dtype, prepare: Callable[[torch.Tensor], Work], *, record: bool
    ) -> None:
        self._device, self._dtype, self._prepare, self._record = device, dtype, prepare, record
        self.stream = torch.cuda.Stream(device)
        self._slots: OrderedDict[tuple[int, ...], _Slot] = OrderedDict()
        # One pool for all graphs: they never run at the same time, so they may share what is not their output.
        self._pool = torch.cuda.graph_pool_handle() if record else None

    def __call__(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Outputs for an input on any device; valid until the next call, in the order of the caller's stream."""
        caller = torch.cuda.current_stream(self._device)
        self.stream.wait_stream(caller)  # whoever reads the last outputs is done before they are overwritten
        with torch.cuda.stream(self.stream):
            slot = self._slot(tuple(images.shape))
            slot.buffer.copy_(images, non_blocking=True)
            outputs = self._run(slot)
        caller.wait_stream(self.stream)
        return outputs

    @property
    def n_recorded(self) -> int:
        """How many shapes have been recorded and are kept."""
        return sum(slot.graph is not None for slot in self._slots.values())

    def clear(self) -> None:
        """Let go of all buffers and graphs, once the GPU is done with them."""
        self.stream.synchronize()
        self._slots.clear()

    def _slot(self, shape: tuple[int, ...]) -> _Slot:
        slot = self._slots.get(shape)
        if slot is None:
            if len(self._slots) == MAX_SHAPES:
                self._slots.popitem(last=False)
            buffer = torch.empty(shape, dtype=self._dtype, device=self._device)
            slot = self._slots[shape] = _Slot(buffer, self._prepare(buffer))
        self._slots.move_to_end(shape)
        return slot

    def _run(self, slot: _Slot) -> list[torch.Tensor]:
        slot.n_calls += 1
        if self._record and slot.graph is None and slot.n_calls == CALLS_BEFORE_RECORDING:
            graph = torch.cuda.CUDAGraph()
            # thread_local: a training or a second detector in another thread may go on meanwhile.
            with torch.cuda.graph(graph, pool=self._pool, stream=self.stream, capture_error_mode="thread_local"):
                slot.outputs = slot.work()
            slot.graph = graph
        if slot.graph is None:
            return slot.work()
        slot.graph.replay()
        return slot.outputs
