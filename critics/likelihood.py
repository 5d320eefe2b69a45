"""Critic that tests a model with the likelihood of its most sensitive combination of results.

As in the second version of the reference program, without its limits on cross sections:

1. Each analysis enters with its own combined likelihood where it has one, else with its most sensitive signal region;
   results with an expected r below 0.1 stay out.
2. Among the maximal sets of combinable results the one that is expected to exclude the model most strongly is taken: the
   heaviest clique with the weights w = 2 ln L_exp(0)/L_exp(1), L_exp being the likelihood of the data expected before looking
   (counts = expected background). The choice does not depend on what was observed.
3. The model is excluded if r = 1/μ_UL >= 1, μ_UL the observed 95 % CL limit (CLs) on the common signal strength.

r_exp >= r₀ needs no limit: for expected data CLs(μ) = 2 (1 - Φ(√q_A(μ))), so it holds iff q_A(1/r₀) >= 1.96² (arXiv:1007.1727).

The limit's Asimov data are those of the background-only fits. SModelS 3.0.3 takes the expected backgrounds instead as soon as two analyses
are combined, which changes r by up to 17 %; with that convention (`combination-asimov`) r agrees with it to the precision of its root
search (tests/validation/test_likelihood_critic.py).

A likelihood without a number is left out and counted for its analysis; if the combination's own limit fails, the critic counts
all of its members and neither excludes nor admits.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from critics.verdict import Constraint, Verdict, count_undefined
from inference.analysis_models.registry import find_analysis_model
from inference.candidates import COVARIANCE_MODELS
from inference.cliques import BoolMatrix, CliqueSearch
from inference.likelihoods.product import ProductLikelihood
from inference.likelihoods.single_region import SingleRegionLikelihood
from inference.limits import LimitableLikelihood, find_upper_limit
from inference.settings import Conventions
from inference.types import DataKind, Outcome, PredictionKind, Predictions

if TYPE_CHECKING:
    from critics.settings import CriticSettings
    from database.results.store import ResultsStore

NAME = "likelihood_v2"

EXPECTED_Q = 1.9599639845400545**2
"""q_A at which the expected CLs is 0.05."""


class LikelihoodContext(NamedTuple):
    """What the critic needs besides predictions.

    Attributes:
        is_combinable: which results may be combined, shape (num_results, num_results).
        conventions: whose likelihoods.
        full_likelihoods: whether models that are costly to fit (HistFactory) are used; else such an analysis is one region.
    """

    is_combinable: BoolMatrix
    conventions: Conventions = Conventions.DEFAULT
    full_likelihoods: bool = True


class Factor(NamedTuple):
    """The likelihood that stands for an analysis before the critic.

    Attributes:
        prediction: index into the predictions.
        result: index into `store.results`.
        dataset: index of the signal region; -1 for a combined likelihood.
        analysis_id: e.g. "CMS-SUS-19-006".
        observed: likelihood of the observed data.
        expected: of the data expected before looking.
        weight: 2 ln L_exp(0)/L_exp(1): the exclusion that is expected of it.
    """

    prediction: int
    result: int
    dataset: int
    analysis_id: str
    observed: LimitableLikelihood
    expected: LimitableLikelihood
    weight: float


class Selection(NamedTuple):
    """What enters the search for the most sensitive combination.

    Attributes:
        factors: sensitive results, ordered by analysis.
        undefined: analyses whose likelihood yields no number, one entry each.
        num_insensitive: results left out because they expect too little.
    """

    factors: tuple[Factor, ...]
    undefined: tuple[str, ...]
    num_insensitive: int


def select_factors(predictions: Predictions, store: ResultsStore, settings: CriticSettings, context: LikelihoodContext) -> Selection:
    """One likelihood per analysis: combined where there is a statistical model, else the region with the largest expected r.

    Args:
        predictions: what the results predict at μ = 1.
        store: the results.
        settings: `likelihood_min_r_exp`.
        context: whose likelihoods.
    """
    found: dict[str, Factor] = {}
    for index in np.flatnonzero(predictions.kind == PredictionKind.COMBINED).tolist():
        result = int(predictions.result[index])
        analysis_id = store.results[result].analysis_id
        if analysis_id in found or not (context.full_likelihoods or store.results[result].stat_model in COVARIANCE_MODELS):
            continue
        model = find_analysis_model(store, result, context.conventions)
        if model is not None:
            yields = predictions.region_yields[result]
            pair = model.likelihood(yields), model.likelihood(yields, DataKind.APRIORI)
            found[analysis_id] = Factor(index, result, -1, analysis_id, *pair, math.nan)
    for index in _most_sensitive_regions(predictions, store):
        result, dataset = int(predictions.result[index]), int(predictions.dataset[index])
        record = store.results[result]
        if record.analysis_id not in found:
            region = SingleRegionLikelihood(
                observed=float(store.observed_n[dataset]),
                background=float(store.expected_bg[dataset]),
                background_error=float(store.bg_error[dataset]),
                signal=float(predictions.xsec_fb[index]) * record.lumi_ifb,
                conventions=context.conventions,
            )
            expected = replace(region, data_kind=DataKind.APRIORI)
            found[record.analysis_id] = Factor(index, result, dataset, record.analysis_id, region, expected, math.nan)
    return _weigh(tuple(found[name] for name in sorted(found)), settings)


def judge_by_likelihood(predictions: Predictions, store: ResultsStore, settings: CriticSettings, context: LikelihoodContext) -> Verdict:
    """Veto if the most sensitive combination of results excludes the model at 95 % CL; see the module.

    Args:
        predictions: what the results predict at μ = 1.
        store: the results.
        settings: `likelihood_min_r_exp`, `likelihood_threshold`.
        context: which results may be combined, and whose likelihoods.
    """
    selection = select_factors(predictions, store, settings, context)
    if not selection.factors:
        left_out = f", {selection.num_insensitive} expect r < {settings.likelihood_min_r_exp:g}" if selection.num_insensitive else ""
        return _admit(f"likelihoods (v2): no sensitive likelihood{left_out}", selection.undefined)
    members = find_most_sensitive(selection.factors, context.is_combinable)
    observed, expected = ProductLikelihood([m.observed for m in members]), ProductLikelihood([m.expected for m in members])
    if context.conventions.has(Conventions.COMBINATION_ASIMOV) and len(members) > 1:
        observed = _AprioriProduct(observed, expected)
    r_obs, r_exp = _inverse_limit(observed), _inverse_limit(expected)
    names = tuple(dict.fromkeys(member.analysis_id for member in members))
    if math.isnan(r_obs):
        return _admit(f"likelihoods (v2): the limit of {', '.join(names)} failed", (*selection.undefined, *names))
    strongest = max(members, key=lambda member: member.weight)
    reason = (
        f"likelihoods (v2): the most sensitive combination ({', '.join(names)}) has r = {r_obs:.3g} (expected {r_exp:.3g}), "
        f"mostly from {strongest.analysis_id}; excluded from r = {settings.likelihood_threshold:g} on"
    )
    constraint = _describe(members, predictions, store, r_obs, r_exp)
    undefined = count_undefined(selection.undefined)
    return Verdict(
        r_obs >= settings.likelihood_threshold, math.inf, r_obs, r_exp, reason, len(selection.undefined), undefined, (constraint,)
    )


class _AprioriProduct(ProductLikelihood):
    """A product whose Asimov data are expected before looking."""

    def __init__(self, observed: ProductLikelihood, expected: ProductLikelihood) -> None:
        super().__init__(observed.members)
        self._expected = expected

    def asimov(self) -> ProductLikelihood:
        return self._expected


def find_most_sensitive(factors: tuple[Factor, ...], is_combinable: BoolMatrix) -> tuple[Factor, ...]:
    """The maximal set of combinable factors with the largest Σ w, exactly; ties go to the first in the order of the search."""
    results = np.array([factor.result for factor in factors], dtype=np.int64)
    search = CliqueSearch(is_combinable[np.ix_(results, results)])
    _, is_member = search.heaviest(np.array([factor.weight for factor in factors]))
    return tuple(factors[i] for i in np.flatnonzero(is_member).tolist())


def _weigh(factors: tuple[Factor, ...], settings: CriticSettings) -> Selection:
    """Sensitive factors with their weights; those without a number are reported."""
    usable = [f for f in factors if f.observed.outcome is Outcome.OK and f.expected.outcome is Outcome.OK]
    undefined = [f.analysis_id for f in factors if f not in usable]
    mu_border = 1.0 / settings.likelihood_min_r_exp if settings.likelihood_min_r_exp > 0.0 else math.inf
    kept, num_insensitive = [], 0
    for factor in usable:
        q_border = -2.0 * factor.expected.log_ratio(mu_border).value if mu_border < math.inf else math.inf
        if q_border < EXPECTED_Q:
            num_insensitive += 1
            continue
        weight = -2.0 * factor.expected.log_ratio(1.0).value
        if math.isnan(q_border) or not math.isfinite(weight) or math.isnan(factor.observed.log_ratio(1.0).value):
            undefined.append(factor.analysis_id)
        else:
            kept.append(factor._replace(weight=weight))
    return Selection(tuple(kept), tuple(sorted(undefined)), num_insensitive)


def _most_sensitive_regions(predictions: Predictions, store: ResultsStore) -> list[int]:
    """Per analysis the region with the largest expected r; regions without an expected limit only where none has one."""
    rows = np.flatnonzero(predictions.kind == PredictionKind.EFFICIENCY_MAP)
    if rows.size == 0:
        return []
    with np.errstate(invalid="ignore", divide="ignore"):
        r_exp = np.where(predictions.ul_exp_fb[rows] > 0.0, predictions.xsec_fb[rows] / predictions.ul_exp_fb[rows], np.nan)
        r_obs = np.where(predictions.ul_obs_fb[rows] > 0.0, predictions.xsec_fb[rows] / predictions.ul_obs_fb[rows], np.nan)
    has_expected = np.isfinite(r_exp)
    sensitivity = np.where(has_expected, r_exp, np.nan_to_num(r_obs, nan=-1.0))
    analysis = store.result_analysis[predictions.result[rows]]
    order = np.lexsort((rows, -sensitivity, ~has_expected, analysis))
    is_first = np.r_[True, np.diff(analysis[order]) != 0]
    chosen: list[int] = rows[order[is_first]].tolist()
    return chosen


def _inverse_limit(likelihood: ProductLikelihood) -> float:
    """r = 1/μ_UL; 0 where no signal strength is excluded, nan if the limit failed."""
    limit = find_upper_limit(likelihood).mu_ul
    return 1.0 / limit if limit > 0.0 else math.nan


def _describe(members: tuple[Factor, ...], predictions: Predictions, store: ResultsStore, r_obs: float, r_exp: float) -> Constraint:
    txnames = {store.map_txnames[number] for member in members for number in predictions.map_ids[member.prediction]}
    single = members[0] if len(members) == 1 else None
    is_region = single is not None and single.dataset >= 0
    return Constraint(
        critic=NAME,
        analysis_ids=tuple(dict.fromkeys(member.analysis_id for member in members)),
        kind="em" if is_region else "comb",
        dataset_id=store.dataset_ids[single.dataset] if single is not None and is_region else None,
        txnames=tuple(sorted(txnames)),
        r_obs=r_obs,
        r_exp=r_exp,
    )


def _admit(reason: str, undefined: tuple[str, ...]) -> Verdict:
    return Verdict(False, math.inf, math.nan, math.nan, reason, len(undefined), count_undefined(undefined))
