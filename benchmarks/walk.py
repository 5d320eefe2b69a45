"""What the options of the walk bring: best K against steps, with starts at excesses, gradient refinement and hot walkers on and off.

    python -m benchmarks.walk [--results STORE] [--walkers 10] [--steps 300] [--seeds 1 2 3] [--figure FILE.png]

Each variant walks with the same seeds, one process, no teleports. The table gives the best K over all walkers after all steps: median and
range over the seeds, steps per second of CPU time, and evaluations per step; then how often each move led to an accepted model.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from inference.types import FloatArray

if TYPE_CHECKING:
    from builder.evaluate import Evaluator
    from builder.moves.settings import WalkSettings


class Campaign(NamedTuple):
    """What walkers of one seed did.

    Attributes:
        best_k: best K so far of each walker after each step, shape (num_walkers, num_steps + 1).
        seconds: CPU time.
        num_evaluations: models evaluated.
        proposed, accepted: steps in which a move took part, and those of them that were accepted.
    """

    best_k: FloatArray
    seconds: float
    num_evaluations: int
    proposed: Counter[str]
    accepted: Counter[str]


def variants() -> dict[str, WalkSettings]:
    """The settings compared."""
    from builder.moves.settings import RefineSettings, StartSettings, WalkSettings

    start = StartSettings(num_candidates=30)
    refine = RefineSettings(is_enabled=True)
    hot = (1.0, 1.0, 2.0, 4.0, 1.0)
    return {
        "as published": WalkSettings(),
        "starts at excesses": WalkSettings(start=start),
        "gradient refinement": WalkSettings(refine=refine),
        "hot walkers": WalkSettings(temperatures=hot),
        "all three": WalkSettings(start=start, refine=refine, temperatures=hot),
    }


def run_campaign(evaluator: Evaluator, settings: WalkSettings, seed: int, num_walkers: int, num_steps: int) -> Campaign:
    """Walk all walkers of one seed."""
    from builder.refine import build_refiner
    from builder.walk import build_kernel, run_steps, start_walk

    refine = build_refiner(evaluator, settings.rules, settings.refine, settings.ssm_cap) if settings.refine.is_enabled else None
    best = np.full((num_walkers, num_steps + 1), -np.inf)
    proposed: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    num_evaluations = 0
    began = time.process_time()
    for walk_number in range(num_walkers):
        temperature = settings.temperatures[walk_number % len(settings.temperatures)]
        kernel = build_kernel(evaluator.evaluate, settings, refine=refine, temperature=temperature)
        state = start_walk(seed, walk_number, evaluator.evaluate, settings)
        best[walk_number, 0] = state.best_k
        for step, (later, info) in enumerate(run_steps(state, num_steps, seed=seed, walk_number=walk_number, kernel=kernel), start=1):
            best[walk_number, step] = later.best_k
            num_evaluations += info.num_evaluations
            proposed.update(info.moves)
            if info.is_accepted:
                accepted.update(info.moves)
    return Campaign(best, time.process_time() - began, num_evaluations, proposed, accepted)


def draw_figure(campaigns: dict[str, list[Campaign]], path: Path) -> None:
    """Best K of the campaigns against steps: thin lines per walker, thick lines the median over seeds of the best walker."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8.0, 4.8), constrained_layout=True)
    colours = ("#1f3b57", "#d1495b", "#2e8b57", "#edae49", "#6a4c93")
    for colour, (name, runs) in zip(colours, campaigns.items(), strict=False):
        steps = np.arange(runs[0].best_k.shape[1])
        if name in ("as published", "all three"):
            for run in runs:
                axes.plot(steps, run.best_k.T, color=colour, linewidth=0.4, alpha=0.25)
        axes.plot(steps, np.median([run.best_k.max(axis=0) for run in runs], axis=0), color=colour, linewidth=2.2, label=name)
    axes.set_xlabel("step")
    axes.set_ylabel("best K so far")
    finite = [run.best_k[np.isfinite(run.best_k)].max() for runs in campaigns.values() for run in runs]
    axes.set_ylim(-2.0, max(finite) + 0.7)
    axes.set_xlim(0, steps[-1])
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right", title="best walker, median of the seeds (thin: single walkers)")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Print the tables, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", default=None)
    parser.add_argument("--walkers", type=int, default=10)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--figure", type=Path, default=None)
    arguments = parser.parse_args()

    from builder.evaluate import EvaluationSettings, Evaluator
    from services.stores import open_results

    evaluator = Evaluator(open_results(arguments.results), EvaluationSettings())
    campaigns: dict[str, list[Campaign]] = {}
    print(f"{arguments.walkers} walkers × {arguments.steps} steps, seeds {arguments.seeds}")
    print(f"{'variant':22} {'best K, median':>14} {'range':>15} {'mean of walkers':>16} {'steps/s':>8} {'evaluations/step':>17}")
    for name, settings in variants().items():
        runs = campaigns[name] = [run_campaign(evaluator, settings, seed, arguments.walkers, arguments.steps) for seed in arguments.seeds]
        best = [float(run.best_k[:, -1].max()) for run in runs]
        mean = float(np.mean([np.mean(run.best_k[:, -1]) for run in runs]))
        steps = arguments.walkers * arguments.steps * len(runs)
        rate, effort = steps / sum(run.seconds for run in runs), sum(run.num_evaluations for run in runs) / steps
        print(f"{name:22} {np.median(best):14.2f} {min(best):7.2f}–{max(best):<7.2f} {mean:16.2f} {rate:8.0f} {effort:17.2f}", flush=True)
    print(f"\n{'move':18}" + "".join(f"{name:>22}" for name in campaigns) + "   accepted of the steps it took part in")
    moves = sorted({move for runs in campaigns.values() for run in runs for move in run.proposed})
    for move in moves:
        cells = []
        for runs in campaigns.values():
            proposed, accepted = sum(run.proposed[move] for run in runs), sum(run.accepted[move] for run in runs)
            cells.append(f"{accepted / proposed:.1%} of {proposed}" if proposed else "–")
        print(f"{move:18}" + "".join(f"{cell:>22}" for cell in cells))
    if arguments.figure is not None:
        draw_figure(campaigns, arguments.figure)


if __name__ == "__main__":
    main()
