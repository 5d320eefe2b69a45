"""Values of the results text files: numbers, lists and units, read without evaluating any code.

A value is a Python literal extended by arithmetic and the unit names of `UNITS`; it is parsed with `ast` and only
a closed list of node types is accepted. Energies are reduced to GeV, cross sections to fb.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Final, NamedTuple


class LiteralError(ValueError):
    """A text is not a literal of the results format.

    Attributes:
        offset: position of the problem in the text [characters], or -1 if unknown.
    """

    def __init__(self, message: str, offset: int = -1) -> None:
        super().__init__(message)
        self.offset = offset


class Quantity(NamedTuple):
    """A number with a dimension.

    Attributes:
        magnitude: in powers of GeV and fb.
        energy: exponent of GeV.
        cross_section: exponent of fb; −1 for luminosities.
    """

    magnitude: float
    energy: int
    cross_section: int


UNITS: Final[dict[str, Quantity]] = {
    "eV": Quantity(1e-9, 1, 0),
    "keV": Quantity(1e-6, 1, 0),
    "MeV": Quantity(1e-3, 1, 0),
    "GeV": Quantity(1.0, 1, 0),
    "TeV": Quantity(1e3, 1, 0),
    "fb": Quantity(1.0, 0, 1),
    "pb": Quantity(1e3, 0, 1),
    "nb": Quantity(1e6, 0, 1),
}
"""Unit names the text format knows; 1 pb = 1000 fb, 1 TeV = 1000 GeV."""

Value = None | bool | int | float | str | Quantity | list["Value"] | tuple["Value", ...] | dict["Value", "Value"]

MAX_DEPTH: Final = 60
"""Deepest nesting that is read; published values stay below 10."""

_ARITHMETIC: Final[dict[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_NAMES: Final[dict[str, bool | None]] = {"None": None, "True": True, "False": False}


def parse_literal(text: str) -> Value:
    """Returns the value of a literal with units.

    Args:
        text: e.g. `13*TeV`, `139./fb`, `[[1, 2.5*pb], 'a']`.

    Raises:
        LiteralError: the text is not a literal; only constants, lists, tuples, dictionaries, unit names and
            arithmetic with numbers are.

    Examples:
        >>> parse_literal("139./fb")
        Quantity(magnitude=139.0, energy=0, cross_section=-1)
        >>> parse_literal("[1, (2, 'a')]")
        [1, (2, 'a')]
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError as error:
        raise LiteralError(error.msg, (error.offset or 1) - 1 if (error.lineno or 1) == 1 else -1) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise LiteralError(str(error) or "nested too deeply") from None
    return _evaluate(tree.body, 0)


def _evaluate(node: ast.expr, depth: int) -> Value:
    if depth > MAX_DEPTH:
        raise LiteralError("nested too deeply", node.col_offset)
    match node:
        case ast.Constant(value=None | bool() | int() | float() | str() as value):
            return value
        case ast.Name(id=name) if name in UNITS:
            return UNITS[name]
        case ast.Name(id=name) if name in _NAMES:
            return _NAMES[name]
        case ast.List(elts=elements):
            return [_evaluate(element, depth + 1) for element in elements]
        case ast.Tuple(elts=elements):
            return tuple(_evaluate(element, depth + 1) for element in elements)
        case ast.Dict(keys=keys, values=values):
            return _evaluate_dict(keys, values, depth, node.col_offset)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            return _signed(_evaluate(operand, depth + 1), -1 if isinstance(sign, ast.USub) else 1, node)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return _binary(_evaluate(left, depth + 1), op, _evaluate(right, depth + 1), node)
        case ast.Name(id=name):
            raise LiteralError(f"unknown name {name!r}", node.col_offset)
    raise LiteralError(f"{ast.unparse(node)[:40]!r} is not a literal", node.col_offset)


def _evaluate_dict(keys: list[ast.expr | None], values: list[ast.expr], depth: int, offset: int) -> Value:
    result: dict[Value, Value] = {}
    for key_node, value_node in zip(keys, values, strict=True):
        if key_node is None:
            raise LiteralError("'**' is not a literal", offset)
        key = _evaluate(key_node, depth + 1)
        if not isinstance(key, str | int | float | None):
            raise LiteralError("a dictionary key must be a text or a number", offset)
        result[key] = _evaluate(value_node, depth + 1)
    return result


def _as_quantity(value: Value, node: ast.expr) -> Quantity:
    if isinstance(value, Quantity):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Quantity(float(value), 0, 0)
    raise LiteralError("arithmetic with something that is not a number", node.col_offset)


def _signed(value: Value, sign: int, node: ast.expr) -> Value:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return sign * value
    quantity = _as_quantity(value, node)
    return quantity._replace(magnitude=sign * quantity.magnitude)


def _binary(left_value: Value, op: ast.operator, right_value: Value, node: ast.expr) -> Value:
    left, right = _as_quantity(left_value, node), _as_quantity(right_value, node)
    if isinstance(op, ast.Add | ast.Sub):
        if left[1:] != right[1:]:
            raise LiteralError("a sum of different units", node.col_offset)
        energy, cross_section = left.energy, left.cross_section
    else:
        sign = 1 if isinstance(op, ast.Mult) else -1
        energy, cross_section = left.energy + sign * right.energy, left.cross_section + sign * right.cross_section
    try:
        magnitude = _ARITHMETIC[type(op)](left.magnitude, right.magnitude)
    except ZeroDivisionError:
        raise LiteralError("division by zero", node.col_offset) from None
    return Quantity(magnitude, energy, cross_section) if energy or cross_section else magnitude


def as_number(value: Value, *, energy: int = 0, cross_section: int = 0, is_unit_needed: bool = True) -> float:
    """Returns a number in GeV and fb after checking its dimension.

    Args:
        value: a number or a quantity.
        energy: expected exponent of GeV.
        cross_section: expected exponent of fb.
        is_unit_needed: whether a plain number is refused where a unit is expected.

    Raises:
        LiteralError: not a number, or the wrong unit.

    Examples:
        >>> as_number(parse_literal("2.1*pb"), cross_section=1)
        2100.0
    """
    if isinstance(value, Quantity):
        if (value.energy, value.cross_section) != (energy, cross_section):
            raise LiteralError("wrong unit")
        return value.magnitude
    if isinstance(value, int | float) and not isinstance(value, bool):
        if is_unit_needed and (energy or cross_section):
            raise LiteralError("a unit is missing")
        return float(value)
    raise LiteralError("not a number")
