"""Covariance matrices as published: read from nested lists, and refused where no background can have them."""

from __future__ import annotations

import numpy as np

from database.results.literals import LiteralError, Value, as_number
from database.results.maps import FloatArray

SYMMETRY_TOLERANCE = 1e-6
"""Largest difference of two mirrored entries, in units of the product of their standard deviations."""


def read_covariance(rows: Value, size: int, name: str, owner: str) -> FloatArray:
    """Returns a covariance [events²], shape (size, size).

    Args:
        rows: a list of rows.
        size: number of regions.
        name: what messages call it.
        owner: what has the regions, for messages: "there are 3 data sets".

    Raises:
        LiteralError: it has another shape, is not finite, not symmetric, or a variance is not positive.
    """
    if not isinstance(rows, list | tuple) or not all(isinstance(row, list | tuple) for row in rows):
        raise LiteralError(f"cannot read {name}: it is not a list of rows")
    numbers = [[_number(entry, name) for entry in row] for row in rows if isinstance(row, list | tuple)]
    lengths = {len(row) for row in numbers}
    if len(lengths) > 1:
        raise LiteralError(f"cannot read {name}: its rows have different lengths")
    if (len(numbers), *lengths) != (size, size):
        raise LiteralError(f"{name} is {'×'.join(map(str, (len(numbers), *lengths)))}, but {owner}")
    covariance = np.array(numbers, dtype=np.float64)
    if not np.all(np.isfinite(covariance)):
        raise LiteralError(f"{name} is not finite")
    variances = np.diag(covariance)
    if not np.all(variances > 0.0):
        raise LiteralError(f"{name} has a variance that is not positive: {variances.min():g} in row {int(variances.argmin()) + 1}")
    if np.any(np.abs(covariance - covariance.T) > SYMMETRY_TOLERANCE * np.sqrt(np.outer(variances, variances))):
        raise LiteralError(f"{name} is not symmetric")
    return covariance


def _number(entry: Value, name: str) -> float:
    try:
        return as_number(entry)
    except LiteralError as error:
        raise LiteralError(f"cannot read {name}: {error}") from None
