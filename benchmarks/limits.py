"""Fits and limits of every statistical model of a store: times on one core, and agreement with other minimisers.

    python -m benchmarks.limits [--results STORE] [--repeat 5] [--num-signals 4] [--spey] [--pyhf]

Signals have 0.25 √(b + 1) events per region times a log-normal factor. Each time is the smallest of the repeats, CPU time; a new likelihood
is made for every repeat, so that nothing is remembered. SLSQP is scipy's, with exact gradients; spey and pyhf (jax) are timed where asked
for and installed, each on one signal per model.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.optimize import minimize

from inference.analysis_models.canary import canary_signal
from inference.analysis_models.region_sets import find_region_sets
from inference.analysis_models.registry import find_analysis_model
from inference.likelihoods.covariance import CovarianceLikelihood, CovarianceModel
from inference.likelihoods.single_region import SingleRegionLikelihood, profile_arrays
from inference.limits import AsimovConvention, LimitableLikelihood, LimitSettings, find_expected_limits, find_upper_limit
from inference.settings import Conventions
from inference.types import DataKind, FloatArray


def fastest(function: Callable[[], Any], repeat: int) -> float:
    """Smallest CPU time of a call [s]."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


class Times(NamedTuple):
    """CPU times of one signal, and what its limits say.

    Attributes:
        fit: at fixed μ [ms].
        best: of μ̂ [ms].
        limit: of the observed limit [ms].
        band: of five expected limits [ms].
        num_evaluations: signal strengths that the observed limit needed.
        ratio: limit with auxiliary data moved over that with them centred.
    """

    fit: float
    best: float
    limit: float
    band: float
    num_evaluations: int
    ratio: float


def measure(build: Callable[[], LimitableLikelihood], repeat: int) -> Times:
    """Times of a likelihood, made anew for every repeat."""
    fit = fastest(lambda: build().log_ratio(1.0), repeat)
    best = fastest(lambda: build().mu_hat, repeat)
    limit = fastest(lambda: find_upper_limit(build()), repeat)
    band = fastest(lambda: find_expected_limits(build()), repeat)
    moved, centred = (
        find_upper_limit(build(), settings=LimitSettings(asimov=convention))
        for convention in (AsimovConvention.MOVED, AsimovConvention.CENTRED)
    )
    return Times(1e3 * fit, 1e3 * best, 1e3 * limit, 1e3 * band, moved.num_evaluations, moved.mu_ul / centred.mu_ul)


def fit_by_slsqp(model: CovarianceModel, signal: FloatArray, mu: float) -> float:
    """Minimum of -ln L by scipy's SLSQP with the exact gradient, in units of standard deviations."""
    data = model.data(DataKind.OBSERVED)
    n, sd, bend = data.counts, model.sd, model.bend

    def nll(x: FloatArray) -> tuple[float, FloatArray]:
        mean = np.maximum(model.offset + mu * signal + (sd + bend * x) * x, 1e-300)
        value = 0.5 * x @ model.precision @ x + float(np.sum(mean - np.where(n > 0.0, n * np.log(mean), 0.0)))
        return value, model.precision @ x + (1.0 - n / mean) * (sd + 2.0 * bend * x)

    start = np.clip(np.zeros(model.num_bins), data.lower, data.upper)
    bounds = [
        (low if math.isfinite(low) else None, high if math.isfinite(high) else None)
        for low, high in zip(data.lower, data.upper, strict=True)
    ]
    found = minimize(nll, start, jac=True, bounds=bounds, method="SLSQP", options={"ftol": 1e-12, "maxiter": 1000})
    return float(found.fun) + model.log_norm + data.log_factorials


def print_regions(store: Any, repeat: int, with_spey: bool) -> None:
    """Single regions: all of them at once, and one limit after the other."""
    datasets = np.flatnonzero(np.isfinite(store.observed_n))[:1000]
    n, b, error = (np.ascontiguousarray(values[datasets]) for values in (store.observed_n, store.expected_bg, store.bg_error))
    s = canary_signal(b)
    both = fastest(lambda: [profile_arrays(mu, n, b, error, s, Conventions.DEFAULT) for mu in (0.0, 1.0)], 20 * repeat)
    regions = [SingleRegionLikelihood(*map(float, row)) for row in zip(n, b, error, s, strict=True)]
    limits = fastest(lambda: [find_upper_limit(region) for region in regions[:100]], repeat) / 100.0
    bands = fastest(lambda: [find_expected_limits(region) for region in regions[:100]], repeat) / 100.0
    print(f"\n{len(datasets)} single regions")
    print(f"    -ln L at two μ, all at once       {1e6 * both:10.1f} µs")
    print(f"    observed limit, each              {1e6 * limits:10.1f} µs")
    print(f"    five expected limits, each        {1e6 * bands:10.1f} µs")
    if with_spey:
        compare_regions(regions[:6])


def compare_regions(regions: list[SingleRegionLikelihood]) -> None:
    """spey's limits beside ours."""
    import spey

    make = spey.get_backend("default.uncorrelated_background")
    for region in regions:
        start = time.process_time()
        model = make([region.signal], [region.background], [int(region.observed)], [region.background_error], analysis="x", xsection=1.0)
        theirs = float(model.poi_upper_limit(expected=spey.ExpectationType.observed))
        seconds = time.process_time() - start
        ours = find_upper_limit(region).mu_ul
        where = f"n = {region.observed:g}, b = {region.background:g} ± {region.background_error:g}"
        print(f"    {where:38} limit {ours:10.5f}, spey {theirs:10.5f} ({ours / theirs - 1.0:+.1e}) in {1e3 * seconds:.0f} ms")


def print_covariances(store: Any, repeat: int, num_signals: int, with_spey: bool) -> None:
    """Covariance models against SLSQP and spey."""
    print("\ncovariance models (times: median over signals)")
    print(
        f"{'analysis':26} {'bins':>4} {'fit µs':>8} {'μ̂ µs':>8} {'limit ms':>9} {'band ms':>8} {'moved/centred':>14}",
        end="",
    )
    print(f" {'SLSQP ms':>9} {'Δ(-ln L)':>9}", end="")
    print(f" {'spey s':>7} {'limit/spey-1':>13}" if with_spey else "")
    rng = np.random.default_rng(1)
    for record in store.results:
        if record.stat_model not in ("sl_v1", "sl_v2"):
            continue
        model = find_analysis_model(store, record.index, Conventions.DEFAULT)
        if not isinstance(model, CovarianceModel):
            continue
        rows, slsqp, differences = [], [], []
        for _ in range(num_signals):
            signal = canary_signal(model.background) * rng.lognormal(0.0, 0.7, model.num_bins)
            rows.append(measure(partial(CovarianceLikelihood, model, signal), repeat))
            start = time.process_time()
            other = fit_by_slsqp(model, signal, 1.0)
            slsqp.append(1e3 * (time.process_time() - start))
            differences.append(other - CovarianceLikelihood(model, signal).nll(1.0))
        fit, best, limit, band, _, ratio = np.median(np.array(rows), axis=0).tolist()
        print(
            f"{record.analysis_id:26} {model.num_bins:4d} {1e3 * fit:8.0f} {1e3 * best:8.0f} {limit:9.2f} {band:8.2f} {ratio:14.3f}", end=""
        )
        print(f" {np.median(slsqp):9.1f} {max(differences, key=abs):+9.0e}", end="")
        print(compare_covariance(model, signal, record.stat_model == "sl_v2", store, record) if with_spey else "", flush=True)


def compare_covariance(model: CovarianceModel, signal: FloatArray, is_skewed: bool, store: Any, record: Any) -> str:
    """spey's limit of one signal beside ours."""
    import spey

    covariance = store.covariance(record.index)
    arguments: dict[str, Any] = {
        "signal_yields": signal,
        "background_yields": model.background,
        "data": model.observed.astype(int),
        "covariance_matrix": covariance,
        "analysis": "x",
        "xsection": 1.0,
    }
    if is_skewed:
        arguments["third_moment"] = store.third_moment[record.dataset_start : record.dataset_start + model.num_bins]
    start = time.process_time()
    made = spey.get_backend("default.third_moment_expansion" if is_skewed else "default.correlated_background")(**arguments)
    theirs = float(made.poi_upper_limit(expected=spey.ExpectationType.observed))
    ours = find_upper_limit(CovarianceLikelihood(model, signal)).mu_ul
    return f" {time.process_time() - start:7.1f} {ours / theirs - 1.0:+13.1e}"


def print_workspaces(store: Any, repeat: int, num_signals: int, with_pyhf: bool) -> None:
    """Full likelihoods."""
    print("\nHistFactory workspaces (times: median over signals)")
    print(
        f"{'analysis, workspace':52} {'bins':>4} {'par.':>4} {'fit ms':>7} {'μ̂ ms':>7} {'limit ms':>9}",
        end="",
    )
    print(f" {'μ':>3} {'band ms':>8} {'moved/centred':>14}", end="")
    print(f" {'pyhf limit s':>13} {'limit/pyhf-1':>13}" if with_pyhf else "")
    rng = np.random.default_rng(1)
    for record in store.results:
        if record.stat_model != "pyhf":
            continue
        background = store.expected_bg[record.dataset_start : record.dataset_stop]
        for entry in find_region_sets(store, record.index, Conventions.DEFAULT):
            placed = entry.placed(0)
            if placed is None:
                continue
            model, columns = placed[1].model, placed[1].columns
            rows = []
            for _ in range(num_signals):
                signal = np.where(columns >= 0, canary_signal(background[np.maximum(columns, 0)]), 0.0)
                signal *= rng.lognormal(0.0, 0.7, len(signal))
                rows.append(measure(partial(model.likelihood, signal), repeat))
            fit, best, limit, band, fits, ratio = np.median(np.array(rows), axis=0).tolist()
            compiled = model.compiled
            name = f"{record.analysis_id} {entry.record.name}"
            print(f"{name:52} {compiled.num_bins:4d} {compiled.num_parameters:4d} {fit:7.2f} {best:7.2f} {limit:9.2f} {fits:3.0f}", end="")
            print(f" {band:8.2f} {ratio:14.3f}", end="")
            print(
                compare_workspace(store, record, entry, signal, find_upper_limit(model.likelihood(signal)).mu_ul) if with_pyhf else "",
                flush=True,
            )


def compare_workspace(store: Any, record: Any, entry: Any, signal: FloatArray, ours: float) -> str:
    """pyhf's limit of one signal beside ours."""
    import json

    import pyhf
    from scipy.optimize import brentq

    from inference.analysis_models.workspace_regions import plan_channels, select_channels

    spec = json.loads((store.path / entry.file.path).read_bytes())
    plan = plan_channels(spec, entry.record.regions, record.stat_payload.includes_crs)
    spec = select_channels(spec, plan.kept)
    bins = iter(signal.tolist())
    uncertainty = record.stat_payload.signal_uncertainty
    for channel in sorted(spec["channels"], key=lambda entry: str(entry["name"])):
        yields = [next(bins) for _ in channel["samples"][0]["data"]]
        modifiers: list[dict[str, Any]] = [
            {"name": "mu_SIG", "type": "normfactor", "data": None}, {"name": "lumi", "type": "lumi", "data": None},
        ]  # fmt: skip
        if uncertainty is not None:
            shifted = {"hi_data": [(1 + uncertainty) * x for x in yields], "lo_data": [(1 - uncertainty) * x for x in yields]}
            modifiers.append({"name": "signalUncertainty", "type": "histosys", "data": shifted})
        channel["samples"] = [*channel["samples"], {"name": "bsm", "data": yields, "modifiers": modifiers}]
    pyhf.set_backend("jax", pyhf.optimize.scipy_optimizer(maxiter=100000, tolerance=1e-9))
    start = time.process_time()
    workspace = pyhf.Workspace(spec)
    model = workspace.model()
    bounds = list(model.config.suggested_bounds())
    bounds[model.config.poi_index] = (0.0, max(10.0, 5.0 * ours))

    def excess(mu: float) -> float:
        return float(pyhf.infer.hypotest(mu, workspace.data(model), model, test_stat="qtilde", par_bounds=bounds)) - 0.05

    theirs = float(brentq(excess, 0.5 * ours, 2.0 * ours, rtol=1e-4))
    return f" {time.process_time() - start:13.1f} {ours / theirs - 1.0:+13.1e}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", default=None)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--num-signals", type=int, default=4)
    parser.add_argument("--spey", action="store_true")
    parser.add_argument("--pyhf", action="store_true")
    arguments = parser.parse_args()
    from services.stores import open_results

    store = open_results(arguments.results)
    print_regions(store, arguments.repeat, arguments.spey)
    print_covariances(store, arguments.repeat, arguments.num_signals, arguments.spey)
    print_workspaces(store, arguments.repeat, arguments.num_signals, arguments.pyhf)


if __name__ == "__main__":
    main()
