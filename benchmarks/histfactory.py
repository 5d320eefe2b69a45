"""Full likelihoods against pyhf: agreement of fits, CLs and limits, and CPU times, for all workspaces of a folder.

    python -m benchmarks.histfactory FOLDER [--only PATTERN] [--signals 40] [--limits 3] [--backend jax|numpy] [--minuit 0] [--seed 7]

FOLDER holds pyhf workspaces (a compiled results store, or an unpacked text database). Signals are random shapes, log-normal over all
bins or over the signal regions, between 0.3 and 5 times their own limit. pyhf builds each model once; the signal enters through fixed
factors, so that its compiled functions serve all signals. Times are CPU times of one process and one thread: the smallest of the repeats,
the median over signals. The time of a limit of pyhf is that of ten hypothesis tests.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np  # noqa: E402

from inference.likelihoods.histfactory import HistFactoryLikelihood, HistFactoryModel, HistFactorySettings, compile_workspace  # noqa: E402
from inference.likelihoods.histfactory.pyhf_backend import PyhfLikelihood, PyhfModel  # noqa: E402
from inference.limits import compute_cls, find_expected_limits, find_upper_limit  # noqa: E402
from inference.types import DataKind, FloatArray  # noqa: E402

SCALES = (0.3, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0)
"""Signals in units of their limit."""
_AROUND = (0.85, 1.0, 1.2)


class Agreement(NamedTuple):
    """Differences over all signals of a workspace.

    Attributes:
        fixed, free: largest -ln L(own) - -ln L(pyhf) at μ = 1 and at the best fit.
        num_worse: fits in which pyhf ends higher by more than 1e-4, of twice the signals.
        num_failed: fits in which pyhf fails.
        cls: largest relative difference of CLs near the limit.
        observed, expected: largest relative differences of limits.
        num_limits: limits compared.
        num_skipped: limits not compared, because a fit of pyhf near them does not end at the minimum or fails.
    """

    fixed: float
    free: float
    num_worse: int
    num_failed: int
    cls: float
    observed: float
    expected: float
    num_limits: int
    num_skipped: int


def seconds(run: Callable[[], object], repeat: int) -> float:
    """Smallest CPU time of a call."""
    best = math.inf
    for _ in range(repeat):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return best


def random_signals(model: HistFactoryModel, number: int, seed: int) -> Iterator[FloatArray]:
    """Signals at μ = 1, see the module."""
    rng = np.random.default_rng(seed)
    is_signal_region = np.array([not any(word in name.upper() for word in ("CR", "VR")) for name, _ in model.bins])
    for k in range(number):
        shape = rng.lognormal(0.0, 2.0 if k % 2 else 1.0, model.num_bins)
        shape *= rng.random(model.num_bins) < (0.3 if k % 3 == 0 else 1.1)
        if k % 4 >= 2 and is_signal_region.any():
            shape *= is_signal_region
        if not shape.any():
            shape[int(np.argmax(is_signal_region))] = 1.0
        limit = find_upper_limit(HistFactoryLikelihood(model, shape)).mu_ul
        if not 0.0 < limit < 1e6:
            limit = 2.0 * math.sqrt(model.observed.sum() + 1.0) / shape.sum()
        yield shape * limit * SCALES[(3 * k + k // 8) % len(SCALES)]


def hypotest(theirs: PyhfLikelihood, mu: float, highest: float) -> tuple[float, float]:
    """CLs of pyhf, observed and expected in the median."""
    import pyhf

    model = theirs.model
    init, bounds, fixed = model.inputs(theirs.signal, highest)
    found = pyhf.infer.hypotest(mu, theirs.data, model.model, init, bounds, fixed, test_stat="qtilde", return_expected=True)
    return float(found[0]), float(found[1])


def crossing(strengths: FloatArray, values: FloatArray) -> float:
    """Where ln CLs reaches ln 0.05, from a parabola through three points."""
    coefficients = np.polyfit(strengths, np.log(values) - math.log(0.05), 2)
    roots = np.roots(coefficients)
    real = roots[np.abs(roots.imag) < 1e-9].real
    return float(real[np.argmin(np.abs(real - strengths[1]))]) if len(real) else math.nan


def is_converged(ours: HistFactoryLikelihood, theirs: PyhfLikelihood, strengths: FloatArray) -> bool:
    """Whether pyhf finds the same minima at these strengths and at the best fit; relative to it, since its Asimov data are its own."""
    best, other_best = ours.best_fit.nll, theirs.best_fit.nll
    return all(abs((ours.nll(float(mu)) - best) - (theirs.nll(float(mu)) - other_best)) < 5e-4 for mu in strengths)


def compare_limits(ours: HistFactoryLikelihood, theirs: PyhfLikelihood) -> list[tuple[float, float]]:
    """Relative differences of CLs and of the limit, observed and expected; nan where pyhf's fits are not at the minimum."""
    import pyhf

    limits = (find_upper_limit(ours).mu_ul, find_expected_limits(ours).median)
    asimov = ours.asimov(), theirs.asimov()
    found: list[tuple[float, float]] = []
    for index, limit in enumerate(limits):
        strengths = limit * np.array(_AROUND)
        if not (is_converged(*asimov, strengths) and (index == 1 or is_converged(ours, theirs, strengths))):
            found.append((math.nan, math.nan))
            continue
        try:
            values = np.array([hypotest(theirs, float(mu), 4.0 * max(limits))[index] for mu in strengths])
        except (pyhf.exceptions.FailedMinimization, ValueError):
            found.append((math.nan, math.nan))
            continue
        mine = [compute_cls(ours, float(mu)) for mu in strengths]
        own = np.array([result.observed if index == 0 else result.expected[2] for result in mine])
        found.append((float(np.abs(own / values - 1.0).max()), abs(crossing(strengths, values) / limit - 1.0)))
    return found


def compare(model: HistFactoryModel, peer: PyhfModel, signals: list[FloatArray], num_limits: int) -> Agreement:
    """All differences of a workspace."""
    fixed, free, num_worse, num_failed = -math.inf, -math.inf, 0, 0
    worst, num_compared, num_skipped = [0.0, 0.0, 0.0], 0, 0
    for k, signal in enumerate(signals):
        ours, theirs = HistFactoryLikelihood(model, signal), peer.likelihood(signal)
        pairs = ((ours.fit(1.0).nll, theirs.fit(1.0).nll), (ours.best_fit.nll, theirs.best_fit.nll))
        differences = [mine - other for mine, other in pairs]
        num_failed += sum(math.isnan(other) for _, other in pairs)
        num_worse += sum(difference < -1e-4 for difference in differences)
        fixed, free = (max(a, b if not math.isnan(b) else a) for a, b in zip((fixed, free), differences, strict=True))
        if any(math.isnan(mine) for mine, _ in pairs):
            fixed = math.inf
        if k < num_limits:
            for index, (cls, limit) in enumerate(compare_limits(ours, theirs)):
                if math.isnan(limit):
                    num_skipped += 1
                    continue
                num_compared += 1
                worst[0], worst[1 + index] = max(worst[0], cls), max(worst[1 + index], limit)
    return Agreement(fixed, free, num_worse, num_failed, worst[0], worst[1], worst[2], num_compared, num_skipped)


class Speed(NamedTuple):
    """CPU times of one workspace [ms], own and pyhf's."""

    set_up: float
    background: float
    cold: float
    fixed: float
    free: float
    limit: float
    peer_build: float
    peer_first: float
    peer_fixed: float
    peer_free: float
    peer_hypotest: float


def time_own(text: str, settings: HistFactorySettings, signals: list[FloatArray]) -> tuple[float, ...]:
    """Set-up, background fit with Asimov data, first fit, later fits, free fits, limits [ms], medians over signals."""
    spec = json.loads(text)
    set_up = seconds(lambda: compile_workspace(json.loads(text), settings=settings), 3)

    def background() -> HistFactoryModel:
        model = compile_workspace(spec, settings=settings)
        start = time.process_time()
        model.asimov(DataKind.OBSERVED)
        times.append(time.process_time() - start)
        return model

    times: list[float] = []
    model = [background() for _ in range(3)][-1]
    start = model.table.inits
    arrays = [model.signal_arrays(signal) for signal in signals]
    data = model.data(DataKind.OBSERVED)
    cold = [seconds(lambda a=a: model.fit(data, a, 1.0, start), 3) for a in arrays]  # type: ignore[misc]
    fixed = [seconds(lambda s=s: HistFactoryLikelihood(model, s).fit(1.0), 5) for s in signals]  # type: ignore[misc]
    free = [seconds(lambda s=s: HistFactoryLikelihood(model, s).best_fit, 3) for s in signals]  # type: ignore[misc]
    limit = [seconds(lambda s=s: find_upper_limit(HistFactoryLikelihood(model, s)), 3) for s in signals]  # type: ignore[misc]
    return tuple(1e3 * x for x in (set_up, min(times), *(float(np.median(x)) for x in (cold, fixed, free, limit))))


def time_peer(peer: PyhfModel, signals: list[FloatArray], build: float) -> tuple[float, ...]:
    """Build, first fit, later fits, free fits, one hypothesis test [ms]."""
    first = seconds(lambda: peer.likelihood(signals[0]).fit(1.0), 1)
    few = signals[:3]
    fixed = [seconds(lambda s=s: peer.likelihood(s).fit(1.0), 2) for s in few]  # type: ignore[misc]
    peer.likelihood(few[0]).best_fit  # noqa: B018  compiles
    free = [seconds(lambda s=s: peer.likelihood(s).best_fit, 1) - f for s, f in zip(few, fixed, strict=True)]  # type: ignore[misc]
    test = seconds(lambda: hypotest(peer.likelihood(few[0]), 1.0, 10.0), 2)
    return tuple(1e3 * x for x in (build, first, float(np.median(fixed)), float(np.median(free)), test))


def time_minuit(spec: dict[str, Any], settings: HistFactorySettings, model: HistFactoryModel, signals: list[FloatArray]) -> None:
    """pyhf with MINUIT and jax, signal by signal."""
    peer = PyhfModel(spec, settings, tensor_backend="jax", optimizer="minuit")
    for signal in signals:
        peer.likelihood(signal).fit(1.0)
        start = time.process_time()
        theirs = peer.likelihood(signal).fit(1.0)
        spent = time.process_time() - start
        ours = HistFactoryLikelihood(model, signal).fit(1.0)
        print(f"    minuit: {1e3 * spent:.0f} ms, -ln L own - minuit {ours.nll - theirs.nll:+.1e}", flush=True)


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="part of a file name")
    parser.add_argument("--signals", type=int, default=40)
    parser.add_argument("--limits", type=int, default=3, help="signals whose CLs and limits are compared")
    parser.add_argument("--backend", default="jax")
    parser.add_argument("--minuit", type=int, default=0, help="signals that MINUIT fits too")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    logging.disable(logging.ERROR)
    warnings.simplefilter("ignore")
    print("agreement: -ln L own - pyhf (largest) | fits that pyhf ends 1e-4 higher, fails | |CLs ratio - 1| | |limit ratio - 1|, expected")
    print("speed [ms]: set-up | background fit and Asimov | fixed μ from nominal | fixed μ | free | limit")
    print("            pyhf: build | first | fixed | free | hypothesis test || ratios: fixed, limit")
    for path in sorted(arguments.folder.rglob("*.json")):
        if arguments.only not in str(path):
            continue
        text = path.read_text()
        spec = json.loads(text)
        if not (isinstance(spec, dict) and {"channels", "measurements", "observations"} <= set(spec)):
            continue
        settings = HistFactorySettings(signal_uncertainty=0.22 if "SUSY-2018-16" in str(path) else None)
        model = compile_workspace(spec, settings=settings)
        signals = list(random_signals(model, arguments.signals, arguments.seed))
        start = time.process_time()
        peer = PyhfModel(spec, settings, tensor_backend=arguments.backend)
        build = time.process_time() - start
        speed = Speed(*time_own(text, settings, signals), *time_peer(peer, signals, build))
        found = compare(model, peer, signals, arguments.limits)
        print(f"{path.parent.name}/{path.stem}: {model.num_bins} bins, {model.num_parameters} parameters, {len(signals)} signals")
        print(
            f"    fixed {found.fixed:+.1e} free {found.free:+.1e} | pyhf higher {found.num_worse} fails {found.num_failed}"
            f" | CLs {found.cls:.1e} | limits {found.observed:.1e} {found.expected:.1e}"
            f" (of {found.num_limits}, {found.num_skipped} skipped)"
        )
        own = " | ".join(f"{value:.3g}" for value in speed[:6])
        theirs = " | ".join(f"{value:.3g}" for value in speed[6:])
        ratio, limit_ratio = speed.peer_fixed / speed.fixed, 10.0 * speed.peer_hypotest / speed.limit
        print(f"    {own} || {theirs} || {ratio:.0f}, {limit_ratio:.0f}", flush=True)
        if arguments.minuit:
            time_minuit(spec, settings, model, signals[: arguments.minuit])


if __name__ == "__main__":
    main()
