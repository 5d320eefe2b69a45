"""Predictions and topologies as plain rows, for reports and JSON.

The layout is the one of the reference predictions made with SModelS 3.0.3, so that both can be laid side by side.
"""

from __future__ import annotations

import math
from typing import Any

from inference.analysis_models.protocol import AnalysisLikelihood
from inference.analysis_models.registry import find_analysis_model
from inference.branches import Branch, State
from inference.likelihoods.protocol import Likelihood
from inference.likelihoods.single_region import SingleRegionLikelihood
from inference.limits import find_upper_limit
from inference.predictions import Predictor
from inference.topologies import TopologyList
from inference.types import DataKind, PredictionKind, Predictions

KIND_NAMES = {PredictionKind.UPPER_LIMIT: "upperLimit", PredictionKind.EFFICIENCY_MAP: "efficiencyMap", PredictionKind.COMBINED: "combined"}


def topology_rows(topologies: TopologyList) -> list[dict[str, Any]]:
    """One row per topology: diagram, weight [fb] per √s, masses [GeV] of its BSM states, particles."""
    return [
        {
            "sms": describe_branches(topology.branches),
            "weight_fb": {"8": topology.weight_fb[0], "13": topology.weight_fb[1]},
            "masses_gev": [state.mass for state in topology.states],
            "pids": sorted(topologies.pids_of(topology.pids)),
        }
        for topology in topologies.topologies
    ]


def describe_branches(branches: tuple[Branch, ...]) -> str:
    """A topology in bracket-like words, e.g. "(800 > t+ 100) (800 > t- 100)" with masses [GeV] for BSM states."""
    return " ".join(_describe(branch) for branch in branches)


def _name(state: State) -> str:
    return f"{state.mass:g}"


def _describe(branch: Branch) -> str:
    if branch.is_leaf:
        return _name(branch.state)
    daughters = [*branch.sm, *(_describe(daughter) for daughter in branch.daughters)]
    return f"({_name(branch.state)} > {' '.join(daughters)})"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _nlls(likelihoods: tuple[Likelihood | None, Likelihood | None]) -> dict[str, float | None]:
    row: dict[str, float | None] = {}
    for name, likelihood in zip(("obs", "exp"), likelihoods, strict=True):
        for mu in (0, 1):
            value = math.nan if likelihood is None else likelihood.nll(float(mu))
            row[f"nll{mu}_{name}"] = value if math.isfinite(value) else None
    return row


def prediction_rows(predictor: Predictor, predictions: Predictions) -> list[dict[str, Any]]:
    """One row per prediction: cross section and limits [fb], -ln L at μ = 0 and 1 for observed and expected data.

    Args:
        predictor: made the predictions; its store names things and its conventions hold for the likelihoods.
        predictions: of one model.
    """
    return [_prediction_row(predictor, predictions, i) for i in range(predictions.result.size)]


def _prediction_row(predictor: Predictor, predictions: Predictions, i: int) -> dict[str, Any]:
    store = predictor.store
    record = store.results[int(predictions.result[i])]
    kind = PredictionKind(int(predictions.kind[i]))
    row: dict[str, Any] = {
        "analysis": record.analysis_id,
        "dataset": "(combined)" if kind is PredictionKind.COMBINED else store.dataset_ids[int(predictions.dataset[i])],
        "type": KIND_NAMES[kind],
        "txnames": sorted({store.map_txnames[number] for number in predictions.map_ids[i]}),
        "xsec_fb": float(predictions.xsec_fb[i]),
        "ul_obs_fb": _number(float(predictions.ul_obs_fb[i])),
        "ul_exp_fb": _number(float(predictions.ul_exp_fb[i])),
    }
    observed, expected = (_likelihood(predictor, predictions, i, data) for data in (DataKind.OBSERVED, DataKind.APRIORI))
    row |= _nlls((observed, expected))
    if isinstance(observed, AnalysisLikelihood) and isinstance(expected, AnalysisLikelihood) and kind is PredictionKind.COMBINED:
        row["ul_obs_fb"], row["ul_exp_fb"] = (
            _number(find_upper_limit(likelihood).mu_ul * row["xsec_fb"]) for likelihood in (observed, expected)
        )
    row["condition_violation"] = float(predictions.condition_violation[i])
    row["is_approximate"] = record.is_approximate
    return row


def _likelihood(predictor: Predictor, predictions: Predictions, i: int, data: DataKind) -> Likelihood | None:
    """Likelihood of one prediction; None where it has none of its own."""
    store, conventions = predictor.store, predictor.settings.conventions
    result, dataset = int(predictions.result[i]), int(predictions.dataset[i])
    record = store.results[result]
    if predictions.kind[i] == PredictionKind.EFFICIENCY_MAP:
        signal = float(predictions.xsec_fb[i]) * record.lumi_ifb
        observed, background, error = (float(values[dataset]) for values in (store.observed_n, store.expected_bg, store.bg_error))
        return SingleRegionLikelihood(observed, background, error, signal, data, conventions)
    if predictions.kind[i] == PredictionKind.COMBINED:
        model = find_analysis_model(store, result, conventions)
        return None if model is None else model.likelihood(predictions.region_yields[result], data)
    return None
