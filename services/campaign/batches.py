"""What travels between the driver and its workers: small values that pickle, never stores or caches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from database.campaigns.records import JsonDict, NewHiscore, NewProgress, WalkerUpdate


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """How a worker builds its chains; a worker opens files itself, by path.

    Attributes:
        factory: import path "package.module:function" of a `ChainFactory`.
        arguments: handed to the factory; JSON values.
        seed: the campaign's seed.
        keep_hiscores: candidates per batch that can matter.
    """

    factory: str
    arguments: Mapping[str, Any]
    seed: int
    keep_hiscores: int


@dataclass(frozen=True, slots=True)
class TeleportTarget:
    """A stored hiscore that a walk may jump to."""

    protomodel: JsonDict
    k: float


@dataclass(frozen=True, slots=True)
class BatchTask:
    """Work for one worker: continue one walker from its checkpoint.

    Attributes:
        walker_number: the walker.
        checkpoint: its state; None starts the walk.
        last_step: step after which the walk is complete.
        max_steps: steps in this batch at most.
        max_duration_s: the batch ends with the step during which this has passed [s].
        best_k: largest K of the walk so far.
        targets: hiscores the walk may jump to; empty unless teleports are on.
        hiscore_floor: models with a smaller K cannot enter the hiscore list any more.
    """

    walker_number: int
    checkpoint: JsonDict | None
    last_step: int
    max_steps: int
    max_duration_s: float
    best_k: float
    targets: tuple[TeleportTarget, ...] = ()
    hiscore_floor: float = -math.inf


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What one walker did, and the checkpoint after it.

    Attributes:
        walker: where the walker stands.
        num_steps: steps taken in the batch.
        progress: one entry per step; the first batch also holds step 0, the start.
        hiscores: the best scored models of the batch.
        verdict_counts: what became of the proposals, by name.
        failure_counts: failed numerical evaluations per analysis.
        rss_mb: resident memory of the worker [MB].
    """

    walker: WalkerUpdate
    num_steps: int
    progress: tuple[NewProgress, ...]
    hiscores: tuple[NewHiscore, ...]
    verdict_counts: Mapping[str, int] = field(default_factory=dict)
    failure_counts: Mapping[str, int] = field(default_factory=dict)
    rss_mb: float = 0.0


@dataclass(frozen=True, slots=True)
class Completion:
    """How a task ended: with a result, with an exception of the chain, or with the death of its worker.

    Attributes:
        task: the task.
        result: the batch, None if there is none.
        error: the exception that the chain raised, None otherwise.
        death: what is known of the worker's death, None otherwise.
    """

    task: BatchTask
    result: BatchResult | None = None
    error: BaseException | None = None
    death: str | None = None
