"""Ours against SModelS on the same models, one after the other on the same core: CPU time per model, and the ratio.

    python -m benchmarks.peer MODELS.json --peer PEER --database COPY [--num 10] [--combine all|covariance|none] [--results STORE]

PEER is the Python of the environment that `deploy/reference.sh` makes, COPY its database. What is compared:

- predictions: topologies and the predictions of every data set, on both sides;
- evaluation: ours with likelihoods, best combination, K and critics; the peer's predictions with the combinations inside analyses and
  their limits, and a second pass for the critic, as the reference program asks for them. The search for the best combination of
  analyses, which the reference program does on top, is not in the peer's time.

`--combine` says which statistical models the peer uses, so that both sides can do the same. CPU times, since waiting for other jobs
should count on neither side; passes of the peer that are stopped after `--timeout` count as long as they took.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from builder.protomodel import ProtoModel

Seconds = NDArray[np.float64]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def time_ours(models: Sequence[ProtoModel], results: str | None, repeats: int = 5) -> dict[str, Seconds]:
    """CPU time of predictions and of the whole evaluation of each model, new masses, smallest of several [s]."""
    from builder.evaluate import EvaluationSettings, Evaluator
    from services.stores import open_results

    evaluator = Evaluator(open_results(results), EvaluationSettings())
    calls: dict[str, Callable[[ProtoModel], object]] = {
        "predictions": lambda model: evaluator.predictor.predict(model.spectrum()),
        "evaluation": evaluator.evaluate,
    }
    times = {name: np.full(len(models), np.inf) for name in calls}
    for repeat in range(repeats + 1):
        for name, call in calls.items():
            for number, model in enumerate(models):
                evaluator.predictor.look_up.forget()
                start = time.process_time()
                call(model)
                if repeat > 0:  # the first round compiles
                    times[name][number] = min(times[name][number], time.process_time() - start)
    return times


def time_peer(models: Sequence[ProtoModel], peer: Path, database: Path, options: Sequence[str]) -> tuple[dict[str, Seconds], int]:
    """CPU time of the peer's predictions and evaluation of each model [s], and how many models it did not finish."""
    from benchmarks.models import to_plain_json

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "models.json"
        path.write_text(json.dumps([to_plain_json(model) for model in models]))
        command = [str(peer), "-m", "benchmarks.smodels_peer", "time", str(database.resolve()), str(path), *options]
        root = Path(__file__).resolve().parents[1]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=root, env=os.environ | ONE_THREAD)
    rows: list[Mapping[str, float]] = json.loads(answer.stdout.splitlines()[-1])
    predictions = np.array([row["predictions_s"] for row in rows])
    evaluation = np.array([row["combined_s"] + row["critic_s"] for row in rows])
    return {"predictions": predictions, "evaluation": evaluation}, sum(not row["is_finished"] for row in rows)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("--peer", type=Path, required=True)
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--num", type=int, default=10, help="models, evenly spread over the file")
    parser.add_argument("--combine", choices=("all", "covariance", "none"), default="all")
    parser.add_argument("--timeout", default="300", help="per pass of the peer [s]")
    parser.add_argument("--results", default=None)
    arguments = parser.parse_args()
    from builder.model_io import read_models

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # and so for the peer
    everything = read_models(arguments.models)
    spread = np.unique(np.linspace(0, len(everything) - 1, arguments.num).round().astype(int))
    models = [everything[number] for number in spread.tolist()]
    ours = time_ours(models, arguments.results)
    options = ("--combine", arguments.combine, "--timeout", arguments.timeout)
    peer, num_unfinished = time_peer(models, arguments.peer, arguments.database, options)
    print(f"{len(models)} models, CPU time per model on one core, medians and 95th percentiles; ours for new masses;", end=" ")
    print(f"statistical models of the peer: {arguments.combine}" + (f", {num_unfinished} models not finished" if num_unfinished else ""))
    print(f"{'':14}{'ours':>20}{'SModelS 3.0.3':>22}{'ratio of medians':>18}{'of sums':>9}{'median ratio':>14}")
    for name, mine in ours.items():
        cells = (f"{1e3 * np.median(mine):.2f}, {1e3 * np.percentile(mine, 95):.2f} ms",)
        theirs = peer[name]
        cells += (f"{np.median(theirs):.2f}, {np.percentile(theirs, 95):.2f} s",)
        ratios = np.median(theirs) / np.median(mine), theirs.sum() / mine.sum(), np.median(theirs / mine)
        print(f"{name:14}{cells[0]:>20}{cells[1]:>22}{ratios[0]:18.0f}{ratios[1]:9.0f}{ratios[2]:14.0f}")


if __name__ == "__main__":
    main()
