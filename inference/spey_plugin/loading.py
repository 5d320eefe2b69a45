"""spey, if it is installed."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from database.errors import UserFacingError


class MissingSpeyError(UserFacingError):
    """spey is not installed."""


def load_spey() -> ModuleType:
    """The module spey.

    Raises:
        MissingSpeyError: it is not installed.
    """
    try:
        return import_module("spey")
    except ImportError:
        raise MissingSpeyError("spey is not installed: pip install spey") from None
