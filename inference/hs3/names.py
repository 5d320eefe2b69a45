"""Names of parameters per bin: `NAME[i]` here, `NAME_bin_i` in HS3 files, which ROOT can take."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NUMBERED = re.compile(r"(?P<name>.+)_bin_\d+")


def bin_names(name: str, size: int, taken: set[str]) -> list[str]:
    """HS3 names of the parameters of a set, none of them in `taken`.

    Examples:
        >>> bin_names("staterror_SR", 2, set())
        ['staterror_SR_bin_0', 'staterror_SR_bin_1']
    """
    prefix = name
    while any(f"{prefix}_bin_{i}" in taken for i in range(size)):
        prefix += "_"
    return [f"{prefix}_bin_{i}" for i in range(size)]


def set_name(parameters: Sequence[str], given: str | None) -> str:
    """Name of the set that such parameters belong to: the one given, else what they share.

    Examples:
        >>> set_name(["gamma_0", "gamma_1"], None), set_name(["a_bin_0"], None), set_name(["x", "y"], None)
        ('gamma', 'a', 'x')
    """
    if given:
        return given
    matched = _NUMBERED.fullmatch(parameters[0])
    if matched:
        return matched["name"]
    first, last = min(parameters), max(parameters)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:length].rstrip("_[") or parameters[0]
