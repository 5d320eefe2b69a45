"""Workers as Ray actors, on this machine or on a cluster that is joined (RAY_ADDRESS).

Only tasks and batches travel, a few kilobytes each; the object store is not used for data. Each actor opens the
memory-mapped results itself, so the workers of a node share one copy. An actor that dies is replaced; what it was
walking is reported, and walked again from the last stored checkpoint.

Ray puts the working directory first in its workers' module path. Ours have names that others use too (`services`,
`database`), so Ray is started from an empty folder, and the workers are told where this package was imported from.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
import time
from contextlib import chdir
from pathlib import Path
from threading import Event
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError, WorkerCrashedError

from database.errors import CampaignError
from services.campaign.batches import BatchResult, BatchTask, Completion, WorkerSpec
from services.campaign.worker import Worker

log = logging.getLogger(__name__)

SINGLE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}
"""Workers are as many as cores, so each computes in one thread."""

SOCKET_ROOM = 60
"""Characters Ray appends to its folder for socket names; the kernel allows 107 in all."""

START_FAILURES = (RayError, ConnectionError, OSError, RuntimeError, ValueError)
DEATHS = (RayActorError, OutOfMemoryError, WorkerCrashedError)


class _WorkerActor:
    """A `Worker` as an actor; two threads, so that `request_stop` is heard while a batch is walked."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._stop = Event()
        self._worker = Worker(spec, self._stop.is_set)

    def run_batch(self, task: BatchTask) -> BatchResult:
        return self._worker.run_batch(task)

    def request_stop(self) -> None:
        self._stop.set()


def count_cores() -> int:
    """Cores that this process may use, which a batch system or container may have restricted."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _short_folder() -> Path:
    """A new folder, private to this process, whose name leaves room for Ray's sockets."""
    base = tempfile.gettempdir()
    if len(base) + 12 + SOCKET_ROOM > 107:
        base = "/tmp"  # mkdtemp makes the folder private; batch systems point TMPDIR at long paths
    return Path(tempfile.mkdtemp(prefix="pm", dir=base))


def _module_path() -> str:
    """$PYTHONPATH of the workers: the folder this package was imported from, then what is set here."""
    return os.pathsep.join(filter(None, [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH")]))


class RayPool:
    """Ray actors that walk batches.

    Args:
        spec: how a worker builds its chain.
        num_workers: number of actors; None: one per core of this machine, or of the cluster that is joined.
        batch_timeout_s: an actor that does not answer for this long is replaced [s].
        max_workers: more actors would have nothing to do.

    Raises:
        CampaignError: Ray does not start, or the cluster cannot be joined.
    """

    def __init__(self, spec: WorkerSpec, num_workers: int | None, batch_timeout_s: float, max_workers: int) -> None:
        self._spec = spec
        self._batch_timeout_s = batch_timeout_s
        self._folder: Path | None = None
        self._actor_class: Any = ray.remote(_WorkerActor)
        self._actors: list[Any] = []
        self._running: dict[Any, tuple[int, BatchTask, float]] = {}
        self._is_stop_requested = False
        self._is_stop_passed_on = False
        self._owns_ray = not ray.is_initialized()
        try:
            if self._owns_ray:
                self._start(num_workers)
            resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
            count = min(num_workers or max(1, int(resources.get("CPU", 1))), max_workers)
            self._actors.extend(self._new_actor() for _ in range(count))
        except BaseException:  # Ctrl-C included: nobody else knows what was started
            self.close()
            raise

    def _start(self, num_workers: int | None) -> None:
        address = os.environ.get("RAY_ADDRESS")
        address = None if address in ("", "local") else address
        for name, value in {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}.items():
            os.environ.setdefault(name, value)
        options: dict[str, Any] = {
            "logging_level": logging.ERROR,
            "log_to_driver": False,
            "configure_logging": False,
            "runtime_env": {"env_vars": SINGLE_THREAD | {"PYTHONPATH": _module_path()}},
        }
        self._folder = _short_folder()
        if address is None:
            if "RAY_TMPDIR" not in os.environ:
                options["_temp_dir"] = str(self._folder)
            options |= {
                "num_cpus": num_workers or count_cores(),
                "include_dashboard": False,
                "object_store_memory": 100 * 2**20,
            }
        logging.getLogger("ray").setLevel(logging.ERROR)  # its advice about itself is not for our users
        log.info("starting Ray workers=%s address=%s", num_workers, address or "local")
        try:
            if address:
                _check_reachable(address)
            with chdir(self._folder):
                self._init_ray(address, options)
        except (*START_FAILURES, SystemExit) as error:  # Ray leaves the process where a cluster does not answer
            first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            if address:
                hint = "a cluster that asks for a token needs RAY_AUTH_MODE=token here too"
                raise CampaignError(f"the Ray cluster at {address} cannot be joined: {first_line} ({hint})") from error
            raise CampaignError(f"Ray does not start on this machine: {first_line} (campaign.num_workers: 0 runs without it)") from error

    @staticmethod
    def _init_ray(address: str | None, options: dict[str, Any]) -> None:
        """Joins a cluster, or starts one; the latter twice, because on shared nodes two users can pick one port at the same time."""
        try:
            ray.init(address=address, **options)
        except START_FAILURES as error:
            if address is not None:
                raise
            log.warning("Ray did not start (%s); trying once more", type(error).__name__)
            ray.shutdown()
            ray.init(address=address, **options)

    def _new_actor(self) -> Any:
        # SPREAD because actors that ask for no CPU, so that a user may run more of them than cores, would pile up on one node
        options = {"num_cpus": 0, "max_concurrency": 2, "max_restarts": 0, "scheduling_strategy": "SPREAD"}
        return self._actor_class.options(**options).remote(self._spec)

    def idle_workers(self) -> tuple[int, ...]:
        """See `WorkerPool`."""
        busy = {worker for worker, _, _ in self._running.values()}
        return tuple(worker for worker in range(len(self._actors)) if worker not in busy)

    def submit(self, worker: int, task: BatchTask) -> None:
        """See `WorkerPool`."""
        reference = self._actors[worker].run_batch.remote(task)
        self._running[reference] = (worker, task, time.monotonic())

    def num_running(self) -> int:
        """See `WorkerPool`."""
        return len(self._running)

    def collect(self, timeout_s: float) -> tuple[Completion, ...]:
        """See `WorkerPool`."""
        if self._is_stop_requested and not self._is_stop_passed_on:
            self._is_stop_passed_on = True
            for actor in self._actors:
                actor.request_stop.remote()
        if not self._running:
            return ()
        ready, _ = ray.wait(list(self._running), num_returns=1, timeout=timeout_s)
        if ready and len(self._running) > 1:
            ready, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        return tuple(self._completed(reference) for reference in ready) + self._replace_silent()

    def _completed(self, reference: Any) -> Completion:
        worker, task, _ = self._running.pop(reference)
        try:
            result: BatchResult = ray.get(reference)
            return Completion(task, result=result)
        except DEATHS as error:
            self._replace(worker)
            return Completion(task, death=_last_words(error))
        except RayTaskError as error:
            return Completion(task, error=error.cause if isinstance(error.cause, Exception) else error)

    def _replace_silent(self) -> tuple[Completion, ...]:
        now = time.monotonic()
        silent = [ref for ref, (_, _, since) in self._running.items() if now - since > self._batch_timeout_s]
        ended = []
        for reference in silent:
            worker, task, _ = self._running.pop(reference)
            self._replace(worker)
            ended.append(Completion(task, death=f"no answer for {self._batch_timeout_s:.0f} s"))
        return tuple(ended)

    def _replace(self, worker: int) -> None:
        log.warning("worker=%d replaced", worker)
        ray.kill(self._actors[worker])
        self._actors[worker] = self._new_actor()

    def request_stop(self) -> None:
        """See `WorkerPool`."""
        self._is_stop_requested = True

    def close(self) -> None:
        """See `WorkerPool`; also ends Ray if this pool started it."""
        for actor in self._actors:
            ray.kill(actor)
        if self._owns_ray:
            ray.shutdown()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _check_reachable(address: str) -> None:
    """Raises OSError where nobody listens at "host:port"; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "/" not in host:
        with socket.create_connection((host, int(port)), timeout=10.0):
            pass


def _last_words(error: BaseException) -> str:
    """First informative line of Ray's report."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
