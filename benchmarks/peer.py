"""Ours against SModelS on the same models, one after the other on the same core: CPU time per model, and the ratio.

    python -m benchmarks.peer MODELS.json --peer PEER --database COPY [--num 10] [--results STORE]

PEER is the Python of the environment that `deploy/reference.sh` makes, COPY its database. The peer's time is that of the predictions
alone, and of them with the pass that the reference critic makes of its own; ours is that of the whole evaluation: predictions,
likelihoods, best combination, K, critics; new masses each time. CPU times, so that waiting for other jobs counts on neither side.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from builder.protomodel import ProtoModel

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Times(NamedTuple):
    """CPU time per model [s], shape (num_models,) each."""

    ours: np.ndarray
    predictions: np.ndarray
    with_critic: np.ndarray


def time_ours(models: Sequence[ProtoModel], results: str | None, repeats: int = 5) -> np.ndarray:
    """CPU time of the whole evaluation of each model, smallest of several [s]."""
    from builder.evaluate import EvaluationSettings, Evaluator
    from services.stores import open_results

    evaluator = Evaluator(open_results(results), EvaluationSettings())
    for model in models:
        evaluator.evaluate(model)
    times = np.full(len(models), np.inf)
    for _ in range(repeats):
        for number, model in enumerate(models):
            evaluator.predictor.look_up.forget()
            start = time.process_time()
            evaluator.evaluate(model)
            times[number] = min(times[number], time.process_time() - start)
    return times


def time_peer(models: Sequence[ProtoModel], peer: Path, database: Path) -> tuple[np.ndarray, np.ndarray]:
    """CPU time of the peer's predictions of each model, and of them with its critic's pass [s]."""
    from benchmarks.models import to_plain_json

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "models.json"
        path.write_text(json.dumps([to_plain_json(model) for model in models]))
        command = [str(peer), "-m", "benchmarks.smodels_peer", "time", str(database.resolve()), str(path)]
        root = Path(__file__).resolve().parents[1]
        answer = subprocess.run(command, check=True, capture_output=True, text=True, cwd=root, env=os.environ | ONE_THREAD)
    rows = json.loads(answer.stdout.splitlines()[-1])
    predictions, critic = (np.array([row[name] for row in rows]) for name in ("predictions_s", "critic_s"))
    return predictions, predictions + critic


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("--peer", type=Path, required=True)
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--num", type=int, default=10, help="models, evenly spread over the file")
    parser.add_argument("--results", default=None)
    arguments = parser.parse_args()
    from builder.model_io import read_models

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # and so for the peer
    everything = read_models(arguments.models)
    spread = np.unique(np.linspace(0, len(everything) - 1, arguments.num).round().astype(int))
    models = [everything[number] for number in spread.tolist()]
    times = Times(time_ours(models, arguments.results), *time_peer(models, arguments.peer, arguments.database))
    print(f"{len(models)} models, CPU time per model on one core")
    print(f"{'':44}{'median':>12}{'p95':>12}{'ratio of medians':>18}{'median ratio':>14}")
    rows = (
        ("ours: whole evaluation, critics included", times.ours, 1e3, "ms"),
        ("SModelS 3.0.3: predictions alone", times.predictions, 1.0, "s "),
        ("SModelS 3.0.3: and those of the critic", times.with_critic, 1.0, "s "),
    )
    for name, seconds, scale, unit in rows:
        cells = "".join(f"{scale * value:9.2f} {unit}" for value in (np.median(seconds), np.percentile(seconds, 95)))
        ratios = f"{np.median(seconds) / np.median(times.ours):18.0f}{np.median(seconds / times.ours):14.0f}" if scale == 1.0 else ""
        print(f"{name:44}{cells}{ratios}")


if __name__ == "__main__":
    main()
