"""Operators of networks with their derivatives, in float64.

An operator is made once from its attributes; evaluated, it gives its output and what the derivative needs of it. The derivative is
taken backwards: from ∂f/∂output to ∂f/∂input of every input that depends on the network's input (reverse mode), so that one sweep
gives the derivative of one number by all inputs. Kinks (Relu at 0) count with the derivative from the left, as usual.

Definitions as in the ONNX standard, operator sets 7 to 22.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from inference.networks.onnx_file import Attribute, Node
from inference.types import FloatArray

Array = NDArray[Any]
Gradient = Array | None


class Operator(NamedTuple):
    """One operator of a network.

    Attributes:
        forward: its output from its inputs.
        backward: ∂f/∂input per input from (∂f/∂output, output, inputs); None for inputs without derivative.
    """

    forward: Callable[..., Array]
    backward: Callable[..., tuple[Gradient, ...]]


Builder = Callable[[Node, int], Operator]
"""Makes an operator from its node and the version of the operator set."""


class UnsupportedOperatorError(ValueError):
    """An operator, or a form of it, has no implementation here."""


def number(node: Node, name: str, default: float) -> float:
    """A numerical attribute."""
    value = node.attributes.get(name, default)
    if not isinstance(value, int | float):
        raise UnsupportedOperatorError(f"{node.op_type} with {name} = {value!r}")
    return float(value)


def integer(node: Node, name: str, default: int) -> int:
    """An integer attribute."""
    value: Attribute = node.attributes.get(name, default)
    if not isinstance(value, int):
        raise UnsupportedOperatorError(f"{node.op_type} with {name} = {value!r}")
    return value


def integers(node: Node, name: str) -> tuple[int, ...] | None:
    """A list of integers, None if it is not given."""
    value = node.attributes.get(name)
    if value is None:
        return None
    if not isinstance(value, tuple):
        raise UnsupportedOperatorError(f"{node.op_type} with {name} = {value!r}")
    return tuple(int(entry) for entry in value)


def sum_to(gradient: Array, shape: tuple[int, ...]) -> Array:
    """A gradient summed over the axes along which a value of this shape was repeated."""
    if gradient.shape == shape:
        return gradient
    extra = gradient.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(k + extra for k, size in enumerate(shape) if size == 1 and gradient.shape[k + extra] != 1)
    summed: Array = np.add.reduce(gradient, axis=axes, keepdims=True)
    return summed.reshape(shape)


# ------------------------------------------------------------------------------------------- functions of one number


def _unary(function: Callable[[Array], Array], slope: Callable[[Array, Array], Array]) -> Operator:
    """A function of each number; `slope` of (input, output)."""
    return Operator(lambda x: function(x), lambda g, y, x: (g * slope(x, y),))


_SQRT_2_PI = math.sqrt(2.0 * math.pi)


def _sigmoid(x: Array) -> Array:
    result: Array = special.expit(x)
    return result


def _softplus(x: Array) -> Array:
    result: Array = np.logaddexp(0.0, x)
    return result


def _mish(x: Array, y: Array) -> Array:
    t = np.tanh(_softplus(x))
    result: Array = t + x * (1.0 - t * t) * _sigmoid(x)
    return result


_UNARY: Mapping[str, tuple[Callable[[Array], Array], Callable[[Array, Array], Array]]] = MappingProxyType(
    {
        "Identity": (lambda x: x, lambda x, y: np.ones_like(x)),
        "Neg": (np.negative, lambda x, y: np.full_like(x, -1.0)),
        "Abs": (np.abs, lambda x, y: np.sign(x)),
        "Exp": (np.exp, lambda x, y: y),
        "Log": (np.log, lambda x, y: 1.0 / x),
        "Sqrt": (np.sqrt, lambda x, y: 0.5 / y),
        "Reciprocal": (lambda x: 1.0 / x, lambda x, y: -y * y),
        "Relu": (lambda x: np.maximum(x, 0.0), lambda x, y: (x > 0.0).astype(np.float64)),
        "Tanh": (np.tanh, lambda x, y: 1.0 - y * y),
        "Sigmoid": (_sigmoid, lambda x, y: y * (1.0 - y)),
        "Softplus": (_softplus, lambda x, y: _sigmoid(x)),
        "Softsign": (lambda x: x / (1.0 + np.abs(x)), lambda x, y: 1.0 / (1.0 + np.abs(x)) ** 2),
        "Erf": (special.erf, lambda x, y: 2.0 / math.sqrt(math.pi) * np.exp(-x * x)),
        "Sin": (np.sin, lambda x, y: np.cos(x)),
        "Cos": (np.cos, lambda x, y: -np.sin(x)),
        "Sinh": (np.sinh, lambda x, y: np.cosh(x)),
        "Cosh": (np.cosh, lambda x, y: np.sinh(x)),
        "Asinh": (np.arcsinh, lambda x, y: 1.0 / np.sqrt(1.0 + x * x)),
        "Atan": (np.arctan, lambda x, y: 1.0 / (1.0 + x * x)),
        "Sign": (np.sign, lambda x, y: np.zeros_like(x)),
        "Mish": (lambda x: x * np.tanh(_softplus(x)), _mish),
        "HardSwish": (
            lambda x: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0),
            lambda x, y: np.where(x <= -3.0, 0.0, np.where(x >= 3.0, 1.0, x / 3.0 + 0.5)),
        ),
    }
)


def _simple(node: Node, opset: int) -> Operator:
    return _unary(*_UNARY[node.op_type])


def _leaky_relu(node: Node, opset: int) -> Operator:
    alpha = number(node, "alpha", 0.01)
    return _unary(lambda x: np.where(x > 0.0, x, alpha * x), lambda x, y: np.where(x > 0.0, 1.0, alpha))


def _elu(node: Node, opset: int) -> Operator:
    alpha = number(node, "alpha", 1.0)
    return _unary(lambda x: np.where(x > 0.0, x, alpha * np.expm1(np.minimum(x, 0.0))), lambda x, y: np.where(x > 0.0, 1.0, y + alpha))


def _selu(node: Node, opset: int) -> Operator:
    alpha, gamma = number(node, "alpha", 1.67326319217681884765625), number(node, "gamma", 1.05070102214813232421875)
    return _unary(
        lambda x: gamma * np.where(x > 0.0, x, alpha * np.expm1(np.minimum(x, 0.0))),
        lambda x, y: np.where(x > 0.0, gamma, y + gamma * alpha),
    )


def _celu(node: Node, opset: int) -> Operator:
    alpha = number(node, "alpha", 1.0)
    return _unary(
        lambda x: np.where(x > 0.0, x, alpha * np.expm1(np.minimum(x, 0.0) / alpha)), lambda x, y: np.where(x > 0.0, 1.0, y / alpha + 1.0)
    )


def _hard_sigmoid(node: Node, opset: int) -> Operator:
    alpha, beta = number(node, "alpha", 0.2), number(node, "beta", 0.5)
    return _unary(lambda x: np.clip(alpha * x + beta, 0.0, 1.0), lambda x, y: np.where((y > 0.0) & (y < 1.0), alpha, 0.0))


def _gelu(node: Node, opset: int) -> Operator:
    if node.attributes.get("approximate", "none") == "none":
        return _unary(
            lambda x: 0.5 * x * (1.0 + special.erf(x / math.sqrt(2.0))),
            lambda x, y: 0.5 * (1.0 + special.erf(x / math.sqrt(2.0))) + x * np.exp(-0.5 * x * x) / _SQRT_2_PI,
        )
    scale = math.sqrt(2.0 / math.pi)

    def slope(x: Array, y: Array) -> Array:
        t = np.tanh(scale * (x + 0.044715 * x**3))
        result: Array = 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * scale * (1.0 + 3.0 * 0.044715 * x * x)
        return result

    return _unary(lambda x: 0.5 * x * (1.0 + np.tanh(scale * (x + 0.044715 * x**3))), slope)


def _clip(node: Node, opset: int) -> Operator:
    low, high = number(node, "min", -math.inf), number(node, "max", math.inf)

    def bounds(limits: tuple[Array, ...]) -> tuple[float, float]:
        lower = float(limits[0]) if len(limits) > 0 and limits[0] is not None else low
        return lower, float(limits[1]) if len(limits) > 1 and limits[1] is not None else high

    def backward(g: Array, y: Array, x: Array, *limits: Array) -> tuple[Gradient, ...]:
        lower, upper = bounds(limits)
        return (np.where((x >= lower) & (x <= upper), g, 0.0), *(None for _ in limits))

    return Operator(lambda x, *limits: np.clip(x, *bounds(limits)), backward)


# ---------------------------------------------------------------------------------------- functions of two and more


def _add(node: Node, opset: int) -> Operator:
    return Operator(lambda a, b: a + b, lambda g, y, a, b: (sum_to(g, a.shape), sum_to(g, b.shape)))


def _sub(node: Node, opset: int) -> Operator:
    return Operator(lambda a, b: a - b, lambda g, y, a, b: (sum_to(g, a.shape), sum_to(-g, b.shape)))


def _mul(node: Node, opset: int) -> Operator:
    return Operator(lambda a, b: a * b, lambda g, y, a, b: (sum_to(g * b, a.shape), sum_to(g * a, b.shape)))


def _div(node: Node, opset: int) -> Operator:
    return Operator(lambda a, b: a / b, lambda g, y, a, b: (sum_to(g / b, a.shape), sum_to(-g * y / b, b.shape)))


def _pow(node: Node, opset: int) -> Operator:
    def backward(g: Array, y: Array, a: Array, b: Array) -> tuple[Gradient, ...]:
        with np.errstate(divide="ignore", invalid="ignore"):
            by_base = np.where(b == 0.0, 0.0, g * b * np.power(a, b - 1.0))
            by_exponent = np.where(a > 0.0, g * y * np.log(np.where(a > 0.0, a, 1.0)), 0.0)
        return sum_to(by_base, a.shape), sum_to(by_exponent, b.shape)

    return Operator(np.power, backward)


def _sum(node: Node, opset: int) -> Operator:
    return Operator(lambda *terms: sum(terms[1:], terms[0]), lambda g, y, *terms: tuple(sum_to(g, term.shape) for term in terms))


def _extreme(choose: Callable[[Array, Array], Array]) -> Builder:
    def build(node: Node, opset: int) -> Operator:
        def forward(*terms: Array) -> Array:
            result = terms[0]
            for term in terms[1:]:
                result = choose(result, term)
            return result

        def backward(g: Array, y: Array, *terms: Array) -> tuple[Gradient, ...]:
            left = g
            parts: list[Gradient] = []
            for term in terms:  # ties go to the first
                is_chosen = term == y
                parts.append(sum_to(np.where(is_chosen, left, 0.0), term.shape))
                left = np.where(is_chosen, 0.0, left)
            return tuple(parts)

        return Operator(forward, backward)

    return build


def _where(node: Node, opset: int) -> Operator:
    def backward(g: Array, y: Array, condition: Array, a: Array, b: Array) -> tuple[Gradient, ...]:
        return None, sum_to(np.where(condition, g, 0.0), a.shape), sum_to(np.where(condition, 0.0, g), b.shape)

    return Operator(np.where, backward)


def _comparison(compare: Callable[..., Array]) -> Builder:
    return lambda node, opset: Operator(compare, lambda g, y, *inputs: tuple(None for _ in inputs))


def _matmul(node: Node, opset: int) -> Operator:
    def backward(g: Array, y: Array, a: Array, b: Array) -> tuple[Gradient, ...]:
        if a.ndim < 2 or b.ndim < 2:
            raise UnsupportedOperatorError("MatMul of vectors")
        return sum_to(g @ np.swapaxes(b, -1, -2), a.shape), sum_to(np.swapaxes(a, -1, -2) @ g, b.shape)

    return Operator(np.matmul, backward)


def _gemm(node: Node, opset: int) -> Operator:
    alpha, beta = number(node, "alpha", 1.0), number(node, "beta", 1.0)
    flip_a, flip_b = integer(node, "transA", 0) != 0, integer(node, "transB", 0) != 0

    def forward(a: Array, b: Array, c: Array | None = None) -> Array:
        product: Array = (a.T if flip_a else a) @ (b.T if flip_b else b)
        if alpha != 1.0:
            product = alpha * product
        return product if c is None else product + (c if beta == 1.0 else beta * c)

    def backward(g: Array, y: Array, a: Array, b: Array, c: Array | None = None) -> tuple[Gradient, ...]:
        scaled = g if alpha == 1.0 else alpha * g
        by_a = scaled @ (b if flip_b else b.T)
        by_b = (a if flip_a else a.T) @ scaled
        by_c = None if c is None else sum_to(beta * g, c.shape)
        return (by_a.T if flip_a else by_a), (by_b.T if flip_b else by_b), by_c

    return Operator(forward, backward)


def linear(weight: FloatArray, bias: FloatArray | None) -> Operator:
    """x·W + b with constant W and b: the derivative by x only.

    Args:
        weight: W, shape (num_in, num_out).
        bias: b, shape (num_out,) or (1, num_out), or None.
    """
    matrix, transposed = np.ascontiguousarray(weight), np.ascontiguousarray(weight.T)
    forward = (lambda x: x @ matrix) if bias is None else (lambda x: x @ matrix + bias)
    return Operator(forward, lambda g, y, x: (g @ transposed,))


def with_constant(op_type: str, constant: Array, is_second: bool) -> Operator | None:
    """Add, Sub, Mul or Div of a value and a constant: the derivative by the value only; None for others.

    Args:
        op_type: the operator.
        constant: c.
        is_second: whether it is x ∘ c, else c ∘ x.
    """
    if op_type == "Add":
        return Operator(lambda x: x + constant, lambda g, y, x: (sum_to(g, x.shape),))
    if op_type == "Mul":
        return Operator(lambda x: x * constant, lambda g, y, x: (sum_to(g * constant, x.shape),))
    if op_type == "Sub":
        if is_second:
            return Operator(lambda x: x - constant, lambda g, y, x: (sum_to(g, x.shape),))
        return Operator(lambda x: constant - x, lambda g, y, x: (sum_to(-g, x.shape),))
    if op_type == "Div" and is_second:
        return Operator(lambda x: x / constant, lambda g, y, x: (sum_to(g / constant, x.shape),))
    return None


def _batch_normalization(node: Node, opset: int) -> Operator:
    epsilon = number(node, "epsilon", 1e-5)
    if integer(node, "training_mode", 0):
        raise UnsupportedOperatorError("BatchNormalization in training mode")

    def factors(x: Array, scale: Array, variance: Array) -> tuple[Array, tuple[int, ...]]:
        shape = (1, -1) + (1,) * (x.ndim - 2)
        return (scale / np.sqrt(variance + epsilon)).reshape(shape), shape

    def forward(x: Array, scale: Array, bias: Array, mean: Array, variance: Array) -> Array:
        factor, shape = factors(x, scale, variance)
        result: Array = (x - mean.reshape(shape)) * factor + bias.reshape(shape)
        return result

    def backward(g: Array, y: Array, x: Array, scale: Array, bias: Array, mean: Array, variance: Array) -> tuple[Gradient, ...]:
        return g * factors(x, scale, variance)[0], None, None, None, None

    return Operator(forward, backward)


def _layer_normalization(node: Node, opset: int) -> Operator:
    epsilon, axis = number(node, "epsilon", 1e-5), integer(node, "axis", -1)

    def parts(x: Array) -> tuple[Array, Array, tuple[int, ...]]:
        axes = tuple(range(axis % x.ndim, x.ndim))
        centred = x - x.mean(axis=axes, keepdims=True)
        inverse = 1.0 / np.sqrt((centred * centred).mean(axis=axes, keepdims=True) + epsilon)
        return centred * inverse, inverse, axes

    def forward(x: Array, scale: Array, bias: Array | None = None) -> Array:
        result: Array = parts(x)[0] * scale
        return result if bias is None else result + bias

    def backward(g: Array, y: Array, x: Array, scale: Array, bias: Array | None = None) -> tuple[Gradient, ...]:
        unit, inverse, axes = parts(x)
        h = g * scale
        by_x = inverse * (h - h.mean(axis=axes, keepdims=True) - unit * (h * unit).mean(axis=axes, keepdims=True))
        return by_x, None, None

    return Operator(forward, backward)


def _softmax(node: Node, opset: int) -> Operator:
    axis = integer(node, "axis", -1 if opset >= 13 else 1)

    def backward(g: Array, y: Array, x: Array) -> tuple[Gradient, ...]:
        return (y * (g - (g * y).sum(axis=axis, keepdims=True)),)

    return Operator(lambda x: special.softmax(x, axis=axis), backward)


ARITHMETIC: Mapping[str, Builder] = MappingProxyType(
    dict.fromkeys(_UNARY, _simple)
    | {
        "LeakyRelu": _leaky_relu, "Elu": _elu, "Selu": _selu, "Celu": _celu, "HardSigmoid": _hard_sigmoid, "Gelu": _gelu, "Clip": _clip,
        "Add": _add, "Sub": _sub, "Mul": _mul, "Div": _div, "Pow": _pow, "Sum": _sum, "Max": _extreme(np.maximum),
        "Min": _extreme(np.minimum), "Where": _where, "MatMul": _matmul, "Gemm": _gemm, "BatchNormalization": _batch_normalization,
        "LayerNormalization": _layer_normalization, "Softmax": _softmax, "Less": _comparison(np.less), "Not": _comparison(np.logical_not),
        "LessOrEqual": _comparison(np.less_equal), "Greater": _comparison(np.greater), "Equal": _comparison(np.equal),
        "GreaterOrEqual": _comparison(np.greater_equal), "And": _comparison(np.logical_and), "Or": _comparison(np.logical_or),
    }
)  # fmt: skip
"""Operators that compute."""
