"""Mass grids of the text files: millions of rows `[[[m,m],[m,m]],value]` turned into arrays.

The fast path checks that all rows share one skeleton (brackets, units, stars) by comparing the text without its
digits, then converts all numbers at once. Whatever does not fit goes through the exact literal parser, row by row,
with the same result or an error that says where.
"""

from __future__ import annotations

import math
import re
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from database.results.literals import UNITS, LiteralError, Quantity, Value, as_number, parse_literal

FloatArray = NDArray[np.float64]

MIN_WIDTH_GEV: Final = 1e-30
MAX_WIDTH_GEV: Final = 1e50

_NUMBER_CHARACTERS: Final = b"0123456789.+-eE \t"
_NUMBER_WITH_UNIT: Final = re.compile(r"[\d.]+(?:[eE][-+]?\d+)?(?:\*([A-Za-z]+))?")
_BRACKETS_TO_BLANKS: Final = str.maketrans("[](),'", "      ")


class Axis(NamedTuple):
    """One number of a grid point: which entry of which branch it is.

    Attributes:
        branch: index of the branch, or -1 in flat points.
        position: index in the branch, or in the flat point.
        is_width: whether it is a width [GeV] rather than a mass [GeV].
    """

    branch: int
    position: int
    is_width: bool


class GridText(NamedTuple):
    """One grid as written.

    Attributes:
        axes: meaning of the columns; masses first, then widths (flat points keep their order).
        points: masses and widths as written [GeV], shape (num_points, num_axes).
        values: efficiencies, or limits [fb], shape (num_points,).
    """

    axes: tuple[Axis, ...]
    points: FloatArray
    values: FloatArray


def transform_width(width: float) -> float:
    """Returns the coordinate R(Γ) = ln(1 + min(Γ, 1e50)/1e-30) of a width in a grid.

    Args:
        width: total width [GeV], ≥ 0.

    Returns:
        dimensionless; where Γ/1e-30 < 1e-10 the argument itself, which is what the logarithm tends to.

    Examples:
        >>> round(transform_width(1e-15), 3)
        34.539
    """
    ratio = min(width, MAX_WIDTH_GEV) / MIN_WIDTH_GEV
    return ratio if ratio < 1e-10 else math.log(1 + ratio)


def parse_grid(text: str, is_limit: bool) -> GridText:
    """Returns the points and values of an `efficiencyMap`, `upperLimits` or `expectedUpperLimits` value.

    Args:
        text: the logical line's value, `[[point, value], [point, value], …]`.
        is_limit: whether values are cross-section limits and need a unit.

    Raises:
        LiteralError: not a grid; `offset` says where, as far as known.

    Examples:
        >>> parse_grid("[[[[200*GeV,100*GeV],[200*GeV,100*GeV]],2.5*pb]]", is_limit=True).values
        array([2500.])
    """
    grid = _parse_fast(text, is_limit)
    return grid if grid is not None else _parse_exact(text, is_limit)


def _parse_fast(text: str, is_limit: bool) -> GridText | None:
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    inside = text[1:-1].strip().rstrip(",").strip()
    stop = _first_row_stop(inside)
    if stop < 0:
        return None
    first = inside[:stop]
    try:
        row = parse_literal(first)
        axes, columns = _axes_of(row)
        expected = _row_values(row, axes, is_limit)
    except LiteralError:
        return None
    skeleton = _skeleton(first)
    all_rows = _skeleton(inside)
    num_rows, rest = divmod(len(all_rows) + 1, len(skeleton) + 1)
    if rest or b",".join([skeleton] * num_rows) != all_rows:
        return None
    plain = inside
    for unit in UNITS:
        if "*" + unit in first:
            plain = plain.replace("*" + unit, " ")
    try:
        numbers = np.array(plain.replace("*", " ").translate(_BRACKETS_TO_BLANKS).split(), dtype=np.float64)
    except ValueError:
        return None
    num_columns, scales = len(columns) + 1, _scales_of(first)
    if numbers.size != num_rows * num_columns or scales.size != num_columns or not np.all(np.isfinite(numbers)):
        return None
    table = numbers.reshape(num_rows, num_columns) * scales
    points, values = np.ascontiguousarray(table[:, columns]), np.ascontiguousarray(table[:, -1])
    return GridText(axes, points, values) if [*points[0], values[0]] == expected else None


def _first_row_stop(text: str) -> int:
    depth = 0
    for index, character in enumerate(text):
        if character == "[":
            depth += 1
        elif character == "]":
            depth -= 1
            if depth == 0:
                return index + 1
    return -1


def _skeleton(text: str) -> bytes:
    return text.encode().translate(None, _NUMBER_CHARACTERS)


def _axes_of(row: Value) -> tuple[tuple[Axis, ...], list[int]]:
    """Meaning of a row's numbers and, per axis, the column it has in reading order."""
    if not (isinstance(row, list) and len(row) == 2 and isinstance(row[0], list) and row[0]):
        raise LiteralError("a row must be [point, value]")
    point = row[0]
    masses: list[tuple[Axis, int]] = []
    widths: list[tuple[Axis, int]] = []
    column = 0
    if not any(isinstance(entry, list | str) for entry in point):
        return tuple(Axis(-1, position, False) for position in range(len(point))), list(range(len(point)))
    for branch_index, branch in enumerate(point):
        if branch == "*":
            continue
        if not isinstance(branch, list):
            raise LiteralError("a branch must be a list of masses or '*'")
        for position, entry in enumerate(branch):
            masses.append((Axis(branch_index, position, False), column))
            column += 1
            if isinstance(entry, tuple) and not isinstance(entry, Quantity):
                if len(entry) != 2:
                    raise LiteralError("an entry must be a mass or (mass, width)")
                widths.append((Axis(branch_index, position, True), column))
                column += 1
    ordered = masses + widths
    if not ordered:
        raise LiteralError("a point without masses")
    return tuple(axis for axis, _ in ordered), [index for _, index in ordered]


def _numbers_of(row: Value, axes: tuple[Axis, ...]) -> list[Value]:
    """The row's entries in the order of `axes`, then its value."""
    assert isinstance(row, list)
    point, value = row
    assert isinstance(point, list)
    numbers: list[Value] = []
    for axis in axes:
        entry: Value
        if axis.branch < 0:
            entry = point[axis.position]
        else:
            branch = point[axis.branch]
            assert isinstance(branch, list)
            entry = branch[axis.position]
            if isinstance(entry, tuple) and not isinstance(entry, Quantity):
                entry = entry[1] if axis.is_width else entry[0]
        numbers.append(entry)
    return [*numbers, value]


def _row_values(row: Value, axes: tuple[Axis, ...], is_limit: bool) -> list[float]:
    """Masses and widths [GeV] in the order of `axes`, then the efficiency or limit [fb]."""
    *entries, value = _numbers_of(row, axes)
    is_flat = axes[0].branch < 0
    coordinates = [as_number(entry, energy=1, is_unit_needed=not is_flat) for entry in entries]
    return [*coordinates, as_number(value, cross_section=1 if is_limit else 0)]


def _scales_of(first: str) -> FloatArray:
    """Factor per column (reading order) from the written number to GeV or fb."""
    units = [match.group(1) for match in _NUMBER_WITH_UNIT.finditer(first)]
    return np.array([UNITS[unit].magnitude if unit in UNITS else 1.0 for unit in units])


def _parse_exact(text: str, is_limit: bool) -> GridText:
    rows = parse_literal(text)
    if not isinstance(rows, list) or not rows:
        raise LiteralError("a grid must be a list of [point, value]")
    axes, _ = _axes_of(rows[0])
    table = np.empty((len(rows), len(axes) + 1))
    for index, row in enumerate(rows):
        try:
            if _axes_of(row)[0] != axes:
                raise LiteralError("differs in shape from the first row")
            table[index] = _row_values(row, axes, is_limit)
        except LiteralError as error:
            raise LiteralError(f"row {index + 1}: {error}") from None
    if not np.all(np.isfinite(table)):
        raise LiteralError("a value is not finite")
    return GridText(axes, np.ascontiguousarray(table[:, :-1]), np.ascontiguousarray(table[:, -1]))
