"""Typed access to parsed JSON, with errors that name the element."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from inference.hs3.errors import Hs3Error


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return type(value) in (int, float) and math.isfinite(value)


def get_text(entry: Any, key: str, where: str) -> str:
    """A text that must be there."""
    value = entry.get(key) if isinstance(entry, Mapping) else None
    if not isinstance(value, str) or not value:
        raise Hs3Error(f"{where} needs `{key}`, a text")
    return value


def get_list(entry: Any, key: str, where: str) -> Sequence[Any]:
    """A list; empty where it is missing."""
    value = entry.get(key, []) if isinstance(entry, Mapping) else None
    if not isinstance(value, list):
        raise Hs3Error(f"`{key}` of {where} must be a list")
    return value


def get_numbers(entry: Any, key: str, where: str, size: int | None = None) -> list[float]:
    """A list of finite numbers that must be there."""
    values = entry.get(key) if isinstance(entry, Mapping) else None
    if not isinstance(values, list) or not values or not all(is_number(value) for value in values):
        raise Hs3Error(f"{where} needs `{key}`, a list of finite numbers")
    if size is not None and len(values) != size:
        raise Hs3Error(f"`{key}` of {where} has {len(values)} entries where {size} are expected")
    return values


def find_entry(entries: Mapping[str, Mapping[str, Any]], name: Any, section: str, where: str) -> Mapping[str, Any]:
    """The entry of a section that something refers to by name."""
    entry = entries.get(name) if isinstance(name, str) else None
    if entry is None:
        raise Hs3Error(f"{where} refers to the {section} `{name}`, which is not there")
    return entry


def index_by_name(document: Mapping[str, Any], section: str) -> dict[str, Mapping[str, Any]]:
    """The entries of a top-level section by name, in their order."""
    found: dict[str, Mapping[str, Any]] = {}
    for entry in get_list(document, section, "the document"):
        if not isinstance(entry, Mapping):
            raise Hs3Error(f"`{section}` must hold objects")
        name = get_text(entry, "name", f"an entry of `{section}`")
        if name in found:
            raise Hs3Error(f"`{section}` has two entries named `{name}`")
        found[name] = entry
    return found
