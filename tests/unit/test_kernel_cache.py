"""Compiled kernels are kept per state of the code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inference.kernel_cache import MAX_AGE_S, digest_of_kernels, use_kernels_of_this_code


def test_a_change_of_any_kernel_changes_the_folder(tmp_path: Path) -> None:
    room = tmp_path / "inference"
    room.mkdir()
    (tmp_path / "critics").mkdir()
    (room / "callee.py").write_text("@njit\ndef f(): return 1\n")
    (room / "prose.py").write_text("x = 1\n")
    before = digest_of_kernels(tmp_path)
    (room / "prose.py").write_text("x = 2\n")
    assert digest_of_kernels(tmp_path) == before
    (room / "callee.py").write_text("@njit\ndef f(): return 2\n")
    assert digest_of_kernels(tmp_path) != before


def test_a_child_works_its_folder_out_anew_and_old_ones_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kernels-0123456789abcdef"))  # as a parent with older code left it
    outdated = tmp_path / "kernels-ffff"
    outdated.mkdir()
    os.utime(outdated, (0.0, outdated.stat().st_mtime - 2.0 * MAX_AGE_S))
    folder = use_kernels_of_this_code(tmp_path / "unused")
    assert folder.parent == tmp_path
    assert os.environ["NUMBA_CACHE_DIR"] == str(folder)
    assert folder.is_dir()
    assert not outdated.exists()
