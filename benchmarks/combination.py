"""CPU time of the exact search for the best combination, on the real combinability matrix.

    python -m benchmarks.combination [--results STORE] [--sizes 10 20 40 60 100] [--choices 40] [--repeat 9]

Random choices of results with signed random weights; per size the median and the largest time over the choices, each the minimum of the
repeats: `graph` lists the maximal cliques of a set of results (once per set: neighbouring models of a walk are seen by the same results),
`search` finds the heaviest one for a set of weights, `bounded` does so without the list, `combination` is the whole search over μ for
Gaussian curves, and `pathfinder` a plain weighted depth-first search on the weights lifted above zero, in Python.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", default=None)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 20, 40, 60, 100])
    parser.add_argument("--choices", type=int, default=40)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pathfinder-up-to", type=int, default=60, help="largest size for the search in Python")
    arguments = parser.parse_args()

    from database.results.combinability import build_combinability
    from inference.cliques import CliqueSearch
    from inference.combination import find_best_combination
    from inference.likelihoods.truncated_gaussian import TruncatedGaussianLikelihood
    from services.stores import open_results

    matrix = build_combinability(open_results(arguments.results)).is_combinable
    rng = np.random.default_rng(arguments.seed)
    CliqueSearch(matrix[:3, :3]).heaviest(np.ones(3))
    columns = ("graph", "search", "bounded", "combination", "pathfinder")
    print(f"{len(matrix)} results; times in µs, median / largest of {arguments.choices} choices")
    print(f"{'results':>8s}" + "".join(f"{name:>20s}" for name in columns))
    for size in (size for size in arguments.sizes if size <= len(matrix)):
        times: dict[str, list[float]] = {name: [] for name in columns}
        for _ in range(arguments.choices):
            nodes = rng.choice(len(matrix), size=size, replace=False)
            graph, weights = matrix[np.ix_(nodes, nodes)], rng.normal(0.0, 1.0, size)
            curves = [TruncatedGaussianLikelihood(float(rng.normal(0.3, 1.0)), float(rng.uniform(0.3, 2.0))) for _ in range(size)]
            listed, bounded = CliqueSearch(graph), CliqueSearch(graph, max_listed=0)
            if abs(listed.heaviest(weights)[0] - bounded.heaviest(weights)[0]) > 1e-9:
                sys.exit("the two searches disagree")
            times["graph"].append(_fastest(arguments.repeat, lambda graph=graph: CliqueSearch(graph)))
            times["search"].append(_fastest(arguments.repeat, lambda search=listed, weights=weights: search.heaviest(weights)))
            times["bounded"].append(_fastest(arguments.repeat, lambda search=bounded, weights=weights: search.heaviest(weights)))
            times["combination"].append(_fastest(arguments.repeat, lambda c=curves, g=graph: find_best_combination(c, g, 1.0)))
            if size <= arguments.pathfinder_up_to:
                lifted = weights + 1.0 - min(0.0, float(weights.min()))
                began = time.process_time()
                found = _search_like_pathfinder(graph, lifted)
                times["pathfinder"].append(time.process_time() - began)
                if abs(found - listed.heaviest(lifted)[0]) > 1e-9:
                    sys.exit("the depth-first search disagrees")
        cells = (f"{1e6 * np.median(t):.0f} / {1e6 * max(t):.0f}" if t else "-" for t in times.values())
        print(f"{size:8d}" + "".join(f"{cell:>20s}" for cell in cells))


def _fastest(repeat: int, call: Callable[[], object]) -> float:
    """Least CPU time of a call [s]."""
    best = float("inf")
    for _ in range(repeat):
        began = time.process_time()
        call()
        best = min(best, time.process_time() - began)
    return best


def _search_like_pathfinder(graph: NDArray[np.bool_], weights: NDArray[np.float64]) -> float:
    """Heaviest path of a weighted hereditary depth-first search; weights are positive."""
    order = np.argsort(-weights, kind="stable")
    ordered = weights[order].tolist()
    adjacent = [sum(1 << int(j) for j in np.flatnonzero(row)) for row in graph[np.ix_(order, order)]]
    best = 0.0

    def extend(total: float, allowed: int) -> None:
        nonlocal best
        best = max(best, total)
        while allowed:
            if total + sum(w for i, w in enumerate(ordered) if allowed >> i & 1) <= best:
                return
            node = (allowed & -allowed).bit_length() - 1
            allowed &= ~(1 << node)
            extend(total + ordered[node], allowed & adjacent[node])

    extend(0.0, (1 << len(ordered)) - 1)
    return best


if __name__ == "__main__":
    main()
