"""SModelS 3.0.3 on a list of models: fresh reference points, and what they cost.

Runs in an environment of its own, which `deploy/reference.sh` makes; it needs nothing of this project, and this project nothing of it.
From the root of the project:

    PEER -m benchmarks.smodels_peer prepare DATABASE COPY
    PEER -m benchmarks.smodels_peer predict COPY MODELS.json OUTPUT.json [--combine all|covariance|none] [--timeout 60]
    PEER -m benchmarks.smodels_peer time COPY MODELS.json [--combine all|covariance|none] [--timeout 60]

DATABASE is the unpacked text database 3.0.0. `prepare` copies it, adds the particle labels its releases lack, drops workspaces that
are named but missing, and lets SModelS pickle it (8 minutes once). MODELS holds plain JSON models (docs/validation.md). `predict`
writes what `benchmarks.agreement` compares with: per model number `n_topologies`, `topologies`, `predictions`, and `seconds` (CPU
time of decomposition, predictions, statistics). `time` prints JSON, per model the CPU seconds of the passes that
the reference program makes. Settings are those of the walk: σ cut 0.02 fb, mass gap 10 GeV, both compressions, every data set.
Linear algebra is pinned as the importer does, so that triangulations can be compared point by point.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

LABELS = """
from smodels.base.model import Model
from smodels.base.particle import MultiParticle, Particle
from smodels.experiment.defaultFinalStates import finalStates as default
from smodels.share.models.SMparticles import b, c, g, q

up = Particle(label="RHadronU+", isSM=False, eCharge=2.0 / 3.0, colordim=3)
down = Particle(label="RHadronD-", isSM=False, eCharge=-1.0 / 3.0, colordim=3)
both_up, both_down = [up, up.chargeConjugate()], [down, down.chargeConjugate()]
added = [
    MultiParticle("RHadronU", both_up),
    MultiParticle("RHadronD", both_down),
    MultiParticle("RHadronQ", both_up + both_down),
    Particle(label="Zprime", isSM=False, eCharge=0, colordim=1, spin=1),
    Particle(label="H0", isSM=False, eCharge=0, colordim=1, spin=0),
]
jetb = MultiParticle("jetb", [q, c, g, b])
for particle in [*added, jetb]:
    particle._static = True
kept = [particle for particle in default.BSMparticles if not particle.label.startswith("RHadron") or particle.label == "RHadronG"]
finalStates = Model(SMparticles=[*default.SMparticles, jetb], BSMparticles=[*kept, *added], label="labels of the text database")
"""
"""The labels of the text database, whose own file is not part of every copy."""

PINNED = {"OPENBLAS_CORETYPE": "SKYLAKEX", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Read when numpy is loaded."""
SIGMA_CUT_FB = 0.02
MASS_GAP_GEV = 10.0
DIGITS = 12

FIT_FAILURES = (ValueError, ArithmeticError, RuntimeError, AssertionError, TypeError, LookupError)
"""What the peer's fits and root searches raise."""

Document = Mapping[str, Any]


class OutOfTimeError(BaseException):
    """A statistical fit took too long; no Exception, since the peer catches every one of those and goes on."""


def copy_database(source: Path, target: Path) -> None:
    """Copy a text database so that SModelS can load it: labels added, missing workspaces not asked for."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.pcl"), dirs_exist_ok=True)
    labels = target / "databaseParticles.py"
    if not labels.exists():
        labels.write_text(LABELS)
    for path in target.rglob("globalInfo.txt"):
        lines = path.read_text().splitlines()
        kept = [line for block in _blocks(lines) if not _names_missing_file(block, path.parent) for line in block]
        if len(kept) < len(lines):
            print(f"{path.parent.name}: workspaces that are not there are left out")
            path.write_text("\n".join(kept) + "\n")


def _blocks(lines: Iterable[str]) -> list[list[str]]:
    """A tag with its continuation lines, which begin with a blank or a closing brace."""
    blocks: list[list[str]] = []
    for line in lines:
        if blocks and line.startswith((" ", "\t", "}")):
            blocks[-1].append(line)
        else:
            blocks.append([line])
    return blocks


def _names_missing_file(block: list[str], folder: Path) -> bool:
    text = "\n".join(block)
    names = re.findall(r"['\"]([^'\"]+\.json)['\"]", text)
    return text.startswith("jsonFiles") and not all((folder / name).exists() for name in names)


def write_slha(model: Document, path: Path) -> None:
    """Write a plain JSON model for SModelS; cross sections get order 2, states with decays are prompt unless they have a width."""
    widths = model.get("widths_gev", {})
    lines = ["BLOCK MASS", *(f"  {pid}  {mass!r}" for pid, mass in model["masses"].items())]
    for pid in model["masses"]:
        channels = model["decays"].get(pid, {})
        lines.append(f"DECAY {pid} {widths.get(pid, 1.0 if channels else 0.0)!r}")
        lines += [f"  {br!r}  {key.count(',') + 1}  {key.replace(',', '  ')}" for key, br in channels.items()]
    for sqrts, pairs in model["xsecs_fb"].items():
        for key, xsec in pairs.items():
            lines += [
                f"\nXSECTION  {1000 * int(sqrts):.2E}  2212 2212  2  {key.replace(',', ' ')}",
                f"  0  2  0  0  0  0  {xsec / 1000:.15e}  x",
            ]
    path.write_text("\n".join(lines) + "\n")


def decompose(model: Document, scratch: Path) -> Any:
    """Topologies of a model as SModelS finds them."""
    from smodels.base.model import Model
    from smodels.base.physicsUnits import GeV, fb
    from smodels.decomposition import decomposer
    from smodels.share.models.mssm import BSMList
    from smodels.share.models.SMparticles import SMList

    path = scratch / "model.slha"
    write_slha(model, path)
    theory = Model(BSMparticles=BSMList, SMparticles=SMList)
    theory.updateParticles(str(path), ignorePromptQNumbers=[])
    return decomposer.decompose(theory, SIGMA_CUT_FB * fb, massCompress=True, invisibleCompress=True, minmassgap=MASS_GAP_GEV * GeV)


def _number(value: Any, unit: Any = None) -> float | None:
    if value is None:
        return None
    return float(f"{float(value if unit is None else value.asNumber(unit)):.{DIGITS}g}")


def _row(prediction: Any, kind: str) -> dict[str, Any]:
    """One prediction; what a fit does not yield is null, with the reasons under `failures`."""
    from smodels.base.physicsUnits import fb

    failures: dict[str, str] = {}

    def attempt(name: str, call: Callable[[], Any], unit: Any = None) -> float | None:
        try:
            return _number(call(), unit)
        except FIT_FAILURES as failure:
            failures[name] = f"{type(failure).__name__}: {failure}"
            return None

    row: dict[str, Any] = {
        "analysis": prediction.expResult.globalInfo.id,
        "dataset": prediction.dataset.getID(),
        "type": kind,
        "txnames": sorted({str(txname) for txname in prediction.txnames}),
        "xsec_fb": _number(prediction.xsection, fb),
    }
    for name, expected in (("obs", False), ("exp", True)):
        row[f"ul_{name}_fb"] = attempt(f"ul_{name}_fb", partial(prediction.getUpperLimit, expected=expected), fb)
        for mu in (0, 1):
            key = f"nll{mu}_{name}"
            nll = partial(prediction.likelihood, mu=float(mu), expected=expected, return_nll=True)
            row[key] = None if kind == "upperLimit" else attempt(key, nll)
    return row | ({"failures": failures} if failures else {})


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise OutOfTimeError in the block after a while."""

    def stop(*_: object) -> None:
        raise OutOfTimeError

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # and again, where a callback swallowed it
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)


def _combined_rows(predictions: Iterable[Any], timeout_s: float) -> list[dict[str, Any]]:
    """One row per analysis with a statistical model that sees signal in more than one region."""
    from smodels.base.physicsUnits import fb
    from smodels.matching.theoryPrediction import TheoryPredictionList, _getCombinedResultFor

    by_result: dict[int, list[Any]] = {}
    for prediction in predictions:
        by_result.setdefault(id(prediction.expResult), []).append(prediction)
    rows = []
    for members in by_result.values():
        result = members[0].expResult
        if len(members) < 2 or not (result.hasCovarianceMatrix() or result.hasJsonFile()):
            continue
        combined = _getCombinedResultFor([TheoryPredictionList([member]) for member in members], result)
        if combined is None:
            continue
        combined.expResult = result
        try:
            with time_limit(timeout_s):
                rows.append(_row(combined, "combined"))
        except OutOfTimeError:
            row = {"analysis": result.globalInfo.id, "dataset": "(combined)", "type": "combined", "timeout_s": timeout_s}
            rows.append(row | {"txnames": sorted({str(t) for t in combined.txnames}), "xsec_fb": _number(combined.xsection, fb)})
    return rows


def _topologies(topologies: Any) -> list[dict[str, Any]]:
    from smodels.base.physicsUnits import GeV, TeV, fb

    return [
        {
            "sms": str(sms),
            "weight_fb": {f"{x.info.sqrts.asNumber(TeV):.0f}": _number(x.value, fb) for x in sms.weightList},
            "masses": [None if node.isSM and node.label == "PV" else _number(node.mass, GeV) for node in sms.nodes],
        }
        for sms in topologies.getSMSList()
    ]


def predict(model: Document, database: Any, scratch: Path, timeout_s: float) -> dict[str, Any]:
    """Everything SModelS says of one model, in the layout of the reference predictions."""
    from smodels.matching.theoryPrediction import theoryPredictionsFor

    clock = [time.process_time()]
    topologies = decompose(model, scratch)
    clock.append(time.process_time())
    predictions = list(theoryPredictionsFor(database, topologies, useBestDataset=False, combinedResults=False) or [])
    clock.append(time.process_time())
    rows = [_row(prediction, prediction.dataType()) for prediction in predictions]
    rows += _combined_rows(predictions, timeout_s)
    clock.append(time.process_time())
    return {
        "n_topologies": len(topologies.getSMSList()),
        "topologies": _topologies(topologies),
        "predictions": rows,
        "seconds": [round(after - before, 4) for before, after in itertools.pairwise(clock)],
    }


def measure(model: Document, database: Any, scratch: Path, timeout_s: float) -> dict[str, float | bool]:
    """CPU seconds of three passes, each with its decomposition; a pass that is stopped or raises counts as long as it took.

    `predictions_s`: every data set of every result. `combined_s`: every result, combined where it has a statistical model, with the
    limits that SModelS then computes. `critic_s`: the best data set or combination of every result, as the reference critic asks.
    """
    from smodels.matching.theoryPrediction import theoryPredictionsFor

    found: dict[str, float | bool] = {"is_finished": True}
    for name, combines, best_only in (("predictions_s", False, False), ("combined_s", True, False), ("critic_s", True, True)):
        start = time.process_time()
        try:
            with time_limit(timeout_s):
                theoryPredictionsFor(database, decompose(model, scratch), useBestDataset=best_only, combinedResults=combines)
        except (OutOfTimeError, *FIT_FAILURES):
            found["is_finished"] = False
        found[name] = time.process_time() - start
    return found


def _load(path: Path, combine: str) -> Any:
    """The database; results whose statistical models are not wanted lose them."""
    from smodels.experiment.databaseObj import Database

    database = Database(str(path), subpickle=False)
    for result in database.expResultList:
        for name, is_wanted in (("jsonFiles", combine == "all"), ("covariance", combine != "none")):
            if not is_wanted and hasattr(result.globalInfo, name):
                delattr(result.globalInfo, name)
    return database


def _read(path: Path) -> list[Document]:
    models = json.loads(path.read_text())
    return models if isinstance(models, list) else [models]


def main() -> None:
    """Prepare the database, write predictions, or print times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    prepare = commands.add_parser("prepare")
    prepare.add_argument("source", type=Path)
    prepare.add_argument("database", type=Path)
    for name in ("predict", "time"):
        command = commands.add_parser(name)
        command.add_argument("database", type=Path)
        command.add_argument("models", type=Path)
        if name == "predict":
            command.add_argument("output", type=Path)
        command.add_argument("--combine", choices=("all", "covariance", "none"), default="all", help="statistical models to use")
        command.add_argument("--timeout", type=float, default=60.0, help="per combined result, or per pass that is timed [s]")
    arguments = parser.parse_args()
    os.environ |= PINNED
    if arguments.command == "prepare":
        copy_database(arguments.source, arguments.database)
        print(_load(arguments.database, "all"))
        return
    database = _load(arguments.database, arguments.combine)
    models = _read(arguments.models)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.command == "time":
            decompose(models[0], Path(folder))  # imports
            json.dump([measure(model, database, Path(folder), arguments.timeout) for model in models], sys.stdout)
            return
        answers = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}  # goes on where it stopped
        for number, model in enumerate(models):
            if str(number) in answers:
                continue
            answers[str(number)] = predict(model, database, Path(folder), arguments.timeout)
            print(f"model {number}: {len(answers[str(number)]['predictions'])} predictions", file=sys.stderr)
            arguments.output.write_text(json.dumps(answers))


if __name__ == "__main__":
    main()
