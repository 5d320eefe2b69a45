"""The covariance form as a JSON file: numbers with their names, readable by anyone.

    {"format": "protomodels-background-covariance", "version": 1,
     "bins": [{"channel": "SR", "bin": 0, "observed": 5, "background": 4.2, "fitted": 4.6}, …], "covariance": [[…], …]}

Units are events and events². `fitted` is the background at the fit to all data, where the full model was linearised.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from inference.likelihoods.simplified.conditioned import BackgroundSummary
from inference.likelihoods.simplified.errors import SimplificationError

FORMAT = "protomodels-background-covariance"
VERSION = 1


def write_summary(summary: BackgroundSummary) -> dict[str, Any]:
    """The summary as plain JSON values."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "bins": [
            {"channel": channel, "bin": position, "observed": observed, "background": background, "fitted": fitted}
            for (channel, position), observed, background, fitted in zip(
                summary.bins, summary.observed.tolist(), summary.background.tolist(), summary.means.tolist(), strict=True
            )
        ],
        "covariance": summary.covariance.tolist(),
    }


def read_summary(document: Mapping[str, Any]) -> BackgroundSummary:
    """The summary in a parsed file.

    Raises:
        SimplificationError: it is no such file; names the field.
    """
    if document.get("format") != FORMAT or document.get("version") != VERSION:
        raise SimplificationError(f"`format` must be {FORMAT!r} and `version` {VERSION}")
    bins = document.get("bins")
    if not isinstance(bins, list) or not bins:
        raise SimplificationError("`bins` must be a list of bins")
    for position, entry in enumerate(bins):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("channel"), str) or not isinstance(entry.get("bin"), int):
            raise SimplificationError(f"bin {position} needs a `channel` (text) and a `bin` (whole number)")
        for field in ("observed", "background", "fitted"):
            if not _is_number(entry.get(field)):
                raise SimplificationError(f"`{field}` of bin {position} must be a finite number")
    rows = document.get("covariance")
    size = len(bins)
    if not isinstance(rows, list) or len(rows) != size or any(not isinstance(row, list) or len(row) != size for row in rows):
        raise SimplificationError(f"`covariance` must have {size} rows of {size} numbers, one per bin")
    if not all(_is_number(value) for row in rows for value in row):
        raise SimplificationError("`covariance` holds a value that is no finite number")
    names = tuple((str(entry["channel"]), int(entry["bin"])) for entry in bins)
    observed, background, means = (
        np.array([entry[field] for entry in bins], dtype=np.float64) for field in ("observed", "background", "fitted")
    )
    return BackgroundSummary(names, observed, background, np.array(rows, dtype=np.float64), means, False)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
