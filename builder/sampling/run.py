"""Runs walkers side by side, batch by batch, on any number of workers.

Walk: tempering ──▶ **run** ──▶ checkpoint, posterior. A batch is one walker over some steps; walkers never talk to each other and every
random number is keyed, so the chains are the same however many workers there are and wherever batches end.
"""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from builder.sampling.checkpoint import Checkpoint
from builder.sampling.tempering import Draw, Ladder, Walker

log = logging.getLogger(__name__)

BuildLadder = Callable[[], Ladder]
"""Builds what a worker needs; picklable, because it travels to the workers."""


class Batch(NamedTuple):
    """Some steps of one walker.

    Attributes:
        number: the walker's number.
        walker: where it stands; None: before its start.
        last_step: number of the last step to do.
    """

    number: int
    walker: Walker | None
    last_step: int


class BatchResult(NamedTuple):
    """The walker after a batch, and what its cold chain recorded."""

    number: int
    walker: Walker
    draws: list[Draw]


def do_batch(ladder: Ladder, batch: Batch) -> BatchResult:
    """Return the result of a batch."""
    walker = ladder.start(batch.number) if batch.walker is None else batch.walker
    return BatchResult(batch.number, *ladder.advance(walker, batch.number, batch.last_step))


class Executor(Protocol):
    """Computes batches."""

    def compute(self, batches: Sequence[Batch]) -> list[BatchResult]:
        """Return the results, in the order of the batches."""


class InProcess:
    """Computes batches one after the other, here.

    Args:
        ladder: advances walkers.
    """

    def __init__(self, ladder: Ladder) -> None:
        self._ladder = ladder

    def compute(self, batches: Sequence[Batch]) -> list[BatchResult]:
        """Return the results, in the order of the batches."""
        return [do_batch(self._ladder, batch) for batch in batches]


class Workers:
    """Computes batches in processes of their own; a context manager.

    Args:
        build: builds the ladder, once per worker.
        num_workers: processes.
    """

    def __init__(self, build: BuildLadder, num_workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(num_workers, context, initializer=_set_up, initargs=(build,))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def compute(self, batches: Sequence[Batch]) -> list[BatchResult]:
        """Return the results, in the order of the batches."""
        return list(self._pool.map(_do_batch_here, batches))


_LADDERS: list[Ladder] = []
"""The ladder of this worker process."""


def _set_up(build: BuildLadder) -> None:
    _LADDERS[:] = [build()]


def _do_batch_here(batch: Batch) -> BatchResult:
    return do_batch(_LADDERS[0], batch)


def run_walkers(
    executor: Executor,
    checkpoint: Checkpoint,
    num_walkers: int,
    num_steps: int,
    steps_per_batch: int,
    observe: Callable[[int], None] = lambda step: None,
) -> None:
    """Advance all walkers to the last step, storing each round of batches.

    Args:
        executor: computes batches.
        checkpoint: where walkers stand, and where they are stored.
        num_walkers: walkers of the run.
        num_steps: number of the last step.
        steps_per_batch: an interrupted run loses at most so many steps of each walker.
        observe: is told the number of steps that every walker has done.
    """
    walkers = checkpoint.load_walkers()
    while True:
        step = min((walkers[number].step if number in walkers else 0) for number in range(num_walkers))
        observe(step)
        if step >= num_steps:
            return
        until = min(num_steps, (step // steps_per_batch + 1) * steps_per_batch)
        batches = [
            Batch(number, walkers.get(number), until)
            for number in range(num_walkers)
            if number not in walkers or walkers[number].step < until
        ]
        results = executor.compute(batches)
        checkpoint.save(results)
        walkers.update({result.number: result.walker for result in results})
        log.info("sampling: %d of %d steps", until, num_steps)
