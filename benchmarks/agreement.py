"""Agreement with reference predictions, prediction by prediction.

    python -m benchmarks.agreement MODELS.json REFERENCE.json [--results STORE]

MODELS is a list of models in plain JSON, REFERENCE what SModelS 3.0.3 says of them (per model number: `predictions` with
analysis, dataset, type, txnames, xsec_fb, ul_obs_fb, ul_exp_fb, nll0_obs, nll1_obs, nll0_exp, nll1_exp). Ours are made with
`--conventions smodels`. Prints a table of counts and largest differences per quantity.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Key = tuple[str, str, str | None, tuple[str, ...]]
LIMITS = ("xsec_fb", "ul_obs_fb", "ul_exp_fb")
MAX_R_FOR_NLL = 10.0
"""The reference's fits do not converge for strongly excluded combined signals; nll(1) is not compared there."""


@dataclass
class Quantity:
    """Differences of one quantity: relative for cross sections and limits, absolute/max(1, |ref|) for nll differences."""

    differences: list[tuple[float, str]] = field(default_factory=list)
    num_undefined_on_one_side: int = 0

    def add(self, ours: float | None, reference: float | None, where: str, *, is_relative: bool) -> None:
        """Compare two values; None stands for undefined."""
        if ours is None or reference is None:
            self.num_undefined_on_one_side += ours is not reference
            return
        scale = abs(reference) if is_relative else max(1.0, abs(reference))
        self.differences.append((abs(ours - reference) / scale if scale > 0.0 else abs(ours - reference), where))

    def fraction_within(self, bar: float) -> float:
        """Fraction of the compared values that differ by at most the bar."""
        return sum(value <= bar for value, _ in self.differences) / len(self.differences) if self.differences else math.nan

    @property
    def worst(self) -> tuple[float, str]:
        """Largest difference and where it is."""
        return max(self.differences, default=(0.0, "–"))


@dataclass
class Agreement:
    """What a comparison found.

    Attributes:
        num_models: models compared.
        num_matched: predictions found on both sides.
        missing: predictions of the reference that ours lack.
        extra: predictions that only ours have.
        unfinished: combined predictions whose fit the reference did not finish.
        quantities: differences per kind of prediction and quantity.
    """

    num_models: int = 0
    num_matched: int = 0
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    quantities: dict[str, Quantity] = field(default_factory=lambda: defaultdict(Quantity))


def _by_key(rows: Iterable[Mapping[str, Any]]) -> dict[Key, list[Mapping[str, Any]]]:
    found: dict[Key, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        txnames = () if row["type"] == "combined" else tuple(sorted(row["txnames"]))
        found[row["analysis"], row["type"], row["dataset"], txnames].append(row)
    return {key: sorted(entries, key=lambda row: float(row["xsec_fb"])) for key, entries in found.items()}


def _is_comparable(row: Mapping[str, Any], statistical_models: frozenset[str], unfinished: frozenset[str]) -> bool:
    """Combined predictions count only where the statistical model exists on our side and the reference's fit finished."""
    return row["type"] != "combined" or (row["analysis"] in statistical_models and row["analysis"] not in unfinished)


def _unfinished(rows: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Analyses whose combined fit the reference did not finish for a model."""
    return frozenset(row["analysis"] for row in rows if row["type"] == "combined" and ("timeout_s" in row or row.get("nll0_obs") is None))


def compare(
    answers: Mapping[str, Mapping[str, Any]], reference: Mapping[str, Mapping[str, Any]], statistical_models: frozenset[str]
) -> Agreement:
    """Compare predictions model by model.

    Args:
        answers: ours per model number, with a list `predictions`.
        reference: the reference, same layout.
        statistical_models: analyses whose combined likelihood ours has.
    """
    agreement = Agreement()
    for number, ours in answers.items():
        if number not in reference:
            continue  # still being made
        agreement.num_models += 1
        unfinished = _unfinished(reference[number]["predictions"])
        agreement.unfinished += [f"model {number}: {analysis}" for analysis in sorted(unfinished)]
        found = _by_key(row for row in ours["predictions"] if _is_comparable(row, statistical_models, unfinished))
        wanted = _by_key(row for row in reference[number]["predictions"] if _is_comparable(row, statistical_models, unfinished))
        for key in sorted(found.keys() | wanted.keys(), key=str):
            mine, theirs = found.get(key, []), wanted.get(key, [])
            where = f"model {number}: {key[0]} {key[2] or ''} {','.join(key[3])}"
            agreement.missing += [where] * (len(theirs) - len(mine))
            agreement.extra += [where] * (len(mine) - len(theirs))
            if len(mine) == len(theirs):
                for one, other in zip(mine, theirs, strict=True):
                    agreement.num_matched += 1
                    _compare_rows(agreement, key[1], one, other, where)
    return agreement


def _compare_rows(agreement: Agreement, kind: str, ours: Mapping[str, Any], reference: Mapping[str, Any], where: str) -> None:
    for name in LIMITS:
        agreement.quantities[f"{kind} {name}"].add(ours[name], reference[name], where, is_relative=True)
    if kind == "upperLimit":
        return
    limit = reference["ul_obs_fb"]
    if kind == "combined" and (not limit or reference["xsec_fb"] / limit > MAX_R_FOR_NLL):
        return
    for data in ("obs", "exp"):
        values = [(row[f"nll0_{data}"], row[f"nll1_{data}"]) for row in (ours, reference)]
        mine, theirs = (None if None in pair else pair[0] - pair[1] for pair in values)
        agreement.quantities[f"{kind} nll0-nll1 {data}"].add(mine, theirs, where, is_relative=False)


def predict_all(models: Path, results: str | None) -> tuple[dict[str, dict[str, Any]], frozenset[str]]:
    """Our predictions under the reference's conventions, and the analyses with a combined likelihood."""
    from builder.model_io import read_models
    from inference.analysis_models.registry import find_analysis_model
    from inference.predictions import Predictor
    from inference.rows import prediction_rows
    from inference.settings import Conventions, PredictionSettings
    from services.stores import open_results

    store = open_results(results)
    predictor = Predictor(store, PredictionSettings(conventions=Conventions.SMODELS))
    answers = {
        str(number): {"predictions": prediction_rows(predictor, predictor.predict(model.spectrum()))}
        for number, model in enumerate(read_models(models))
    }
    return answers, frozenset(
        record.analysis_id for record in store.results if find_analysis_model(store, record.index, Conventions.SMODELS) is not None
    )


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--results", default=None, help="compiled store; default: the imported one")
    arguments = parser.parse_args()
    answers, models = predict_all(arguments.models, arguments.results)
    agreement = compare(answers, json.loads(arguments.reference.read_text()), models)
    print(f"{agreement.num_models} models: {agreement.num_matched} predictions on both sides,", end=" ")
    print(f"{len(agreement.missing)} missing, {len(agreement.extra)} extra, {len(agreement.unfinished)} combined fits unfinished there")
    for text in (*agreement.missing[:10], *agreement.extra[:10]):
        print("  ", text)
    print(f"{'quantity':38} {'n':>6} {'≤1e-6':>8} {'≤1e-4':>8} {'≤5e-3':>8} {'worst':>9}  where")
    for name, quantity in sorted(agreement.quantities.items()):
        worst, where = quantity.worst
        fractions = " ".join(f"{quantity.fraction_within(bar):8.2%}" for bar in (1e-6, 1e-4, 5e-3))
        undefined = f"  ({quantity.num_undefined_on_one_side} undefined on one side)" if quantity.num_undefined_on_one_side else ""
        print(f"{name:38} {len(quantity.differences):6d} {fractions} {worst:9.2e}  {where}{undefined}")


if __name__ == "__main__":
    main()
