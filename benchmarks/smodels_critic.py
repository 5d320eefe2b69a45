"""The combined-likelihood critic against SModelS 3.0.3: limits of the same combinations of analyses.

    python -m benchmarks.smodels_critic export MODELS.json CHOICE.json [--results STORE]
    PEER -m benchmarks.smodels_critic limits COPY MODELS.json CHOICE.json OUTPUT.json

`export` writes which likelihoods make the most sensitive combination of each model (full likelihoods left out, conventions of SModelS);
`limits` asks SModelS, in the environment and with the database of `benchmarks.smodels_peer`, for observed and expected r = 1/μ_UL of these
combinations of two analyses or more. tests/validation/test_likelihood_critic.py compares; its numbers come from here.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any


def export(models: Path, target: Path, results: str | None) -> None:
    """Write the members of every model's combination."""
    from builder.evaluate import EvaluationSettings, Evaluator
    from builder.model_io import read_models
    from critics.likelihood import LikelihoodContext, find_most_sensitive, select_factors
    from inference.settings import Conventions, PredictionSettings
    from services.stores import open_results

    store = open_results(results)
    smodels = Conventions.SMODELS
    evaluator = Evaluator(store, EvaluationSettings(predictions=PredictionSettings(conventions=smodels)))
    context = LikelihoodContext(evaluator.combinability.is_combinable, smodels, full_likelihoods=False)
    choices: dict[str, list[list[str | None]]] = {}
    for number, model in enumerate(read_models(models)):
        predictions = evaluator.predictor.predict(model.spectrum())
        factors = select_factors(predictions, store, evaluator.settings.critics, context).factors
        members = find_most_sensitive(factors, context.is_combinable) if factors else ()
        if len(members) > 1:
            choices[str(number)] = [[m.analysis_id, store.dataset_ids[m.dataset] if m.dataset >= 0 else None] for m in members]
    target.write_text(json.dumps(choices, indent=1))


def limits(database_path: Path, models_path: Path, choice: Path, target: Path) -> None:
    """Write SModelS's r values of the chosen combinations."""
    from benchmarks import smodels_peer as peer

    os.environ |= peer.PINNED
    from smodels.matching.theoryPrediction import (
        TheoryPredictionList,
        TheoryPredictionsCombiner,
        _getCombinedResultFor,
        theoryPredictionsFor,
    )

    database = peer._load(database_path, "covariance")
    models, choices = json.loads(models_path.read_text()), json.loads(choice.read_text())
    answers: dict[str, Any] = json.loads(target.read_text()) if target.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        for number, members in choices.items():
            if number in answers:
                continue
            topologies = peer.decompose(models[int(number)], Path(folder))
            regions: dict[str, list[Any]] = {}
            for prediction in theoryPredictionsFor(database, topologies, useBestDataset=False, combinedResults=False) or []:
                if prediction.dataType() == "efficiencyMap":
                    regions.setdefault(prediction.expResult.globalInfo.id, []).append(prediction)
            chosen = []
            for analysis_id, dataset_id in members:
                found = regions.get(analysis_id, [])
                if dataset_id is None:
                    whole = _getCombinedResultFor([TheoryPredictionList([one]) for one in found], found[0].expResult) if found else None
                    chosen.append(whole)
                else:
                    chosen.append(next((one for one in found if one.dataset.getID() == dataset_id), None))
            if any(one is None for one in chosen):
                print(f"model {number}: SModelS lacks a member", file=sys.stderr)
                continue
            combined = TheoryPredictionsCombiner(chosen)
            r_obs, r_exp = combined.getRValue(), combined.getRValue(expected=True)
            answers[number] = {"members": members, "r_obs": float(f"{r_obs:.6g}"), "r_exp": float(f"{r_exp:.6g}")}
            target.write_text(json.dumps(answers, indent=1))


def main() -> None:
    """Run one of the two steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    ours = commands.add_parser("export")
    ours.add_argument("models", type=Path)
    ours.add_argument("choice", type=Path)
    ours.add_argument("--results", default=None)
    theirs = commands.add_parser("limits")
    for name in ("database", "models", "choice", "output"):
        theirs.add_argument(name, type=Path)
    arguments = parser.parse_args()
    if arguments.command == "export":
        export(arguments.models, arguments.choice, arguments.results)
    else:
        limits(arguments.database, arguments.models, arguments.choice, arguments.output)


if __name__ == "__main__":
    main()
