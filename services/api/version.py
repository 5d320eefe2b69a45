"""The version of the running service."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def service_version() -> str:
    """Version of the installed distribution, "unknown" when run from a checkout that is not installed."""
    try:
        return version("protomodels")
    except PackageNotFoundError:
        return "unknown"
