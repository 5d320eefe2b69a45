"""Operators of networks that only move, join, split or add up numbers; see `operators` for what an operator is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from inference.networks.onnx_file import Node
from inference.networks.operators import Array, Builder, Gradient, Operator, UnsupportedOperatorError, integer, integers, sum_to


def _cast(node: Node, opset: int) -> Operator:
    kind = integer(node, "to", 1)
    if kind in (1, 10, 11, 16):
        return Operator(lambda x: np.asarray(x, dtype=np.float64), lambda g, y, x: (g if x.dtype.kind == "f" else None,))
    if kind in (6, 7):
        return Operator(lambda x: np.asarray(np.trunc(x) if x.dtype.kind == "f" else x, dtype=np.int64), lambda g, y, x: (None,))
    if kind == 9:
        return Operator(lambda x: x != 0, lambda g, y, x: (None,))
    raise UnsupportedOperatorError(f"Cast to type {kind}")


def _reshaping(forward: Callable[..., Array]) -> Operator:
    return Operator(forward, lambda g, y, x, *rest: (g.reshape(x.shape), *(None for _ in rest)))


def _reshape(node: Node, opset: int) -> Operator:
    keeps_zero = integer(node, "allowzero", 0) != 0

    def forward(x: Array, shape: Array) -> Array:
        sizes = [int(size) for size in shape]
        if not keeps_zero:
            sizes = [x.shape[k] if size == 0 else size for k, size in enumerate(sizes)]
        return x.reshape(sizes)

    return _reshaping(forward)


def _flatten(node: Node, opset: int) -> Operator:
    axis = integer(node, "axis", 1)
    return _reshaping(lambda x: x.reshape(int(np.prod(x.shape[: axis if axis >= 0 else axis + x.ndim])), -1))


def _squeeze(node: Node, opset: int) -> Operator:
    fixed = integers(node, "axes")

    def forward(x: Array, axes: Array | None = None) -> Array:
        chosen = fixed if axes is None else tuple(int(axis) for axis in axes)
        return np.squeeze(x, axis=chosen)

    return _reshaping(forward)


def _unsqueeze(node: Node, opset: int) -> Operator:
    fixed = integers(node, "axes")

    def forward(x: Array, axes: Array | None = None) -> Array:
        chosen = fixed if axes is None else tuple(int(axis) for axis in axes)
        if chosen is None:
            raise UnsupportedOperatorError("Unsqueeze without axes")
        return np.expand_dims(x, chosen)

    return _reshaping(forward)


def _transpose(node: Node, opset: int) -> Operator:
    order = integers(node, "perm")
    back = None if order is None else tuple(int(k) for k in np.argsort(order))
    return Operator(lambda x: np.transpose(x, order), lambda g, y, x: (np.transpose(g, back),))


def _concat(node: Node, opset: int) -> Operator:
    axis = integer(node, "axis", 1)

    def backward(g: Array, y: Array, *parts: Array) -> tuple[Gradient, ...]:
        before = (slice(None),) * (axis % g.ndim)
        pieces: list[Gradient] = []
        start = 0
        for part in parts:
            stop = start + part.shape[axis]
            pieces.append(g[(*before, slice(start, stop))])
            start = stop
        return tuple(pieces)

    return Operator(lambda *parts: np.concatenate(parts, axis=axis), backward)


def split_piece(node: Node, index: int) -> Operator:
    """Piece `index` of a Split; every output is an operator of its own."""
    axis = integer(node, "axis", 0)
    fixed = integers(node, "split")

    def bounds(x: Array, sizes: Array | None) -> slice:
        chosen = fixed if sizes is None else tuple(int(size) for size in sizes)
        if chosen is None:
            step = -(-x.shape[axis] // len(node.outputs))
            return slice(index * step, min((index + 1) * step, x.shape[axis]))
        return slice(sum(chosen[:index]), sum(chosen[: index + 1]))

    def place(x: Array, sizes: Array | None) -> tuple[slice, ...]:
        return tuple(bounds(x, sizes) if k == axis % x.ndim else slice(None) for k in range(x.ndim))

    def backward(g: Array, y: Array, x: Array, *sizes: Array) -> tuple[Gradient, ...]:
        result = np.zeros(x.shape)
        result[place(x, sizes[0] if sizes else None)] = g
        return (result, *(None for _ in sizes))

    return Operator(lambda x, sizes=None: x[place(x, sizes)], backward)


def _gather(node: Node, opset: int) -> Operator:
    axis = integer(node, "axis", 0)

    def backward(g: Array, y: Array, x: Array, indices: Array) -> tuple[Gradient, ...]:
        result = np.zeros(x.shape)
        moved = np.moveaxis(result, axis, 0)  # a view: what is added there is added to the result
        rows = np.moveaxis(g.reshape(*x.shape[: axis % x.ndim], indices.size, *x.shape[axis % x.ndim + 1 :]), axis % x.ndim, 0)
        np.add.at(moved, indices.ravel(), rows)
        return result, None

    return Operator(lambda x, indices: np.take(x, indices, axis=axis), backward)


def _slice(node: Node, opset: int) -> Operator:
    starts, stops, axes = (integers(node, name) for name in ("starts", "ends", "axes"))

    def place(x: Array, given: tuple[Array, ...]) -> tuple[slice, ...]:
        lists = [[int(entry) for entry in part] if part is not None else None for part in given]
        first = lists[0] if lists else list(starts or ())
        last = lists[1] if len(lists) > 1 else list(stops or ())
        which = lists[2] if len(lists) > 2 else (list(axes) if axes is not None else None)
        steps = lists[3] if len(lists) > 3 else None
        if first is None or last is None:
            raise UnsupportedOperatorError("Slice without bounds")
        result = [slice(None)] * x.ndim
        for k, (start, stop) in enumerate(zip(first, last, strict=True)):
            step = 1 if steps is None else steps[k]
            axis = k if which is None else which[k]
            result[axis] = slice(start, stop if stop >= -x.shape[axis] else None, step)
        return tuple(result)

    def backward(g: Array, y: Array, x: Array, *given: Array) -> tuple[Gradient, ...]:
        result = np.zeros(x.shape)
        result[place(x, given)] = g
        return (result, *(None for _ in given))

    return Operator(lambda x, *given: x[place(x, given)], backward)


def _reduction(is_mean: bool) -> Builder:
    def build(node: Node, opset: int) -> Operator:
        fixed, keeps = integers(node, "axes"), integer(node, "keepdims", 1) != 0
        is_idle_without_axes = integer(node, "noop_with_empty_axes", 0) != 0

        def chosen(x: Array, axes: Array | None) -> tuple[int, ...]:
            found = fixed if axes is None else tuple(int(axis) for axis in axes)
            if not found:
                return () if is_idle_without_axes else tuple(range(x.ndim))
            return tuple(axis % x.ndim for axis in found)

        def forward(x: Array, axes: Array | None = None) -> Array:
            result: Array = (np.mean if is_mean else np.sum)(x, axis=chosen(x, axes), keepdims=keeps)
            return result

        def backward(g: Array, y: Array, x: Array, axes: Array | None = None) -> tuple[Gradient, ...]:
            summed = chosen(x, axes)
            shape = tuple(1 if k in summed else size for k, size in enumerate(x.shape))
            spread = np.broadcast_to(g.reshape(shape), x.shape)
            count = int(np.prod([x.shape[k] for k in summed])) if is_mean else 1
            return spread / count, None

        return Operator(forward, backward)

    return build


def _shape(node: Node, opset: int) -> Operator:
    return Operator(lambda x: np.array(x.shape, dtype=np.int64), lambda g, y, x: (None,))


def _expand(node: Node, opset: int) -> Operator:
    def forward(x: Array, shape: Array) -> Array:
        return x * np.ones([int(size) for size in shape])

    return Operator(forward, lambda g, y, x, shape: (sum_to(g, x.shape), None))


SHAPING: Mapping[str, Builder] = MappingProxyType(
    {
        "Cast": _cast, "Reshape": _reshape, "Flatten": _flatten, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Transpose": _transpose,
        "Concat": _concat, "Gather": _gather, "Slice": _slice, "ReduceMean": _reduction(True), "ReduceSum": _reduction(False),
        "Shape": _shape, "Expand": _expand,
    }
)  # fmt: skip
"""Operators that move numbers; Split, Constant and Dropout are treated by the network itself."""
