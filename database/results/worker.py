"""Worker processes of the import, each with its linear algebra pinned.

Which diagonal splits a square of a regular grid depends on the last bits of the projected points, and these on the
kernels that OpenBLAS picks for the processor. The reference interpolations (SModelS 3.0.3) were made with its
AVX-512 kernels, so these are chosen wherever the processor has them, with one thread: the triangulation then does not
depend on the machine. Kernels can only be chosen before the library is loaded, hence own processes instead of a
process pool; they also work from scripts and notebooks without a main guard.

Run as `python -m database.results.worker`, a worker reads pickled (folder, root) pairs from its standard input and
answers each with a pickled result or error, until the input ends.
"""

from __future__ import annotations

import os
import pickle
import platform
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Final

from database.errors import ProtomodelsError, UserFacingError
from database.results.compiler import CompiledResult, compile_result

REFERENCE_KERNEL: Final = "SKYLAKEX"
"""OpenBLAS kernels of the reference interpolations."""
_NEEDED_CPU_FLAGS: Final = frozenset({"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"})
_SINGLE_THREAD: Final = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class WorkerError(ProtomodelsError):
    """A worker process of the import ended or failed unexpectedly."""


def linear_algebra_kernel() -> str:
    """Returns the OpenBLAS kernels that workers use here: the reference ones, or "default"."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return "default"
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return "default"
    flags = next((set(line.split()) for line in text.splitlines() if line.startswith("flags")), set())
    return REFERENCE_KERNEL if flags >= _NEEDED_CPU_FLAGS else "default"


def compile_in_workers(folders: Sequence[Path], root: Path, num_workers: int) -> Iterator[tuple[Path, CompiledResult]]:
    """Yields each folder with its compiled result, in the order in which they are done.

    Args:
        folders: folders of the results, the most expensive first.
        root: folder of the database.
        num_workers: number of processes, at least one.

    Raises:
        ResultsFormatError: a file cannot be read; names file and line.
        WorkerError: a worker failed for another reason.
    """
    tasks: SimpleQueue[Path] = SimpleQueue()
    for folder in folders:
        tasks.put(folder)
    answers: SimpleQueue[tuple[Path, CompiledResult] | Exception] = SimpleQueue()
    processes = [_start() for _ in range(max(1, min(num_workers, len(folders))))]
    threads = [threading.Thread(target=_feed, args=(process, root, tasks, answers), daemon=True) for process in processes]
    try:
        for thread in threads:
            thread.start()
        for _ in folders:
            answer = answers.get()
            if isinstance(answer, Exception):
                raise answer
            yield answer
    finally:
        for process in processes:
            process.kill()
        for process, thread in zip(processes, threads, strict=True):
            process.wait()
            thread.join()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):
                    if pipe is not None:
                        pipe.close()


def _start() -> subprocess.Popen[bytes]:
    package_root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, **_SINGLE_THREAD}
    environment["PYTHONPATH"] = os.pathsep.join([package_root, *filter(None, [os.environ.get("PYTHONPATH")])])
    if linear_algebra_kernel() == REFERENCE_KERNEL:
        environment["OPENBLAS_CORETYPE"] = REFERENCE_KERNEL
    command = [sys.executable, "-P", "-m", "database.results.worker"]  # -P: modules of the working directory do not count
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def _feed(
    process: subprocess.Popen[bytes], root: Path, tasks: SimpleQueue[Path], answers: SimpleQueue[tuple[Path, CompiledResult] | Exception]
) -> None:
    """Hands one process task after task until none is left; runs in a thread of its own."""
    assert process.stdin is not None and process.stdout is not None
    while True:
        try:
            folder = tasks.get_nowait()
        except Empty:
            return
        try:
            pickle.dump((folder, root), process.stdin)
            process.stdin.flush()
            answer = pickle.load(process.stdout)  # noqa: S301  # written by our own child
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            answers.put(WorkerError(f"A worker process ended while reading {folder.name}."))
            return
        answers.put(answer if isinstance(answer, Exception) else (folder, answer))


def serve(requests: IO[bytes], replies: IO[bytes]) -> None:
    """Compiles what is asked for until the requests end."""
    while True:
        try:
            folder, root = pickle.load(requests)  # noqa: S301  # written by our own parent
        except EOFError:
            return
        answer: CompiledResult | Exception
        try:
            answer = compile_result(folder, root)
        except UserFacingError as error:
            answer = error
        except Exception as error:  # noqa: BLE001  # carried to the parent, which raises it
            answer = WorkerError(f"{folder.name} cannot be compiled: {type(error).__name__}: {error}")
        pickle.dump(answer, replies, protocol=pickle.HIGHEST_PROTOCOL)
        replies.flush()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt, BrokenPipeError):
        serve(sys.stdin.buffer, sys.stdout.buffer)
