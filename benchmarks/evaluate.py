"""CPU time of one evaluation (predictions, critics, combination, K) on one core, stage by stage.

    python -m benchmarks.evaluate MODELS [--results STORE] [--repeat 5] [--fast] [--reference REFERENCE.json]

MODELS: any model file with several models. REFERENCE: reference predictions with the peer's `seconds` per model, for the ratio.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import psutil


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("--results", default=None)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--reference", type=Path, default=None)
    parser.add_argument("--fast", action="store_true", help="without full likelihoods (HistFactory analyses are one region)")
    arguments = parser.parse_args()

    start = time.perf_counter()
    from builder.evaluate import EvaluationSettings, Evaluator
    from builder.model_io import read_models
    from critics.panel import judge
    from inference.score import ScoreSettings, score
    from services.stores import open_results

    imported = time.perf_counter()
    store = open_results(arguments.results)
    opened = time.perf_counter()
    evaluator = Evaluator(store, EvaluationSettings(score=ScoreSettings(full_likelihoods=not arguments.fast)))
    models = read_models(arguments.models)
    ready = time.perf_counter()
    evaluator.evaluate(models[0])
    first = time.perf_counter()
    for model in models:
        evaluator.evaluate(model)

    stages: dict[str, list[float]] = defaultdict(list)
    look_up = evaluator.predictor.look_up
    for _ in range(arguments.repeat):
        for model in models:
            look_up.forget()  # as after a mass move of every particle
            t = [time.process_time()]
            topologies = evaluator.predictor.topologies(model.spectrum())
            t.append(time.process_time())
            predictions = evaluator.predictor.predict_topologies(topologies)
            t.append(time.process_time())
            verdict = judge(predictions, store, evaluator.settings.critics)
            t.append(time.process_time())
            score(predictions, store, evaluator.combinability.is_combinable, verdict.mu_max, evaluator.settings.score)
            t.append(time.process_time())
            look_up.forget()
            t.append(time.process_time())
            evaluator.evaluate(model)
            t.append(time.process_time())
            evaluator.evaluate(model)  # as after a move of branching ratios or signal strengths
            t.append(time.process_time())
            names = (
                "topologies", "match, interpolate, assemble", "critics", "likelihoods, combination", "", "whole evaluation, new masses",
                "whole evaluation, known masses",
            )  # fmt: skip
            for name, seconds in zip(names, np.diff(t), strict=True):
                if name:
                    stages[name].append(float(seconds))
    memory = psutil.Process().memory_full_info()
    print(f"{len(models)} models, {len(store.results)} results; imports {imported - start:.2f} s, open {opened - imported:.3f} s,", end=" ")
    print(f"evaluator {ready - opened:.2f} s, first evaluation {first - ready:.2f} s")
    print(f"memory: resident {memory.rss / 1e6:.0f} MB, of it private {memory.uss / 1e6:.0f} MB")
    whole = sum(stages["whole evaluation, new masses"])
    print(f"{'stage':32} {'median ms':>10} {'p95 ms':>8} {'share':>7}")
    for name, seconds in stages.items():
        print(f"{name:32} {1e3 * np.median(seconds):10.3f} {1e3 * np.percentile(seconds, 95):8.3f} {sum(seconds) / whole:7.1%}")
    if arguments.reference is not None:
        peer = [entry["seconds"] for entry in json.loads(arguments.reference.read_text()).values()]
        total = [sum(seconds) for seconds in peer]
        ours = float(np.median(stages["whole evaluation, new masses"]))
        print(f"peer (SModelS 3.0.3, predictions only, as stored): median {np.median(total):.2f} s; ratio {np.median(total) / ours:.0f}")


if __name__ == "__main__":
    main()
