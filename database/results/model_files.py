"""Files of statistical models beside a result: whether they are there, and where the store keeps them."""

from __future__ import annotations

import json
from pathlib import Path


def is_inside(folder: Path, name: str) -> bool:
    """Whether a name stays within the folder of its result, links included, and names a file."""
    path = folder / name
    return path.resolve().is_relative_to(folder.resolve()) and path.is_file()


def is_workspace(path: Path) -> bool:
    """Whether a file is a HistFactory workspace."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and "channels" in content and "observations" in content


def stored_path(folder: Path, root: Path, name: str) -> str:
    """Where the store keeps a file of a result, relative to the store."""
    return f"workspaces/{(folder.relative_to(root) / name).as_posix()}"
