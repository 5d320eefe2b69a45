"""CPU time of value and gradient in one call, over that of the value alone, on one core.

    python -m benchmarks.gradients MODELS [--results STORE] [--repeat 5]

MODELS: any model file with several models; cross sections are taken as κ times the reference, so that every parameter counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np


def cpu_ms(call: Callable[[], object]) -> float:
    """CPU time of one call [ms]."""
    start = time.process_time()
    call()
    return 1e3 * (time.process_time() - start)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("--results", default=None)
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()

    from builder.evaluate import EvaluationSettings, Evaluator
    from builder.gradient import evaluate_with_gradient, fisher_information
    from builder.model_io import read_models
    from builder.protomodel import ProtoModel
    from services.stores import open_results

    evaluator = Evaluator(open_results(arguments.results), EvaluationSettings())
    forget = evaluator.predictor.look_up.forget
    models = [ProtoModel(model.masses, model.branching_ratios, model.ssms) for model in read_models(arguments.models)]
    sizes = []
    for model in models:  # compile, and count
        evaluator.evaluate(model)
        sizes.append(evaluate_with_gradient(evaluator, model).parameters.size)

    times: dict[str, list[tuple[float, float]]] = {"new masses": [], "known masses": []}
    fisher = []
    for _ in range(arguments.repeat):
        for model in models:
            forget()
            new_value = cpu_ms(partial(evaluator.evaluate, model))
            value = cpu_ms(partial(evaluator.evaluate, model))
            forget()
            new_both = cpu_ms(partial(evaluate_with_gradient, evaluator, model))
            both = cpu_ms(partial(evaluate_with_gradient, evaluator, model))
            times["new masses"].append((new_value, new_both))
            times["known masses"].append((value, both))
            fisher.append(cpu_ms(partial(fisher_information, evaluator, model)))
    print(f"{len(models)} models, {np.median(sizes):.0f} parameters (median), {max(sizes)} at most")
    print(f"{'':14} {'value ms':>9} {'with gradient ms':>17} {'ratio':>6} {'ratio p95':>10}   (medians)")
    for name, pairs in times.items():
        alone, both = np.array(pairs).T
        ratio = both / alone
        print(f"{name:14} {np.median(alone):9.3f} {np.median(both):17.3f} {np.median(ratio):6.2f} {np.percentile(ratio, 95):10.2f}")
    print(f"Fisher information: {np.median(fisher):.3f} ms")


if __name__ == "__main__":
    main()
