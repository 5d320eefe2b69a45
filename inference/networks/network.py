"""A network compiled for many evaluations at one input: value, and derivative of one output by all inputs.

Constants are folded once; a matrix product with a constant and the addition that follows become one step. Everything is computed in
float64 from the stored weights, in the order of the file, by numpy on one thread per call: the same input gives the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inference.networks.onnx_file import Node, OnnxFile
from inference.networks.operators import ARITHMETIC, Array, Operator, UnsupportedOperatorError, integer, linear, number, with_constant
from inference.networks.shaping import SHAPING, split_piece
from inference.types import FloatArray


class _Step(NamedTuple):
    """One evaluation.

    Attributes:
        operator: what is evaluated.
        inputs: positions of its inputs; −1 for one left out.
        output: position of its output.
        targets: (number of the input, position) of the inputs that depend on the network's.
    """

    operator: Operator
    inputs: tuple[int, ...]
    output: int
    targets: tuple[tuple[int, int], ...]


class NetworkValue(NamedTuple):
    """A network at one input.

    Attributes:
        outputs: its outputs, shape (num_outputs,).
        tape: all values on the way, for `Network.gradient`.
    """

    outputs: FloatArray
    tape: tuple[Any, ...]


class Network:
    """One input vector to one output vector.

    Args:
        file: the network as stored: one input with shape (batch, n) or (n,), its first output counts.

    Attributes:
        num_inputs: n.
        num_steps: evaluations per call, constants folded.

    Raises:
        UnsupportedOperatorError: it has an operator without implementation here; names it.
    """

    def __init__(self, file: OnnxFile) -> None:
        if len(file.inputs) != 1 or not file.outputs:
            raise UnsupportedOperatorError(f"{len(file.inputs)} inputs")
        port = file.inputs[0]
        if not port.shape or port.shape[-1] < 1 or any(size > 1 for size in port.shape[:-1]):
            raise UnsupportedOperatorError(f"an input of shape {port.shape}")
        self.num_inputs = port.shape[-1]
        self._shape = (1,) * (len(port.shape) - 1) + (self.num_inputs,)
        self._positions: dict[str, int] = {port.name: 0}
        self._values: list[Any] = [None]
        for name, tensor in file.weights.items():
            self._add(name, _as_working(tensor))
        self._steps: list[_Step] = []
        self._active = {0}
        is_active = {port.name}
        for node in _fused(file, port.name):
            self._compile(node, file.opset, is_active)
        self._output = self._positions.get(file.outputs[0].name, -1)
        if self._output < 0:
            raise UnsupportedOperatorError(f"no operator makes the output {file.outputs[0].name!r}")
        self.num_steps = len(self._steps)
        self._values.append(None)  # what position −1 finds

    def _add(self, name: str, value: Any) -> int:
        position = self._positions.setdefault(name, len(self._values))
        if position == len(self._values):
            self._values.append(value)
        return position

    def _compile(self, node: Node | _Linear, opset: int, is_active: set[str]) -> None:
        for name in node.inputs:
            if name and name not in self._positions:
                raise UnsupportedOperatorError(f"{node.op_type} needs {name!r}, which nothing makes")
        for index, output in enumerate(node.outputs):
            if not output or (index > 0 and node.op_type != "Split"):
                continue
            operator = _operator(node, opset, index)
            inputs = tuple(self._positions[name] if name else -1 for name in node.inputs)
            if is_active.isdisjoint(node.inputs):
                arguments = [None if position < 0 else self._values[position] for position in inputs]
                self._add(output, operator.forward(*arguments))
                continue
            if len(inputs) == 2 and sum(name in is_active for name in node.inputs) == 1:
                place = 1 if node.inputs[0] in is_active else 0  # of the constant
                special = with_constant(node.op_type, self._values[inputs[place]], place == 1)
                if special is not None:
                    operator, inputs = special, (inputs[1 - place],)
            targets = tuple((k, place) for k, place in enumerate(inputs) if place in self._active)
            self._steps.append(_Step(operator, inputs, self._add(output, None), targets))
            self._active.add(self._positions[output])
            is_active.add(output)

    def __call__(self, x: ArrayLike) -> NetworkValue:
        """The outputs at one input, shape (num_inputs,)."""
        values = self._values.copy()
        values[0] = np.asarray(x, dtype=np.float64).reshape(self._shape)
        with np.errstate(all="ignore"):  # what is not finite shows in the outputs
            for operator, inputs, output, _ in self._steps:
                values[output] = operator.forward(*[values[k] for k in inputs])
        return NetworkValue(np.asarray(values[self._output], dtype=np.float64).ravel(), tuple(values))

    def gradient(self, value: NetworkValue, weights: ArrayLike) -> FloatArray:
        """∂(Σ_k weights_k · output_k)/∂input where the network was evaluated, shape (num_inputs,)."""
        tape = value.tape
        gradients: list[Any] = [None] * len(tape)
        gradients[self._output] = np.asarray(weights, dtype=np.float64).reshape(np.shape(tape[self._output]))
        with np.errstate(all="ignore"):
            for operator, inputs, output, targets in reversed(self._steps):
                g = gradients[output]
                if g is None:
                    continue
                parts = operator.backward(g, tape[output], *[tape[k] for k in inputs])
                for number, position in targets:
                    part = parts[number]
                    if part is not None:
                        before = gradients[position]
                        gradients[position] = part if before is None else before + part
        found = gradients[0]
        return np.zeros(self.num_inputs) if found is None else np.asarray(found, dtype=np.float64).ravel()


def _as_working(tensor: NDArray[Any]) -> Array:
    return np.array(tensor, dtype=np.float64, order="C") if tensor.dtype.kind == "f" else tensor


class _Linear(NamedTuple):
    """A matrix product with constants, and the addition after it."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weight: FloatArray
    bias: FloatArray | None
    op_type: str = "Linear"


def _operator(node: Node | _Linear, opset: int, index: int) -> Operator:
    if isinstance(node, _Linear):
        return linear(node.weight, node.bias)
    if node.domain:
        raise UnsupportedOperatorError(f"{node.domain}.{node.op_type}")
    if node.op_type == "Split":
        return split_piece(node, index)
    if node.op_type == "Constant":
        return _constant(node)
    if node.op_type == "Dropout":
        return Operator(lambda x, *rest: x, lambda g, y, x, *rest: (g, *(None for _ in rest)))
    build = ARITHMETIC.get(node.op_type) or SHAPING.get(node.op_type)
    if build is None:
        raise UnsupportedOperatorError(node.op_type)
    return build(node, opset)


def _constant(node: Node) -> Operator:
    for name in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        if name in node.attributes:
            return _fixed(_as_working(np.asarray(node.attributes[name])))
    raise UnsupportedOperatorError("a Constant of text")


def _fixed(value: Array) -> Operator:
    return Operator(lambda: value, lambda g, y: ())


def _fused(file: OnnxFile, source: str) -> Sequence[Node | _Linear]:
    """The nodes, with products by constant matrices and the additions that follow joined."""
    uses: dict[str, int] = {}
    for node in file.nodes:
        for name in node.inputs:
            uses[name] = uses.get(name, 0) + 1
    uses.update({port.name: uses.get(port.name, 0) + 1 for port in file.outputs})
    fused: list[Node | _Linear] = []
    open_product: dict[str, int] = {}  # product without addition so far: where it stands
    for node in file.nodes:
        product = _as_linear(node, file)
        if product is not None:
            if product.bias is None:
                open_product[node.outputs[0]] = len(fused)
            fused.append(product)
            continue
        if node.op_type == "Add" and len(node.inputs) == 2:
            for term, other in (node.inputs, node.inputs[::-1]):
                place = open_product.get(term)
                bias = file.weights.get(other)
                if place is None or bias is None or uses[term] != 1:
                    continue
                before = fused[place]
                if isinstance(before, _Linear) and bias.size == before.weight.shape[1]:
                    fused[place] = before._replace(bias=_as_working(bias).ravel(), outputs=node.outputs)
                    break
            else:
                fused.append(node)
            continue
        fused.append(node)
    return fused


def _as_linear(node: Node, file: OnnxFile) -> _Linear | None:
    """A product x·W (+ b) with constant W and b."""
    if node.domain or len(node.inputs) < 2 or node.inputs[0] in file.weights:
        return None
    weight = file.weights.get(node.inputs[1])
    if weight is None or weight.ndim != 2:
        return None
    matrix = _as_working(weight)
    if node.op_type == "MatMul":
        return _Linear(node.inputs[:1], node.outputs, matrix, None)
    if node.op_type != "Gemm" or integer(node, "transA", 0):
        return None
    bias = None
    if integer(node, "transB", 0):
        matrix = matrix.T
    if len(node.inputs) > 2 and node.inputs[2]:
        stored = file.weights.get(node.inputs[2])
        if stored is None or stored.size not in (1, matrix.shape[1]):
            return None
        bias = number(node, "beta", 1.0) * _as_working(stored).ravel()
    return _Linear(node.inputs[:1], node.outputs, number(node, "alpha", 1.0) * matrix, bias)
