"""Where compiled kernels are kept: one folder per state of the code.

numba keeps a compiled kernel as long as the file it is written in does not change. A kernel contains those it calls, from other
files too: after an update of one file, kept kernels of another would go on with the old code, or crash. So the folder is named
after the content of every file that kernels are made of; an update starts a new one, and old ones are removed after a while.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from pathlib import Path

PREFIX = "kernels-"
MAX_AGE_S = 30 * 24 * 3600.0
ROOT = Path(__file__).resolve().parents[1]


def digest_of_kernels(root: Path = ROOT) -> str:
    """Hash of all files with kernels, and of the types and constants beside them."""
    digest = hashlib.sha256()
    for room in ("critics", "inference"):
        for path in sorted((root / room).rglob("*.py")):
            content = path.read_bytes()
            if b"njit" in content or path.stem in ("types", "settings"):
                digest.update(path.relative_to(root).as_posix().encode() + b"\0" + content)
    return digest.hexdigest()[:16]


def use_kernels_of_this_code(base: Path) -> Path:
    """Tell numba to keep kernels in the folder of this state of the code, under $NUMBA_CACHE_DIR or the given folder.

    Call it before the first kernel is defined. Child processes work the folder out anew, in case the code changed meanwhile.
    """
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        base = Path(given).parent if Path(given).name.startswith(PREFIX) else Path(given)
    folder = base / f"{PREFIX}{digest_of_kernels()}"
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = str(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        for other in base.glob(f"{PREFIX}*"):
            if other.stat().st_mtime < time.time() - MAX_AGE_S:
                shutil.rmtree(other, ignore_errors=True)
    except OSError:  # not writable: numba compiles without keeping
        os.environ.pop("NUMBA_CACHE_DIR")
    return folder
