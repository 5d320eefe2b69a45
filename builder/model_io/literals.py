"""Python literals as data: parsed, never evaluated.

Files of the reference project are Python literals with bare `nan` and `inf` in them, and with `np.float64(1.2)` where a
newer NumPy printed a number. The text goes through Python's own grammar; only literals are translated, anything else is
an error with its line.
"""

from __future__ import annotations

import ast
import math
import warnings
from typing import Any

from database.errors import ModelFormatError

_NAMES: dict[str, float | None] = {"nan": math.nan, "NaN": math.nan, "inf": math.inf, "Infinity": math.inf, "null": None}
_NUMBER_TYPES = frozenset({"float", "int", "float64", "float32", "int64", "int32", "longdouble"})


def parse_literal(text: str) -> Any:
    """Return the dict, list, tuple, set, string or number a Python literal stands for.

    Raises:
        ModelFormatError: the text is not a literal; the sentence names the line.

    Examples:
        >>> parse_literal("{(1000006, -1000006): nan, 'K': np.float64(6.9)}")
        {(1000006, -1000006): nan, 'K': 6.9}
        >>> parse_literal("__import__('os').getcwd()")
        Traceback (most recent call last):
        ...
        database.errors.ModelFormatError: line 1: only numbers, strings, dicts, lists and tuples are allowed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(text.strip(), mode="eval")
        return _convert(tree.body)
    except SyntaxError as error:
        raise ModelFormatError(f"line {error.lineno or 1}: {error.msg}.") from error
    except (ValueError, RecursionError, MemoryError, TypeError) as error:
        raise ModelFormatError(f"not a readable Python literal: {error}.") from error


def _convert(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float, str, bool, type(None))):
        return node.value
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_convert(key): _convert(value) for key, value in zip(node.keys, node.values, strict=True) if key is not None}
    if isinstance(node, ast.List):
        return [_convert(item) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_convert(item) for item in node.elts)
    if isinstance(node, ast.Set):
        return {_convert(item) for item in node.elts}
    if isinstance(node, ast.Name) and node.id in _NAMES:
        return _NAMES[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        value = _convert(node.operand)
        if isinstance(value, (int, float)):
            return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
        number = _convert_number_call(node)
        if number is not None:
            return number
    raise ModelFormatError(f"line {node.lineno}: only numbers, strings, dicts, lists and tuples are allowed.")


def _convert_number_call(node: ast.Call) -> float | int | None:
    """Translate `float("nan")` and `np.float64(1.2)`, which are printed numbers and not calls to make."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
    if name not in _NUMBER_TYPES:
        return None
    value = _convert(node.args[0])
    if isinstance(value, str):
        return _NAMES.get(value)
    return value if isinstance(value, (int, float)) else None
