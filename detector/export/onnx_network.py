"""From a PyTorch network to ONNX nodes.

`torch.export` lists what a network computes; the networks of `detector.models` come down to ten operators, which are
translated here one by one. None of them depends on the size of the picture that the network was listed with, so the
nodes serve any batch, height and width. (PyTorch's own ONNX exporters are not used: the old one is on its way out, the
new one needs another package, and both leave shape arithmetic of theirs in the graph.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from detector.export.onnx_graph import OnnxGraph
from pipeline.core.errors import BackendError


def add_network(graph: OnnxGraph, network: nn.Module, example: torch.Tensor, image: str, *, half: bool) -> list[str]:
    """Add the nodes of a network.

    Args:
        graph: where to.
        network: takes one tensor and gives a list of tensors; float32, on the CPU, fused, in evaluation mode.
        example: an input; only its type and number of axes count.
        image: name of the input in the graph, of the example's type.
        half: compute in 16 bits; the outputs are 32 bits all the same.

    Returns:
        Names of the outputs, float32.

    Raises:
        BackendError: the network has an operator that is not translated.
    """
    program = torch.export.export(network, (example,), strict=False)
    weights = _weights(program, np.float16 if half else np.float32)
    translator = _Translator(graph, weights, np.float16 if half else np.float32)
    if half and example.is_floating_point():
        image = graph.cast(image, np.float16)
    outputs = translator.run(program.graph, image)
    return [graph.cast(output, np.float32) for output in outputs] if half else outputs


def _weights(program: torch.export.ExportedProgram, dtype: type[np.float16 | np.float32]) -> dict[str, tuple[str, Any]]:
    """Path and value of every parameter, by the name of its placeholder; 16-bit values stay within their range."""
    limit = np.finfo(dtype).max
    state = program.state_dict
    return {
        placeholder: (path, state[path].detach().numpy().clip(-limit, limit).astype(dtype))
        for placeholder, path in program.graph_signature.inputs_to_parameters.items()
    }


class _Translator:
    def __init__(
        self, graph: OnnxGraph, weights: Mapping[str, tuple[str, Any]], dtype: type[np.float16 | np.float32]
    ) -> None:
        self._graph = graph
        self._weights = weights
        self._dtype = dtype
        self._value_of: dict[fx.Node, str] = {}

    def run(self, listed: fx.Graph, image: str) -> list[str]:
        for node in listed.nodes:
            if node.op == "placeholder":
                if node.target in self._weights:
                    path, value = self._weights[node.target]
                    self._value_of[node] = self._graph.constant(value, path)
                elif node.users:
                    self._value_of[node] = image
            elif node.op == "call_function":
                self._call(node)
        (outputs,) = listed.output_node().args
        return [self._value_of[output] for output in outputs]  # type: ignore[union-attr, index]

    def _call(self, node: fx.Node) -> None:
        kind = getattr(node.target, "_schema", None)
        name = kind.name.removeprefix("aten::") if kind is not None else str(node.target)
        if name == "_assert_tensor_metadata":
            return
        plain = name.removesuffix("_")
        if plain not in _OPERATORS or (plain != name and not _is_last_reader(node)):
            raise BackendError(
                f"ONNX: wanted one of the operators {', '.join(sorted(_OPERATORS))}, found {node.target}"
            )
        self._value_of[node] = _OPERATORS[plain](self, node)

    def _read(self, node: fx.Node, position: int = 0) -> str:
        return self._value_of[node.args[position]]  # type: ignore[index]

    def _add(self, node: fx.Node, op: str, *inputs: str, **attributes: Any) -> str:
        return self._graph.add(op, *inputs, name=_module_path(node), **attributes)

    def permute(self, node: fx.Node) -> str:
        return self._add(node, "Transpose", self._read(node), perm=list(node.args[1]))  # type: ignore[arg-type]

    def to(self, node: fx.Node) -> str:
        return self._graph.cast(self._read(node), self._dtype)

    def conv2d(self, node: fx.Node) -> str:
        _, weight, bias, stride, padding, dilation, groups = _arguments(node)
        inputs = [self._read(node), self._value_of[weight]] + ([self._value_of[bias]] if bias is not None else [])
        kernel = weight.meta["val"].shape[2:]
        return self._add(
            node,
            "Conv",
            *inputs,
            kernel_shape=list(kernel),
            strides=list(stride),
            pads=[*padding, *padding],
            dilations=list(dilation),
            group=groups,
        )

    def silu(self, node: fx.Node) -> str:
        x = self._read(node)
        return self._add(node, "Mul", x, self._add(node, "Sigmoid", x))

    def leaky_relu(self, node: fx.Node) -> str:
        return self._add(node, "LeakyRelu", self._read(node), alpha=_arguments(node)[1])

    def max_pool2d(self, node: fx.Node) -> str:
        _, kernel, stride, padding, _, _ = _arguments(node)
        return self._add(
            node,
            "MaxPool",
            self._read(node),
            kernel_shape=list(kernel),
            strides=list(stride or kernel),
            pads=[*padding, *padding],
        )

    def cat(self, node: fx.Node) -> str:
        values, axis = _arguments(node)
        return self._add(node, "Concat", *(self._value_of[value] for value in values), axis=axis)

    def add(self, node: fx.Node) -> str:
        return self._add(node, "Add", self._read(node), self._read(node, 1))

    def upsample_nearest2d(self, node: fx.Node) -> str:
        _, _, factors = node.args
        scales = self._graph.floats(1.0, 1.0, *factors)  # type: ignore[misc]
        return self._add(
            node,
            "Resize",
            self._read(node),
            "",
            scales,
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )

    def slice(self, node: fx.Node) -> str:
        _, axis, begin, end, step = _arguments(node)
        ints = self._graph.ints
        return self._add(node, "Slice", self._read(node), ints(begin or 0), ints(end), ints(axis), ints(step))


_OPERATORS: dict[str, Callable[[_Translator, fx.Node], str]] = {
    method.__name__: method
    for method in (
        _Translator.permute,
        _Translator.to,
        _Translator.conv2d,
        _Translator.silu,
        _Translator.leaky_relu,
        _Translator.max_pool2d,
        _Translator.cat,
        _Translator.add,
        _Translator.upsample_nearest2d,
        _Translator.slice,
    )
}
"""Operators of PyTorch that are translated; those that work in place have the same names with `_` behind them."""


def _arguments(node: fx.Node) -> tuple[Any, ...]:
    """All arguments of the node, those that are not given by the operator's defaults."""
    wanted = node.target._schema.arguments[len(node.args) :]  # type: ignore[union-attr]
    return (*node.args, *(node.kwargs.get(argument.name, argument.default_value) for argument in wanted))


def _is_last_reader(node: fx.Node) -> bool:
    """Whether an operator may work in place: nobody else reads what it changes."""
    return len(node.args[0].users) == 1  # type: ignore[union-attr]


def _module_path(node: fx.Node) -> str:
    """The path of the module that the operator is of, for people who look at the graph."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values()]
    return paths[-1] if paths and paths[-1] else node.name
