"""Putting an ONNX graph together, node by node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import MissingExtraError

if TYPE_CHECKING:
    import onnx

Number = np.uint8 | np.int32 | np.int64 | np.float16 | np.float32

Dimension = int | str
"""A number, or the name of one that is open."""


def import_onnx() -> Any:
    """The package `onnx`.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("onnx", "export", "writing an .onnx file") from error
    return onnx


class OnnxGraph:
    """Collects nodes, constants, inputs and outputs; values go by their names.

    Args:
        opset: version of the operators.

    Raises:
        MissingExtraError: onnx is not installed.
    """

    def __init__(self, opset: int) -> None:
        self._onnx = import_onnx()
        self._domains = {"": opset}
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._constant_of: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._uses: Counter[str] = Counter()

    def input(self, name: str, dtype: type[Number], shape: Sequence[Dimension]) -> str:
        """Add an input of the graph; gives its name."""
        self._inputs.append(self._value(name, dtype, shape))
        return self._fresh(name)

    def output(self, value: str, name: str, dtype: type[Number], shape: Sequence[Dimension]) -> None:
        """Let a value be an output of the graph, by that name."""
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name], name=self._fresh(f"{name}/out")))
        self._outputs.append(self._value(name, dtype, shape))

    def constant(self, value: NDArray[Any], name: str = "constant") -> str:
        """Add a constant; equal ones are stored once."""
        value = np.ascontiguousarray(value)
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._constant_of:
            self._constant_of[key] = self._fresh(name)
            self._constants.append(self._onnx.numpy_helper.from_array(value, self._constant_of[key]))
        return self._constant_of[key]

    def floats(self, *values: float) -> str:
        """A float32 constant: a scalar of one value, a vector of several."""
        return self.constant(np.array(values if len(values) > 1 else values[0], np.float32))

    def ints(self, *values: int) -> str:
        """An int64 vector."""
        return self.constant(np.array(values, np.int64))

    def add(self, op: str, *inputs: str, name: str = "", domain: str = "", **attributes: Any) -> str:
        """Add a node with one output; gives the name of that."""
        return self.add_multiple(op, inputs, 1, name=name, domain=domain, **attributes)[0]

    def add_multiple(
        self, op: str, inputs: Sequence[str], count: int, *, name: str = "", domain: str = "", **attributes: Any
    ) -> tuple[str, ...]:
        """Add a node with so many outputs; gives their names."""
        name = self._fresh(name or op.lower())
        outputs = (name,) if count == 1 else tuple(self._fresh(f"{name}.{index}") for index in range(count))
        self._domains.setdefault(domain, 1)
        self._nodes.append(
            self._onnx.helper.make_node(op, list(inputs), list(outputs), name=name, domain=domain, **attributes)
        )
        return outputs

    def filled_like(self, value: str, number: float) -> str:
        """A float32 value of the same shape, the same number everywhere."""
        filling = self._onnx.numpy_helper.from_array(np.array([number], np.float32))
        return self.add("ConstantOfShape", self.add("Shape", value), value=filling)

    def cast(self, value: str, dtype: type[Number]) -> str:
        """The value as another type."""
        return self.add("Cast", value, to=self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def model(self, producer_version: str, metadata: dict[str, str]) -> onnx.ModelProto:
        """The finished model, with inferred shapes in it.

        Raises:
            onnx.checker.ValidationError, onnx.shape_inference.InferenceError: the graph is wrong; a mistake of ours.
        """
        onnx, helper = self._onnx, self._onnx.helper
        graph = helper.make_graph(self._nodes, "tracklight", self._inputs, self._outputs, self._constants)
        opsets = [helper.make_opsetid(domain, version) for domain, version in self._domains.items()]
        model = helper.make_model(
            graph,
            opset_imports=opsets,
            producer_name="tracklight",
            producer_version=producer_version,
            ir_version=helper.find_min_ir_version_for(opsets, ignore_unknown=True),
        )
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model)
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)

    def _value(self, name: str, dtype: type[Number], shape: Sequence[Dimension]) -> Any:
        kind = self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self._onnx.helper.make_tensor_value_info(name, kind, list(shape))

    def _fresh(self, name: str) -> str:
        self._uses[name] += 1
        return name if self._uses[name] == 1 else f"{name}_{self._uses[name] - 1}"
