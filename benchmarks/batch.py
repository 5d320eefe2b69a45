"""Throughput of many walkers in one process, and the time of an evaluation after a move of κ or of branching ratios alone.

    python -m benchmarks.batch [--walkers 64] [--steps 20] [--seed 1] [--results STORE] [--fast]

The walkers take turns, one step each, as a worker of a campaign runs them: births, deaths, masses, branching ratios, κ, merged copies
and scalings to μ̂ = 1, default settings. Times are CPU times of this process on one core; the first steps of each walker only warm up.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from builder.evaluation import Evaluation
from builder.moves.context import Move, MoveContext
from builder.protomodel import ProtoModel

if TYPE_CHECKING:
    from builder.evaluate import Evaluator
    from builder.walk import WalkState

WARM_UP_STEPS = 2


class Stopwatch:
    """Evaluates models and notes the CPU time of each evaluation.

    Attributes:
        seconds: CPU time of each evaluation.
    """

    def __init__(self, evaluate: Callable[[ProtoModel], Evaluation]) -> None:
        self.seconds: list[float] = []
        self._evaluate = evaluate

    def __call__(self, model: ProtoModel) -> Evaluation:
        """Evaluate and note."""
        start = time.process_time()
        evaluation = self._evaluate(model)
        self.seconds.append(time.process_time() - start)
        return evaluation


def run_walkers(evaluate: Stopwatch, num_walkers: int, num_steps: int, seed: int) -> tuple[list[WalkState], float]:
    """The states of all walkers after their steps, and the CPU time of the steps after warming up."""
    from builder.walk import WalkSettings, build_kernel, start_walk, step_rng

    settings = WalkSettings()
    kernel = build_kernel(evaluate, settings)
    states = [start_walk(seed, walk_number, evaluate, settings) for walk_number in range(num_walkers)]
    start = 0.0
    for step in range(WARM_UP_STEPS + num_steps):
        if step == WARM_UP_STEPS:
            evaluate.seconds.clear()
            start = time.process_time()
        for walk_number, state in enumerate(states):
            states[walk_number], _ = kernel(step_rng(seed, walk_number, state.step + 1), state)
    return states, time.process_time() - start


def time_moves(evaluator: Evaluator, models: Sequence[ProtoModel], seed: int, repeats: int = 5) -> dict[str, list[float]]:
    """CPU time of the evaluation that follows one move of κ or of branching ratios, the model before having been evaluated [s].

    Each is the smallest of several identical repetitions, so that other jobs on the machine do not count.
    """
    from builder.moves.branching_ratio import branching_ratio
    from builder.moves.ssm import ssm
    from builder.walk import WalkSettings

    plain = WalkSettings()
    settings = plain.model_copy(
        update={
            "ssm": plain.ssm.model_copy(update={"probability": 1.0}),
            "branching_ratio": plain.branching_ratio.model_copy(update={"probability": 1.0}),
        }
    )
    context = MoveContext(settings=settings, step=1)
    moves: dict[str, Move] = {"κ": ssm, "branching ratios": branching_ratio}
    times: dict[str, list[float]] = {name: [] for name in moves}
    for name, move in moves.items():
        rng = np.random.default_rng(seed)
        for model in models:
            changed = move(rng, model, context)
            if changed is None:
                continue
            seconds = []
            for _ in range(repeats):
                evaluator.predictor.look_up.forget()
                evaluator.evaluate(model)
                fresh = ProtoModel(changed.masses, changed.branching_ratios, changed.ssms, widths=changed.widths)
                start = time.process_time()
                evaluator.evaluate(fresh)
                seconds.append(time.process_time() - start)
            times[name].append(min(seconds))
    return times


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--walkers", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", default=None)
    parser.add_argument("--fast", action="store_true", help="without full likelihoods (HistFactory analyses are one region)")
    arguments = parser.parse_args()

    from builder.evaluate import EvaluationSettings, Evaluator
    from inference.score import ScoreSettings
    from services.campaign.worker import spare_the_collector
    from services.stores import open_results

    evaluator = Evaluator(open_results(arguments.results), EvaluationSettings(score=ScoreSettings(full_likelihoods=not arguments.fast)))
    spare_the_collector()  # as a worker does
    stopwatch = Stopwatch(evaluator.evaluate)
    states, whole = run_walkers(stopwatch, arguments.walkers, arguments.steps, arguments.seed)
    seconds = np.array(stopwatch.seconds)
    num_steps = arguments.walkers * arguments.steps
    print(f"{arguments.walkers} walkers × {arguments.steps} steps in one process: {seconds.size} models, one core")
    print(f"evaluations: {seconds.size / seconds.sum():.0f} models/s; {1e3 * np.median(seconds):.3f} ms median,", end=" ")
    print(f"{1e3 * np.percentile(seconds, 95):.3f} ms 95th percentile, {1e3 * seconds.mean():.3f} ms mean")
    print(f"whole steps: {num_steps / whole:.0f} steps/s; moves, copies, decisions {1.0 - seconds.sum() / whole:.1%} of the time")
    for name, values in time_moves(evaluator, [state.protomodel for state in states], arguments.seed).items():
        print(f"evaluation after a move of {name} alone: {1e3 * np.median(values):.3f} ms median,", end=" ")
        print(f"{1e3 * np.percentile(values, 95):.3f} ms 95th percentile ({len(values)} models)")


if __name__ == "__main__":
    main()
