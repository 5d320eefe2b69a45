"""One walker's chain on real results: binds `builder.walk` to a results store."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builder.evaluation import Evaluation
from builder.kernel import RefineFn
from builder.protomodel import ProtoModel
from builder.walk import Decision, EvaluateFn, StepInfo, WalkSettings, WalkState, build_kernel, start_walk, step_rng
from database.campaigns.records import JsonDict, NewHiscore, NewProgress
from services.campaign.batches import TeleportTarget
from services.campaign.hiscores import describe_hiscore
from services.campaign.worker import Chain, ChainStep

log = logging.getLogger(__name__)


class WalkChain:
    """`Chain` of protomodels.

    Args:
        seed: the campaign's seed.
        evaluate: scores a model; deterministic.
        settings: moves and acceptance.
        evaluate_fully: the same scores, with what only stored models need.
        judge_fully: the same scores, costly critics asked; None: `evaluate` asks every critic.
        refine: climbs along the gradient of K (`builder.refine`); None: never.
    """

    def __init__(
        self,
        seed: int,
        evaluate: EvaluateFn,
        settings: WalkSettings,
        evaluate_fully: EvaluateFn | None = None,
        judge_fully: EvaluateFn | None = None,
        refine: RefineFn | None = None,
    ) -> None:
        self._seed = seed
        self._settings = settings
        self._evaluate = evaluate
        self._evaluate_fully = evaluate_fully
        self._judge_fully = judge_fully
        self._targets: tuple[tuple[ProtoModel, float], ...] = ()
        self._kernels = tuple(
            build_kernel(evaluate, settings, lambda: self._targets, judge_fully, refine, temperature)
            for temperature in settings.temperatures
        )
        self._walker_number = -1
        self._state: WalkState | None = None

    @property
    def _now(self) -> WalkState:
        if self._state is None:
            raise RuntimeError("the chain was neither started nor restored")
        return self._state

    @property
    def step(self) -> int:
        """See `Chain`."""
        return self._now.step

    def start(self, walker_number: int) -> ChainStep:
        """See `Chain`."""
        self._walker_number = walker_number
        state = self._state = start_walk(self._seed, walker_number, self._judge_fully or self._evaluate, self._settings)
        candidates = (self._candidate(state.protomodel, state.evaluation),) if state.k > float("-inf") else ()
        return ChainStep(self._progress(state, True, _outcome(state.evaluation)), None, candidates, dict(state.evaluation.failures))

    def restore(self, walker_number: int, checkpoint: JsonDict, targets: tuple[TeleportTarget, ...]) -> None:
        """See `Chain`."""
        self._walker_number = walker_number
        self._state = WalkState.from_json(checkpoint)
        self._targets = tuple((ProtoModel.from_json(target.protomodel), target.k) for target in targets)

    def advance(self) -> ChainStep:
        """See `Chain`."""
        rng = step_rng(self._seed, self._walker_number, self._now.step + 1)
        state, info = self._kernels[self._walker_number % len(self._kernels)](rng, self._now)
        self._state = state
        outcome = "excluded" if info.is_excluded else info.outcome.value
        candidates = (self._candidate(*info.hiscore_candidate),) if info.hiscore_candidate is not None else ()
        progress = self._progress(state, info.is_accepted, outcome, info.moves)
        return ChainStep(progress, _verdict(info), candidates, dict(info.failures))

    def complete(self, hiscore: NewHiscore) -> NewHiscore:
        """See `Chain`."""
        if self._evaluate_fully is None:
            return hiscore
        protomodel = ProtoModel.from_json(hiscore.protomodel)
        return describe_hiscore(hiscore.walker_number, hiscore.step, protomodel, self._evaluate_fully(protomodel))

    def checkpoint(self) -> JsonDict:
        """See `Chain`."""
        return self._now.to_json()

    def _progress(self, state: WalkState, is_accepted: bool, outcome: str, moves: tuple[str, ...] = ()) -> NewProgress:
        return NewProgress(
            walker_number=self._walker_number,
            step=state.step,
            k=state.k,
            tl=state.evaluation.tl,
            best_k=state.k,
            num_particles=state.protomodel.num_particles,
            is_accepted=is_accepted,
            outcome=outcome,
            moves=moves,
        )

    def _candidate(self, protomodel: ProtoModel, evaluation: Evaluation) -> NewHiscore:
        return describe_hiscore(self._walker_number, self._now.step, protomodel, evaluation)


def _outcome(evaluation: Evaluation) -> str:
    return "excluded" if evaluation.verdict.is_excluded else evaluation.outcome.value


def _verdict(info: StepInfo) -> str:
    """What became of a proposal: how the step ended, and for models without a score why they have none."""
    return info.outcome.value if info.decision is Decision.NO_SCORE else info.decision.value


def build_chain(seed: int, arguments: Mapping[str, Any]) -> Chain:
    """`ChainFactory` of real campaigns.

    Args:
        seed: the campaign's seed.
        arguments: "store_path", and the sections "results", "evaluation" and "walk" of the resolved configuration.

    Raises:
        StoreError: the store cannot be opened on this machine.
        ConfigError: a section does not fit this release.
    """
    from builder.evaluate import EvaluationSettings, Evaluator
    from builder.refine import build_refiner
    from configs.loading import parse_settings
    from configs.schema import ResultsSettings
    from database.results.store import open_store
    from services.campaign.selection import combine_as_configured, select_results

    store = open_store(Path(arguments["store_path"]))
    results = parse_settings(ResultsSettings, arguments["results"])
    selected = select_results(store, results)
    combinability = combine_as_configured(selected, results)
    evaluator = Evaluator(selected, parse_settings(EvaluationSettings, arguments["evaluation"]), combinability)
    walk = parse_settings(WalkSettings, arguments["walk"])

    def complete(protomodel: ProtoModel) -> Evaluation:
        return evaluator.evaluate(protomodel, with_limits=True)

    refine = build_refiner(evaluator, walk.rules, walk.refine, walk.ssm_cap) if walk.refine.is_enabled else None
    if not evaluator.has_costly_critics:
        return WalkChain(seed, evaluator.evaluate, walk, complete, refine=refine)

    def judge_cheaply(protomodel: ProtoModel) -> Evaluation:
        return evaluator.evaluate(protomodel, skips_costly_critics=True)

    return WalkChain(seed, judge_cheaply, walk, complete, evaluator.evaluate, refine)
