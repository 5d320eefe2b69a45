"""Models to measure with: those a walk evaluates, and random ones of every kind.

    python -m benchmarks.models random OUTPUT.json [--num 48] [--seed 1]
    python -m benchmarks.models walk OUTPUT.json [--num 300] [--seed 1] [--results STORE]

Writes a list of models in plain JSON, which `protomodels predict`, every benchmark here and `benchmarks.smodels_peer` read.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from builder.decays import open_channels
from builder.particles import POOL_PIDS
from builder.protomodel import ProtoModel
from inference.cross_sections import production_pairs
from inference.spectrum import LBP_PID

if TYPE_CHECKING:
    from builder.evaluate import Evaluator
    from builder.evaluation import Evaluation

COLOURED = tuple(pid for pid in POOL_PIDS if pid % 1000000 <= 6 or pid == 1000021)
ELECTROWEAK = (1000023, 1000024, 1000025, 1000037)
LEPTONIC = tuple(pid for pid in POOL_PIDS if 11 <= pid % 1000000 <= 16)
KINDS = ("any", "sleptons", "compressed", "off_shell", "long_lived", "coloured", "electroweak", "crowded", "degenerate", "round")
"""Kinds of random models, drawn in turn."""


def to_plain_json(model: ProtoModel) -> dict[str, Any]:
    """A model as plain JSON: masses, decays with both charge modes, cross sections, widths of long-lived states."""

    def key(pids: Iterable[int]) -> str:
        return ",".join(map(str, pids))

    spectrum = model.spectrum()
    document: dict[str, Any] = {
        "masses": {str(pid): mass for pid, mass in spectrum.masses.items()},
        "decays": {str(pid): {key(daughters): br for daughters, br in channels} for pid, channels in spectrum.decays.items() if channels},
        "xsecs_fb": {str(sqrts): {key(pair): xsec for pair, xsec in pairs.items()} for sqrts, pairs in spectrum.xsecs_fb.items()},
    }
    if model.widths:
        document["widths_gev"] = {str(pid): width for pid, width in model.widths.items()}
    return document


def walk_models(evaluator: Evaluator, num_models: int, seed: int, models_per_walk: int = 50) -> list[ProtoModel]:
    """The first models that seeded walks with the default settings evaluate, without repetition, so many of each walk."""
    from builder.walk import WalkSettings, build_kernel, start_walk, step_rng

    seen: dict[str, ProtoModel] = {}

    def evaluate(model: ProtoModel) -> Evaluation:
        seen.setdefault(model.content_hash, model)
        return evaluator.evaluate(model)

    settings = WalkSettings()
    kernel = build_kernel(evaluate, settings)
    models: list[ProtoModel] = []
    for walk_number in range(-(-num_models // models_per_walk)):
        seen.clear()
        state = start_walk(seed, walk_number, evaluate, settings)
        while len(seen) < models_per_walk:
            state, _ = kernel(step_rng(seed, walk_number, state.step + 1), state)
        models += list(seen.values())[:models_per_walk]
    return models[:num_models]


def random_models(num_models: int, seed: int) -> list[ProtoModel]:
    """Random models of every kind in turn; each has particles that are produced and decay."""
    rng = np.random.default_rng(seed)
    models: list[ProtoModel] = []
    while len(models) < num_models:
        model = random_model(rng, KINDS[len(models) % len(KINDS)])
        if model is not None:
            models.append(model)
    return models


def random_model(rng: np.random.Generator, kind: str) -> ProtoModel | None:
    """One random model; None where the draw cannot be produced or has a state without a channel."""
    lightest = float(rng.uniform(1.0, 400.0))
    if kind == "crowded":
        others = _choose(rng, [pid for pid in POOL_PIDS if pid != LBP_PID], 8)
    elif kind == "sleptons":
        others = _choose(rng, LEPTONIC, 3) + _choose(rng, ELECTROWEAK, 2)
    elif kind == "degenerate":  # clusters of upper-limit topologies
        others = _choose(rng, COLOURED, 3) + _choose(rng, (*LEPTONIC, 1000024, 1000037), 3)
    elif kind == "coloured":
        others = _choose(rng, COLOURED, 4)
    elif kind in ("electroweak", "off_shell"):
        others = _choose(rng, ELECTROWEAK, 3) + (_choose(rng, (1000006, 1000005, 1000021), 1) if kind == "off_shell" else [])
    else:
        others = _choose(rng, [pid for pid in POOL_PIDS if pid != LBP_PID], int(rng.integers(1, 5)))
    gap = _gaps(kind)
    masses = {LBP_PID: round(lightest, 3)} | {pid: round(lightest + gap(rng), 3) for pid in others}
    if kind == "degenerate":
        near = masses[others[0]]
        masses |= {pid: round(near + rng.uniform(-12.0, 40.0), 3) for pid in others[1:] if near > lightest + 15.0}
    elif kind == "round":  # points of published grids
        masses = {pid: max(25.0, 25.0 * round(mass / 25.0)) + (25.0 if pid != LBP_PID else 0.0) for pid, mass in masses.items()}
    decays: dict[int, dict[tuple[int, ...], float]] = {}
    for pid in others:
        channels = list(open_channels(pid, masses))
        if not channels:
            return None
        chosen = [channels[k] for k in rng.permutation(len(channels))[: int(rng.integers(1, 4))]]
        weights = rng.uniform(0.05, 1.0, len(chosen))
        decays[pid] = dict(zip(chosen, (weights / weights.sum()).tolist(), strict=True))
    pairs = production_pairs(masses)
    if not pairs:
        return None
    ssms = {pair: float(10.0 ** rng.uniform(-1.0, 1.5)) for pair in pairs}
    widths = {}
    if kind == "long_lived":
        for pid in _choose(rng, others, 2):
            widths[pid] = float(f"{10.0 ** rng.uniform(-18.0, -12.0):.4g}") if rng.random() < 0.8 else 0.0
    model = ProtoModel(masses, decays, ssms, widths=widths)
    # what cannot be seen at all is no test
    return model if max((x for xsecs in model.spectrum().xsecs_fb.values() for x in xsecs.values()), default=0.0) > 0.5 else None


def _choose(rng: np.random.Generator, pids: Iterable[int], num: int) -> list[int]:
    available = list(pids)
    return sorted(available[k] for k in rng.permutation(len(available))[:num])


def _gaps(kind: str) -> Callable[[np.random.Generator], float]:
    """Draws mass differences to the lightest state [GeV]."""
    if kind == "compressed":
        return lambda rng: float(rng.uniform(0.5, 60.0))
    if kind == "off_shell":
        return lambda rng: float(rng.uniform(10.0, 200.0))
    if kind in ("sleptons", "electroweak"):
        return lambda rng: float(rng.uniform(5.0, 700.0))
    return lambda rng: float(math.exp(rng.uniform(math.log(5.0), math.log(1500.0))))


def main() -> None:
    """Write a file of models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("random", "walk"))
    parser.add_argument("output", type=Path)
    parser.add_argument("--num", type=int, default=48)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", default=None)
    arguments = parser.parse_args()
    if arguments.kind == "random":
        models = random_models(arguments.num, arguments.seed)
    else:
        from builder.evaluate import EvaluationSettings, Evaluator
        from services.stores import open_results

        models = walk_models(Evaluator(open_results(arguments.results), EvaluationSettings()), arguments.num, arguments.seed)
    arguments.output.write_text("[\n" + ",\n".join(json.dumps(to_plain_json(model)) for model in models) + "\n]\n")
    print(f"{len(models)} models in {arguments.output}")


if __name__ == "__main__":
    main()
