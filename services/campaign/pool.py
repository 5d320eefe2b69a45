"""Where batches are walked: the contract of a pool of workers, and the pool that is this process itself."""

from __future__ import annotations

import logging
from threading import Event
from typing import Protocol

from services.campaign.batches import BatchTask, Completion, WorkerSpec
from services.campaign.worker import Worker

log = logging.getLogger(__name__)


class WorkerPool(Protocol):
    """Workers that each walk one batch at a time, so that no more results are under way than there are workers."""

    def idle_workers(self) -> tuple[int, ...]:
        """Numbers of the workers that can take a task now."""
        ...

    def submit(self, worker: int, task: BatchTask) -> None:
        """Gives an idle worker its task."""
        ...

    def collect(self, timeout_s: float) -> tuple[Completion, ...]:
        """Tasks that ended since the last call; waits at most `timeout_s` for the first."""
        ...

    def num_running(self) -> int:
        """Tasks that have not ended yet."""
        ...

    def request_stop(self) -> None:
        """Asks running batches to end after the present step; only sets a flag, so safe in a signal handler."""
        ...

    def close(self) -> None:
        """Ends the workers; what they are doing is lost."""
        ...


class InProcessPool:
    """One worker, this process: for tests, debugging, and machines without Ray. Walks while `collect` is called."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._stop = Event()
        self._worker = Worker(spec, self._stop.is_set)
        self._task: BatchTask | None = None

    def idle_workers(self) -> tuple[int, ...]:
        """See `WorkerPool`."""
        return (0,) if self._task is None else ()

    def submit(self, worker: int, task: BatchTask) -> None:
        """See `WorkerPool`."""
        self._task = task

    def collect(self, timeout_s: float) -> tuple[Completion, ...]:
        """See `WorkerPool`; walks the whole batch."""
        task, self._task = self._task, None
        if task is None:
            return ()
        try:
            return (Completion(task, result=self._worker.run_batch(task)),)
        except Exception as error:  # noqa: BLE001  what a chain raises is judged by the driver, as with remote workers
            return (Completion(task, error=error),)

    def num_running(self) -> int:
        """See `WorkerPool`."""
        return 0 if self._task is None else 1

    def request_stop(self) -> None:
        """See `WorkerPool`."""
        self._stop.set()

    def close(self) -> None:
        """See `WorkerPool`."""
