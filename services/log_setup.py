"""The one place that installs log handlers."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from typing import IO, Any

LEVEL_VARIABLE = "PROTOMODELS_LOG_LEVEL"
FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


class _CurrentStderr(logging.StreamHandler[IO[str]]):
    """Writes to what sys.stderr is at the time, so that a live display can keep lines apart from itself."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        return sys.stderr

    @stream.setter
    def stream(self, value: Any) -> None:
        raise AttributeError("the stream is always sys.stderr")


def set_up_logging(verbosity: int = 0) -> None:
    """Installs the handler for everything this project logs.

    Args:
        verbosity: 0 warnings, 1 what happens to campaigns, 2 every step. $PROTOMODELS_LOG_LEVEL wins where it is set.
    """
    level = os.environ.get(LEVEL_VARIABLE, "").upper()
    if level not in logging.getLevelNamesMapping():
        level = ("WARNING", "INFO", "DEBUG")[min(verbosity, 2)]
    handler = _CurrentStderr()
    handler.setFormatter(logging.Formatter(FORMAT))
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old, _CurrentStderr):
            root.removeHandler(old)
    root.addHandler(handler)
    for package in ("builder", "configs", "critics", "database", "inference", "services"):
        logging.getLogger(package).setLevel(level)
    if verbosity < 2:
        warnings.simplefilter("ignore", FutureWarning)  # of libraries, about themselves; nothing a user can act on
