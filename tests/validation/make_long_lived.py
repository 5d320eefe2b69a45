"""Makes long_lived.json: what SModelS 3.0.3 predicts for models with long-lived particles.

    PYTHONPATH=. PEER tests/validation/make_long_lived.py DATABASE OUTPUT

PEER is the Python of the environment that `deploy/reference.sh` makes, DATABASE the unpacked text database 3.0.0; from the root of
the project. Linear algebra is pinned as the import does (`database/results/worker.py`), so that triangulations can be compared point
by point; that takes a processor with AVX-512.
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.smodels_peer import LABELS, PINNED, write_slha

FOLDERS = (
    *(f"13TeV/ATLAS/ATLAS-SUSY-{name}" for name in (
        "2016-06-eff", "2016-08", "2016-32", "2016-32-eff-trim", "2018-04", "2018-09", "2018-13-eff", "2018-14-eff", "2018-33-eff",
        "2018-40-eff", "2018-41-eff", "2018-42", "2018-42-eff",
    )),
    *(f"13TeV/CMS/CMS-{name}" for name in (
        "EXO-19-001-eff", "EXO-19-010-eff", "PAS-EXO-16-036", "SUS-16-036", "SUS-17-004", "SUS-19-010", "SUS-21-002",
    )),
    "8TeV/ATLAS/ATLAS-SUSY-2013-02", "8TeV/ATLAS/ATLAS-SUSY-2013-11", "8TeV/CMS/CMS-EXO-12-026", "8TeV/CMS/CMS-EXO-13-006-eff-trim",
)  # fmt: skip
"""Every result that asks for long-lived particles, and a few prompt searches that see what is left for them."""

N1, N2, C1, C2, GLUINO = 1000022, 1000023, 1000024, 1000037, 1000021
DOWN, UP, BOTTOM, TOP, E, MU, TAU, NU_TAU = 1000001, 1000002, 1000005, 1000006, 1000011, 1000013, 1000015, 1000016
Model = dict[str, Any]


class Models:
    """Collects models: fixed widths where a search turns on or off, and random ones."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.models: list[Model] = []

    def uniform(self, low: float, high: float) -> float:
        return self.rng.uniform(low, high)

    def width(self, low: float, high: float) -> float:
        """Random width [GeV] between powers of ten."""
        return float(f"{10 ** self.rng.uniform(low, high):.4g}")

    def add(
        self, name: str, masses: dict[int, float], decays: dict[int, dict[tuple[int, ...], float]], pairs_fb: dict[tuple[int, int], float],
        widths: dict[int, float],
    ) -> None:  # fmt: skip
        def key(pids: tuple[int, ...]) -> str:
            return ",".join(map(str, pids))

        pairs = {key(tuple(sorted(pair))): xsec for pair, xsec in pairs_fb.items()}
        self.models.append(
            {
                "name": name,
                "masses": {str(pid): round(mass, 1) for pid, mass in masses.items()},
                "decays": {str(pid): {key(daughters): br for daughters, br in channels.items()} for pid, channels in decays.items()},
                "xsecs_fb": {"8": {pair: 0.2 * xsec for pair, xsec in pairs.items()}, "13": pairs},
                "widths_gev": {str(pid): width for pid, width in widths.items()},
            }
        )


def build_models() -> list[Model]:
    """All models; the same ones at every call.

    Widths stay off the grid planes of the maps and mixed pairs of degenerate squarks are left out: there simplices and clusters tie,
    and the last bits decide.
    """
    models = Models(20240817)
    add, uniform, width = models.add, models.uniform, models.width
    quarks = {(-1, 1, N1): 0.5, (-2, 2, N1): 0.5}
    for gamma in (0.0, 1.3e-19, 1.1e-17, 5.2e-17, 1.1e-16, 5.3e-16, 1.2e-15, 1.1e-14, 1.3e-13, 1.1e-12, 2e-11):
        add(f"gluino of width {gamma:g}", {N1: 100, GLUINO: 1400}, {GLUINO: quarks}, {(GLUINO, GLUINO): 20.0}, {GLUINO: gamma})
    for _ in range(3):
        mass = uniform(500, 2200)
        add("gluino", {N1: uniform(10, mass - 60), GLUINO: mass}, {GLUINO: quarks}, {(GLUINO, GLUINO): 30.0}, {GLUINO: width(-18, -12)})
    charginos = {(-C1, C1): 300.0, (N1, C1): 400.0, (-C1, N1): 200.0}
    for gamma in (0.0, 1.2e-17, 1.1e-16, 1.3e-15, 5.1e-15, 1.1e-13):
        mass = uniform(120, 900)
        add(f"chargino of width {gamma:g}", {N1: mass - 0.3, C1: mass}, {C1: {(211, N1): 1.0}}, charginos, {C1: gamma})
    for _ in range(3):
        mass = uniform(100, 1000)
        decays = {C1: {(211, N1): 0.6, (-11, 12, N1): 0.4}}
        add("chargino", {N1: mass - uniform(0.2, 30), C1: mass}, decays, charginos, {C1: width(-17, -13)})
    for _ in range(3):
        mass = uniform(150, 600)
        add(
            "higgsinos", {N1: mass - 0.3, C1: mass, N2: mass + uniform(1, 40)},
            {C1: {(211, N1): 1.0}, N2: {(23, N1): 0.5, (-24, C1): 0.25, (24, -C1): 0.25}},
            {(-C1, C1): 300.0, (N1, C1): 200.0, (N2, C1): 200.0, (-C1, N2): 100.0, (N1, N2): 100.0}, {C1: width(-16, -14)},
        )  # fmt: skip
    for number in range(3):
        mass = uniform(150, 900)
        split = (1.0, 5.0, 30.0)[number]
        add(
            "two charginos", {N1: 50.0, C1: mass, C2: mass + split}, {C1: {(211, N1): 1.0}, C2: {(211, N1): 1.0}},
            {(-C1, C1): 30.0, (-C2, C2): 30.0, (-C1, C2): 20.0, (-C2, C1): 20.0, (N1, C1): 20.0, (N1, C2): 20.0},
            {C1: width(-17.5, -16.5), C2: width(-17.5, -16.5)},
        )  # fmt: skip
    for number, (slepton, lepton) in enumerate(((TAU, 15), (E, 11), (MU, 13), (TAU, 15), (TAU, 15))):
        mass, lbp = uniform(100, 600), 1.0 if number < 3 else 50.0
        gamma = (width(-15, -13.5), width(-15, -13.5), width(-15, -13.5), 1e-18, 0.0)[number]
        add("slepton", {N1: lbp, slepton: mass}, {slepton: {(lepton, N1): 1.0}}, {(-slepton, slepton): 20.0}, {slepton: gamma})
    for split in (2.0, 40.0):
        mass = uniform(150, 600)
        add(
            "two sleptons", {N1: 10.0, E: mass, MU: mass + split}, {E: {(11, N1): 1.0}, MU: {(13, N1): 1.0}},
            {(-E, E): 30.0, (-MU, MU): 20.0, (-E, MU): 20.0, (-MU, E): 20.0}, {E: width(-18, -16.3), MU: width(-18, -16.3)},
        )  # fmt: skip
    for squark, quark, gamma in ((TOP, 4, 0.0), (BOTTOM, 5, 0.0), (DOWN, 1, 1e-18), (UP, 2, 1e-17), (TOP, 4, 3e-17), (BOTTOM, 5, 1e-14)):
        mass = uniform(400, 1600)
        add("squark", {N1: mass / 3, squark: mass}, {squark: {(quark, N1): 1.0}}, {(-squark, squark): 30.0}, {squark: gamma})
    for _ in range(3):
        mass, gamma = uniform(400, 1500), width(-18, -16.3)
        squarks = {TOP: 4, UP: 2, BOTTOM: 5, DOWN: 1}
        add(
            "four squarks", {N1: 10.0, **{squark: mass + 5.0 * quark for squark, quark in squarks.items()}},
            {squark: {(quark, N1): 1.0} for squark, quark in squarks.items()},
            {(-TOP, TOP): 30.0, (-UP, UP): 20.0, (-BOTTOM, BOTTOM): 20.0, (-DOWN, DOWN): 20.0},
            {squark: gamma * uniform(0.5, 2.0) for squark in squarks},
        )  # fmt: skip
    for _ in range(2):
        mass = uniform(1000, 2500)
        add(
            "displaced squarks", {N1: uniform(1, 10), DOWN: mass, UP: mass + 10}, {DOWN: {(1, N1): 1.0}, UP: {(2, N1): 1.0}},
            {(-DOWN, DOWN): 5.0, (-UP, UP): 5.0, (-UP, DOWN): 5.0}, {DOWN: width(-17.6, -15.3), UP: width(-17.6, -15.3)},
        )  # fmt: skip
    for gamma in (0.0, 1.1e-17, 0.0, 1.1e-16):
        stau = uniform(120, 500)
        middle = stau + uniform(15, 300)
        heavy = middle + uniform(100, 800)
        add(
            "cascade to stau pairs", {N1: 20, TAU: stau, N2: middle, C1: middle, GLUINO: heavy},
            {TAU: {(15, N1): 1.0}, N2: {(15, -TAU): 0.5, (-15, TAU): 0.5}, C1: {(-TAU, 16): 1.0},
             GLUINO: {(-1, 1, N2): 0.5, (1, -2, C1): 0.25, (-1, 2, -C1): 0.25}},
            {(GLUINO, GLUINO): 100.0, (-TAU, TAU): 50.0, (N2, C1): 200.0, (-C1, N2): 100.0, (-C1, C1): 100.0}, {TAU: gamma},
        )  # fmt: skip
        add(
            "stau and selectron", {N1: 20, TAU: stau, E: middle, C1: middle + 50, N2: middle + 60, DOWN: heavy},
            {TAU: {(15, N1): 1.0}, E: {(11, -15, TAU): 0.5, (11, 15, -TAU): 0.5}, C1: {(-TAU, 16): 1.0},
             N2: {(24, -C1): 0.5, (-24, C1): 0.5}, DOWN: {(1, N2): 0.8, (1, N1): 0.2}},
            {(-TAU, E): 100.0, (-E, TAU): 100.0, (-E, E): 100.0, (C1, N2): 100.0, (-DOWN, DOWN): 100.0, (N2, DOWN): 100.0, (C1, TAU): 50.0},
            {TAU: gamma, N2: 1.0 if gamma else 1e-15},
        )  # fmt: skip
    for _ in range(2):
        mass = uniform(110, 550)
        add(
            "soft stau", {N1: mass - 0.7, TAU: mass, NU_TAU: mass - 0.3}, {TAU: {(16, -211, N1): 1.0}, NU_TAU: {(16, N1): 1.0}},
            {(-TAU, TAU): 200.0, (-NU_TAU, TAU): 200.0, (-TAU, NU_TAU): 200.0}, {TAU: width(-16, -13.3)},
        )  # fmt: skip
    for _ in range(3):
        mass = uniform(150, 800)
        add(
            "long-lived neutralino", {N1: uniform(1, mass - 100), N2: mass, C1: mass, DOWN: mass + uniform(50, 900)},
            {N2: {(23, N1): 0.5, (-1, 1, N1): 0.5}, DOWN: {(1, N2): 0.7, (1, N1): 0.3}, C1: {(24, N1): 1.0}},
            {(-DOWN, DOWN): 100.0, (N2, C1): 100.0, (-C1, N2): 50.0}, {N2: width(-15, -11)},
        )  # fmt: skip
    for number in range(4):
        mass = uniform(900, 2000)
        three = {(1, 1, 2): 0.5, (-2, -1, -1): 0.5}
        prompt: dict[tuple[int, ...], float] = {(-1, 1, N2): 1.0}
        add(
            "R-parity violation", {N1: 1.0, N2: uniform(200, mass - 80), GLUINO: mass},
            {N2: three, GLUINO: three if number % 2 else prompt},
            {(GLUINO, GLUINO): 30.0, (N2, N2): 30.0}, {N2: width(-16, -13), GLUINO: width(-16, -13) if number % 2 else 1.0},
        )  # fmt: skip
    for _ in range(2):
        mass = uniform(600, 1600)
        add("leptoquark", {N1: 1.0, UP: mass}, {UP: {(-13, 1): 0.7, (2, N1): 0.3}}, {(-UP, UP): 30.0}, {UP: width(-16, -12.5)})
    mass = uniform(800, 1900)
    add(
        "stop to two jets", {N1: 1.0, TOP: 600.0, GLUINO: mass}, {TOP: {(-5, -1): 1.0}, GLUINO: {(6, -TOP): 0.5, (-6, TOP): 0.5}},
        {(GLUINO, GLUINO): 30.0, (-TOP, TOP): 30.0}, {},
    )  # fmt: skip
    for _ in range(3):
        mass = uniform(300, 900)
        add("slow stop", {N1: uniform(1, mass - 200), TOP: mass}, {TOP: {(6, N1): 1.0}}, {(-TOP, TOP): 50.0}, {TOP: width(-13.5, -11)})
        add(
            "slow electroweak states", {N1: uniform(1, mass - 120), C1: mass, N2: mass + uniform(-5, 20)},
            {C1: {(24, N1): 1.0}, N2: {(23, N1): 0.5, (25, N1): 0.5}}, {(-C1, C1): 300.0, (N2, C1): 400.0, (-C1, N2): 200.0},
            {C1: width(-14, -10), N2: width(-14, -10)},
        )  # fmt: skip
    for gamma in (1.0, 1e-16):
        mass = uniform(800, 1800)
        add(
            "gluino to charginos", {N1: 100, C1: 100.3, GLUINO: mass},
            {C1: {(211, N1): 1.0}, GLUINO: {(-1, 1, N1): 0.3, (1, -2, C1): 0.35, (-1, 2, -C1): 0.35}},
            {(GLUINO, GLUINO): 50.0, (-C1, C1): 2000.0}, {C1: width(-16, -14), GLUINO: gamma},
        )  # fmt: skip
    for gamma in (0.0, 1.1e-17):
        stau = uniform(120, 400)
        add(
            "squarks to stau pairs", {N1: 20, TAU: stau, N2: stau + 60, DOWN: stau + 500, C1: stau + 500},
            {TAU: {(15, N1): 1.0}, N2: {(15, -TAU): 0.5, (-15, TAU): 0.5}, DOWN: {(1, N2): 1.0}, C1: {(-TAU, 16): 1.0}},
            {(-DOWN, DOWN): 100.0, (N2, DOWN): 100.0, (-DOWN, C1): 100.0, (N2, N2): 20.0}, {TAU: gamma},
        )  # fmt: skip
    for gamma in (0.0, 1.3e-18, 1.1e-16):
        add(f"heavy chargino of width {gamma:g}", {N1: 1049.8, C1: 1050.0}, {C1: {(211, N1): 1.0}}, charginos, {C1: gamma})
    return models.models


def predict(models: list[Model], source: Path, scratch: Path) -> list[Model]:
    """The models with the predictions of SModelS: [folder, data set, txnames, σ, observed, expected limit (fb)]."""
    from smodels.base.model import Model as SModel
    from smodels.base.physicsUnits import GeV, fb
    from smodels.decomposition import decomposer
    from smodels.experiment.databaseObj import Database
    from smodels.matching.theoryPrediction import theoryPredictionsFor
    from smodels.share.models.mssm import BSMList
    from smodels.share.models.SMparticles import SMList

    def number(value: Any) -> float | None:
        return None if value is None else float(f"{value.asNumber(fb):.12g}")

    text = scratch / "text"
    for folder in FOLDERS:
        shutil.copytree(source / folder, text / folder)
    shutil.copyfile(source / "version", text / "version")
    (text / "databaseParticles.py").write_text(LABELS)
    database = Database(str(text))
    for model in models:
        write_slha(model, scratch / "model.slha")
        theory = SModel(BSMparticles=BSMList, SMparticles=SMList)
        theory.updateParticles(str(scratch / "model.slha"), ignorePromptQNumbers=[])
        topologies = decomposer.decompose(theory, 0.02 * fb, massCompress=True, invisibleCompress=True, minmassgap=10 * GeV)
        model["num_topologies"] = len(topologies.getSMSList())
        model["predictions"] = sorted(
            (
                [
                    os.path.relpath(Path(p.expResult.globalInfo.path).parent, text),
                    p.dataset.dataInfo.dataId,
                    sorted({str(txname) for txname in p.txnames}),
                    float(f"{p.xsection.asNumber(fb):.12g}"),
                    number(p.getUpperLimit()),
                    number(p.getUpperLimit(expected=True)),
                ]
                for p in theoryPredictionsFor(database, topologies, useBestDataset=False, combinedResults=False) or []
            ),
            key=lambda row: (row[0], str(row[1]), row[2], -row[3]),
        )
    return models


def main() -> None:
    """Write the file: one model per line."""
    source, output = Path(sys.argv[1]), Path(sys.argv[2])
    os.environ |= PINNED
    with tempfile.TemporaryDirectory() as scratch:
        models = predict(build_models(), source, Path(scratch))
    about = {
        "made_by": "tests/validation/make_long_lived.py",
        "versions": {name: version(name) for name in ("smodels", "numpy", "scipy")},
        "kernel": os.environ["OPENBLAS_CORETYPE"],
        "settings": "sigma cut 0.02 fb, mass gap 10 GeV, both compressions, every data set, no combination",
        "predictions": ["folder", "data set", "txnames", "xsec_fb", "ul_obs_fb", "ul_exp_fb"],
        "folders": FOLDERS,
    }
    rows = ",\n".join(json.dumps(model) for model in models)
    output.write_text(f'{{"about": {json.dumps(about)},\n"models": [\n{rows}\n]}}\n')
    print(f"{len(models)} models, {sum(len(model['predictions']) for model in models)} predictions")
    if any(math.isnan(row[3]) for model in models for row in model["predictions"]):
        raise SystemExit("a cross section is not a number")


if __name__ == "__main__":
    main()
