"""Coverage of asymptotic CLs limits: how often the 95 % limit of pseudo-experiments lies above the true signal strength.

    python -m benchmarks.coverage [--results STORE] [--num-toys 1000] [--output docs/images/coverage.png]

One model of each kind, with the signal of its canary (s = 0.25 √(b + 1)) scaled so that the expected limit is at μ = 1. Toys have their
nuisances at nominal values and random auxiliary data; the limit of a toy lies below μ iff its CLs(μ) < 0.05, so that one CLs decides.
CLs covers more than 95 % by construction where a search is not sensitive: the grey line is what a Gaussian likelihood gives. Prints a table
and draws it.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from inference.analysis_models.canary import canary_signal
from inference.analysis_models.region_sets import find_region_sets
from inference.analysis_models.registry import find_analysis_model
from inference.likelihoods.covariance import CovarianceLikelihood, CovarianceModel
from inference.likelihoods.histfactory import HistFactoryLikelihood
from inference.likelihoods.protocol import Likelihood
from inference.likelihoods.single_region import SingleRegionLikelihood
from inference.limits import AsimovConvention, LimitSettings, compute_cls, find_upper_limit
from inference.limits.statistics import gaussian_limit
from inference.settings import Conventions
from inference.toy_data import draw_toys
from inference.toys import make_generator
from inference.types import Outcome

STRENGTHS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
"""True signal strengths, in units of the expected limit."""
COVARIANCE, WORKSPACE = "CMS-SUS-21-002", ("ATLAS-SUSY-2018-31", "BkgOnlyA.json")


class Case(NamedTuple):
    """A statistical model whose coverage is measured.

    Attributes:
        name: for table and figure.
        expect: likelihood of a signal strength's own expected data, nuisances nominal.
    """

    name: str
    expect: Callable[[float], Any]


def scale_of(expect: Callable[[float], Any]) -> float:
    """Expected limit on μ."""
    return find_upper_limit(expect(0.0)).mu_ul


def build_cases(store: Any) -> list[Case]:
    """One single region with few events, one covariance model, one full likelihood."""
    background, error = 3.8, 1.0
    cases = [
        Case(
            f"single region, b = {background} ± {error}",
            lambda mu: SingleRegionLikelihood(background + mu * 1.0, background, error, 1.0),
        )
    ]
    (record,) = (entry for entry in store.results if entry.analysis_id == COVARIANCE and entry.stat_model == "sl_v1")
    model = find_analysis_model(store, record.index, Conventions.DEFAULT)
    if not isinstance(model, CovarianceModel):
        raise TypeError(f"{COVARIANCE} has no covariance model")
    signal = canary_signal(model.background)
    cases.append(
        Case(
            f"covariance model, {COVARIANCE} ({model.num_bins} regions)",
            lambda mu: CovarianceLikelihood(model, signal, counts=model.background + mu * signal),
        )
    )
    (record,) = (entry for entry in store.results if entry.analysis_id == WORKSPACE[0] and entry.stat_model == "pyhf")
    (chosen,) = (entry for entry in find_region_sets(store, record.index, Conventions.DEFAULT) if entry.record.name == WORKSPACE[1])
    placed = chosen.placed(0)
    if placed is None:
        raise TypeError(f"{WORKSPACE[0]} has no workspace {WORKSPACE[1]}")
    compiled, columns = placed[1].model.compiled, placed[1].columns
    events = store.expected_bg[record.dataset_start : record.dataset_stop][np.maximum(columns, 0)]
    yields = np.where(columns >= 0, canary_signal(events), 0.0)
    nominal = compiled.table.inits.copy()

    def expect_workspace(mu: float) -> HistFactoryLikelihood:
        nominal[compiled.poi_index] = mu
        counts = compiled.means_at(nominal, compiled.signal_arrays(yields))
        return HistFactoryLikelihood(compiled, yields, counts=counts)

    name = f"full likelihood, {WORKSPACE[0]} {WORKSPACE[1]} ({compiled.num_bins} bins, {compiled.num_parameters} parameters)"
    cases.append(Case(name, expect_workspace))
    return cases


def measure_coverage(truth: Likelihood, mu: float, num_toys: int, seed: int, settings: LimitSettings) -> tuple[float, float, int]:
    """Fraction of toys of a hypothesis that do not exclude it, its binomial error, and how many toys failed."""
    num_covered = num_failed = 0
    for toy in draw_toys(truth, mu, num_toys, make_generator(seed, 1)):
        found = compute_cls(toy, mu, settings)  # type: ignore[arg-type]
        num_failed += found.outcome is not Outcome.OK
        num_covered += found.observed >= 0.05
    fraction = num_covered / max(1, num_toys - num_failed)
    return fraction, math.sqrt(max(fraction * (1.0 - fraction), 1.0 / num_toys) / num_toys), num_failed


def gaussian_coverage(strength: float) -> float:
    """Coverage of CLs for a Gaussian likelihood; the strength in units of the expected limit 1.96 σ."""
    mu = 1.959964 * strength
    edge = brentq(lambda mu_hat: gaussian_limit(mu_hat, 1.0) - mu, mu - 40.0, mu)
    return float(1.0 - ndtr(edge - mu))


def draw(rows: dict[str, dict[str, list[tuple[float, float, float]]]], output: Path) -> None:
    """The figure."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7.0, 4.4), layout="constrained")
    grid = np.linspace(0.05, 2.0, 60)
    axes.plot(grid, [gaussian_coverage(x) for x in grid.tolist()], color="0.6", lw=3, label="Gaussian likelihood")
    axes.axhline(0.95, color="black", lw=0.8, ls=":")
    for k, (name, conventions) in enumerate(rows.items()):
        for convention, points in conventions.items():
            x, y, error = np.array(points).T
            style = "o-" if convention == AsimovConvention.MOVED.value else "s--"
            label = name if style == "o-" else None
            axes.errorbar(x + 0.012 * (k - 1), y, error, fmt=style, ms=4, lw=1.2, color=f"C{k}", label=label, alpha=1.0 if label else 0.6)
    axes.plot([], [], "o-", color="0.3", ms=4, label="auxiliary data of the Asimov set moved")
    axes.plot([], [], "s--", color="0.3", ms=4, label="… centred")
    axes.set(xlabel="true signal strength / expected limit", ylabel="coverage of the 95 % CLs limit", ylim=(0.9, 1.005))
    axes.legend(fontsize=7.5, loc="lower left")
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=140)


def main() -> None:
    """Print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", default=None)
    parser.add_argument("--num-toys", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("docs/images/coverage.png"))
    arguments = parser.parse_args()
    from services.stores import open_results

    rows: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
    print("coverage at true μ/expected limit:  " + " ".join(f"{x:>11}" for x in STRENGTHS))
    print(f"{'Gaussian likelihood':36}" + " ".join(f"{gaussian_coverage(x):11.3f}" for x in STRENGTHS))
    for case in build_cases(open_results(arguments.results)):
        scale = scale_of(case.expect)
        rows[case.name] = {}
        print(case.name)
        for convention in (AsimovConvention.MOVED, AsimovConvention.CENTRED):
            start = time.process_time()
            settings = LimitSettings(asimov=convention)
            points, failed = [], 0
            for strength in STRENGTHS:
                mu = strength * scale
                fraction, error, num_failed = measure_coverage(case.expect(mu), mu, arguments.num_toys, arguments.seed, settings)
                points.append((strength, fraction, error))
                failed += num_failed
            rows[case.name][convention.value] = points
            text = " ".join(f"{fraction:.3f}±{error:.3f}" for _, fraction, error in points)
            print(f"    {convention.value:32}{text}  ({failed} toys failed, {time.process_time() - start:.0f} s)", flush=True)
    draw(rows, arguments.output)
    print(f"drawn: {arguments.output}")


if __name__ == "__main__":
    main()
