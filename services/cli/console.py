"""The terminal: one console for all commands."""

from __future__ import annotations

import sys

from rich.console import Console

PIPED_WIDTH = 160
"""Columns used when the output is not a terminal, so that tables stay readable in files."""


def build_console() -> Console:
    """A console on standard output."""
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, soft_wrap=False)
