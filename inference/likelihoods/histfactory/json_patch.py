"""JSON patches (RFC 6902) as HEPData publishes them for signals: add, remove, replace, move, copy, test.

The patched document shares what did not change with the original, which stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inference.likelihoods.histfactory.errors import PatchError

_MISSING = object()


def _split(pointer: str, position: int) -> list[str]:
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise PatchError(f"operation {position} of the patch: {pointer!r} is not a JSON pointer")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _list_index(part: str, size: int, where: str) -> int:
    if not part.isdigit() or (len(part) > 1 and part[0] == "0") or int(part) >= size:
        raise PatchError(f"{where}: {part!r} is no position in a list of {size}")
    return int(part)


def _find(document: Any, parts: Sequence[str], where: str) -> Any:
    for part in parts:
        if isinstance(document, Mapping):
            if part not in document:
                raise PatchError(f"{where}: there is no {part!r}")
            document = document[part]
        elif isinstance(document, list):
            document = document[_list_index(part, len(document), where)]
        else:
            raise PatchError(f"{where}: {part!r} leads into a plain value")
    return document


def _changed(document: Any, parts: Sequence[str], value: Any, op: str, where: str) -> Any:
    """A copy of the document along the path, with the value added, replaced or (value `_MISSING`) removed."""
    if not parts:
        if value is _MISSING:
            raise PatchError(f"{where}: the whole document cannot be removed")
        return value
    part, rest = parts[0], parts[1:]
    if isinstance(document, Mapping):
        copy = dict(document)
        if rest:
            copy[part] = _changed(_find(document, [part], where), rest, value, op, where)
        elif op == "add":
            copy[part] = value
        else:
            _find(document, [part], where)
            if value is _MISSING:
                del copy[part]
            else:
                copy[part] = value
        return copy
    if not isinstance(document, list):
        raise PatchError(f"{where}: {part!r} leads into a plain value")
    items = list(document)
    if not rest and op == "add":
        items.insert(len(items) if part == "-" else _list_index(part, len(items) + 1, where), value)
        return items
    index = _list_index(part, len(items), where)
    if rest:
        items[index] = _changed(items[index], rest, value, op, where)
    elif value is _MISSING:
        del items[index]
    else:
        items[index] = value
    return items


def apply_patch(document: Any, patch: Sequence[Mapping[str, Any]]) -> Any:
    """The document after all operations of a patch, in their order.

    Args:
        document: a parsed JSON document; not changed.
        patch: operations with `op`, `path` and, as the operation needs them, `value` or `from`.

    Raises:
        PatchError: an operation is unknown, incomplete, leads nowhere, or its test fails.

    Examples:
        >>> apply_patch({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}, {"op": "remove", "path": "/a/0"}])
        {'a': [2, 3]}
    """
    for position, operation in enumerate(patch):
        if not isinstance(operation, Mapping) or "op" not in operation or "path" not in operation:
            raise PatchError(f"operation {position} of the patch needs `op` and `path`")
        op, path = operation["op"], operation["path"]
        where = f"operation {position} of the patch ({op} {path})"
        parts = _split(path, position)
        if op in ("add", "replace", "test") and "value" not in operation:
            raise PatchError(f"{where} needs `value`")
        if op == "add":
            document = _changed(document, parts, operation["value"], "add", where)
        elif op == "replace":
            document = _changed(document, parts, operation["value"], "replace", where)
        elif op == "remove":
            document = _changed(document, parts, _MISSING, "remove", where)
        elif op == "test":
            if _find(document, parts, where) != operation["value"]:
                raise PatchError(f"{where}: the value differs")
        elif op in ("move", "copy"):
            if "from" not in operation:
                raise PatchError(f"{where} needs `from`")
            source = _split(operation["from"], position)
            if op == "move" and parts[: len(source)] == source and len(parts) > len(source):
                raise PatchError(f"{where}: a value cannot move into itself")
            value = _find(document, source, where)
            if op == "move":
                document = _changed(document, source, _MISSING, "remove", where)
            document = _changed(document, parts, value, "add", where)
        else:
            raise PatchError(f"{where}: unknown operation")
    return document
