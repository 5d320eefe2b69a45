"""A worker: takes a checkpoint, walks some steps, gives back a batch.

Workers hold no state of a walk between batches. Every batch starts from the checkpoint it is given, so a walk that
was interrupted, or moved to another worker, takes exactly the steps it would have taken anyway.
"""

from __future__ import annotations

import gc
import importlib
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import psutil

from database.campaigns.ranking import rank_hiscores
from database.campaigns.records import JsonDict, NewHiscore, NewProgress, WalkerUpdate
from database.campaigns.status import WalkerStatus
from services.campaign.batches import BatchResult, BatchTask, TeleportTarget, WorkerSpec

log = logging.getLogger(__name__)


class ChainStep(NamedTuple):
    """What one step, or the start, of a chain gave.

    Attributes:
        progress: the entry for the progress table; its best_k is filled in by the worker.
        verdict: what became of the proposal, for the counts; None for the start.
        hiscores: scored models that may enter the list.
        failures: failed numerical evaluations per analysis during the step.
    """

    progress: NewProgress
    verdict: str | None
    hiscores: tuple[NewHiscore, ...]
    failures: Mapping[str, int]


class Chain(Protocol):
    """One walker's chain; a step depends on seed, walker number, step number and the state, on nothing else."""

    def start(self, walker_number: int) -> ChainStep:
        """Puts the walker at its first model; this is step 0."""
        ...

    def restore(self, walker_number: int, checkpoint: JsonDict, targets: tuple[TeleportTarget, ...]) -> None:
        """Puts the walker where it was when `checkpoint` was taken, and tells it which hiscores it may jump to."""
        ...

    def advance(self) -> ChainStep:
        """Takes one step."""
        ...

    def checkpoint(self) -> JsonDict:
        """The state from which the next step replays exactly; JSON values."""
        ...

    @property
    def step(self) -> int:
        """Steps taken since the start."""
        ...

    def complete(self, hiscore: NewHiscore) -> NewHiscore:
        """Fills in what is computed for stored models only."""
        ...


ChainFactory = Callable[[int, Mapping[str, Any]], Chain]
"""Builds a chain from the campaign's seed and the arguments of the `WorkerSpec`."""


def load_factory(path: str) -> ChainFactory:
    """The function behind "package.module:function".

    Raises:
        ValueError: the text is not such a path.
    """
    module, _, name = path.partition(":")
    if not module or not name:
        raise ValueError(f"'{path}' does not have the form package.module:function")
    factory: ChainFactory = getattr(importlib.import_module(module), name)
    return factory


def spare_the_collector() -> None:
    """Leave what lives as long as the process out of garbage collection, and collect less often: a walk makes few cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


class Worker:
    """Walks batches; opens what it needs at the first one.

    Args:
        spec: how to build the chain.
        should_stop: asked between steps; a batch ends early when it says so.
    """

    def __init__(self, spec: WorkerSpec, should_stop: Callable[[], bool]) -> None:
        self._spec = spec
        self._should_stop = should_stop
        self._chain: Chain | None = None

    def run_batch(self, task: BatchTask) -> BatchResult:
        """Walks until the batch is full, its time is over, the walk is complete, or a stop is asked for.

        At least one step is taken (or the start), so that every batch makes progress.
        """
        if self._chain is None:
            self._chain = load_factory(self._spec.factory)(self._spec.seed, self._spec.arguments)
            spare_the_collector()
        chain = self._chain
        began = time.perf_counter()
        steps: list[ChainStep] = []
        if task.checkpoint is None:
            steps.append(chain.start(task.walker_number))
        else:
            chain.restore(task.walker_number, task.checkpoint, task.targets)
        first_step = chain.step
        while chain.step < task.last_step and chain.step - first_step < task.max_steps:
            if steps and (self._should_stop() or time.perf_counter() - began >= task.max_duration_s):
                break
            steps.append(chain.advance())
        elapsed = time.perf_counter() - began
        return self._batch(task, chain, steps, chain.step - first_step, elapsed)

    def _batch(self, task: BatchTask, chain: Chain, steps: list[ChainStep], num_steps: int, elapsed: float) -> BatchResult:
        best_k = task.best_k
        progress = []
        verdicts: Counter[str] = Counter()
        failures: Counter[str] = Counter()
        for taken in steps:
            best_k = max([best_k, taken.progress.k] + [found.k for found in taken.hiscores], key=_comparable)
            progress.append(_with_best_k(taken.progress, best_k))
            if taken.verdict is not None:
                verdicts[taken.verdict] += 1
            failures.update(taken.failures)
        # the list's last K only rises, so models below it can be left out without changing the list in the end
        candidates = [found for taken in steps for found in taken.hiscores if found.k >= task.hiscore_floor]
        walker = WalkerUpdate(
            walker_number=task.walker_number,
            status=WalkerStatus.FINISHED if chain.step >= task.last_step else WalkerStatus.RUNNING,
            step=chain.step,
            k=progress[-1].k if progress else math.nan,
            tl=progress[-1].tl if progress else math.nan,
            best_k=best_k,
            steps_per_s=num_steps / elapsed if elapsed > 0 else math.nan,
            checkpoint=chain.checkpoint(),
        )
        log.debug("walk=%d step=%d batch of %d steps in %.2f s", task.walker_number, chain.step, num_steps, elapsed)
        return BatchResult(
            walker=walker,
            num_steps=num_steps,
            progress=tuple(progress),
            hiscores=tuple(chain.complete(found) for found in rank_hiscores(candidates, self._spec.keep_hiscores)),
            verdict_counts=dict(verdicts),
            failure_counts=dict(failures),
            rss_mb=psutil.Process().memory_info().rss / 1e6,
        )


def _comparable(k: float) -> float:
    return -math.inf if math.isnan(k) else k


def _with_best_k(progress: NewProgress, best_k: float) -> NewProgress:
    return NewProgress(
        progress.walker_number,
        progress.step,
        progress.k,
        progress.tl,
        best_k,
        progress.num_particles,
        progress.is_accepted,
        progress.outcome,
        progress.moves,
    )
