"""Memory of workers that share one results store.

    python -m benchmarks.memory MODELS [--results STORE] [--workers 8]

Starts the workers, lets each evaluate all models, and prints per worker the resident, private (USS) and proportional (PSS) memory
while all of them live: what eight workers hold together is the sum of their PSS.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from multiprocessing.connection import Connection
from pathlib import Path

import psutil


def _work(models: Path, results: str | None, connection: Connection) -> None:
    start = time.perf_counter()
    from builder.evaluate import EvaluationSettings, Evaluator
    from builder.model_io import read_models
    from services.stores import open_results

    evaluator = Evaluator(open_results(results), EvaluationSettings())
    protomodels = read_models(models)
    evaluator.evaluate(protomodels[0])
    ready = time.perf_counter() - start
    for protomodel in protomodels:
        evaluator.evaluate(protomodel)
    connection.send(ready)
    connection.recv()  # stay alive until everybody was measured


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("--results", default=None)
    parser.add_argument("--workers", type=int, default=8)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    workers = []
    for _ in range(arguments.workers):
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(arguments.models, arguments.results, theirs))
        process.start()
        workers.append((process, ours))
    cold_starts = [connection.recv() for _, connection in workers]
    memory = [psutil.Process(process.pid).memory_full_info() for process, _ in workers]
    for process, connection in workers:
        connection.send(None)
        process.join()
    print(f"{len(workers)} workers; cold start (imports, open, first evaluation) up to {max(cold_starts):.1f} s")
    print(f"{'':10} {'resident':>10} {'private':>10} {'share':>10}   [MB]")
    for name, values in (("largest", max), ("sum", sum)):
        row = [values(getattr(m, field) for m in memory) / 1e6 for field in ("rss", "uss", "pss")]
        print(f"{name:10} " + " ".join(f"{value:10.0f}" for value in row))


if __name__ == "__main__":
    main()
