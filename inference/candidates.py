"""Which likelihood stands for an analysis: predictions ──▶ **candidates** ──▶ combination.

Per analysis and kind of result one likelihood competes: the analysis's own combination where its statistical model can be
evaluated; else one of its signal regions; and one of its pairs of limits, where both are published and not too different.
Selection and curves are arrays throughout; objects are made for those who ask.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from inference.analysis_models.registry import find_analysis_model
from inference.likelihoods.batch import (
    COVARIANCE,
    GAUSSIAN,
    OTHER,
    REGION,
    SMODELS_REGION,
    Curves,
    CurveSet,
    pack_covariances,
)
from inference.likelihoods.covariance import CovarianceLikelihood
from inference.likelihoods.protocol import Likelihood
from inference.likelihoods.signal_uncertainty import UncertainSignalLikelihood
from inference.likelihoods.single_region import SingleRegionLikelihood, profile_region
from inference.likelihoods.truncated_gaussian import TruncatedGaussianLikelihood, gaussian_of_limits
from inference.settings import Conventions
from inference.types import FloatArray, IntArray, Outcome, PredictionKind, Predictions

if TYPE_CHECKING:
    from database.results.records import ResultRecord
    from database.results.store import ResultsStore
    from inference.score import ScoreSettings

COVARIANCE_MODELS = frozenset({"sl_v1", "sl_v2"})
"""Kinds of statistical models that are cheap enough for every setting."""

_NOTHING = np.empty(0)
_LIMIT, _REGION, _COMBINED = int(PredictionKind.UPPER_LIMIT), int(PredictionKind.EFFICIENCY_MAP), int(PredictionKind.COMBINED)


class Candidate(NamedTuple):
    """The likelihood that stands for an analysis and a kind of result.

    Attributes:
        prediction: index into the predictions.
        result: index into `store.results`.
        dataset: index of the signal region, -1 for an analysis's own combination.
        analysis_id: e.g. "CMS-SUS-19-006".
        kind: upper limit, single region or combined.
        likelihood: ln L(μ), at μ = 1 the model as predicted.
    """

    prediction: int
    result: int
    dataset: int
    analysis_id: str
    kind: PredictionKind
    likelihood: Likelihood


class _Columns(NamedTuple):
    """Predictions as the selection reads them."""

    result: IntArray
    dataset: IntArray
    kind: NDArray[np.int8]
    xsec_fb: FloatArray
    ul_obs_fb: FloatArray
    ul_exp_fb: FloatArray


class _Facts(NamedTuple):
    """What the selection needs to know of the results: counts per region, luminosity [fb⁻¹] and analysis per result.

    Analyses are numbered in the order of their names.
    """

    observed: FloatArray
    background: FloatArray
    error: FloatArray
    lumi_ifb: FloatArray
    analysis: IntArray
    num_analyses: int


class _Options(NamedTuple):
    """The settings that the selection reads."""

    is_by_ratio: bool
    is_smodels: bool
    use_upper_limits: bool
    max_asymmetry: float
    max_excess_sigmas: float
    widening: float


def _is_cheap(record: ResultRecord) -> bool:
    """Whether the statistical model of a result consists of covariances only."""
    if record.stat_model != "region_sets":
        return record.stat_model in COVARIANCE_MODELS
    return all(file.kind == "sl" for region_set in record.stat_payload.region_sets for file in region_set.models)


@lru_cache(maxsize=8)
def _facts_of(store: ResultsStore) -> _Facts:
    names = sorted({record.analysis_id for record in store.results})
    observed, background, error = (
        np.ascontiguousarray(values, dtype=np.float64) for values in (store.observed_n, store.expected_bg, store.bg_error)
    )
    return _Facts(
        observed,
        background,
        error,
        np.array([record.lumi_ifb for record in store.results], dtype=np.float64),
        np.array([names.index(record.analysis_id) for record in store.results], dtype=np.int32),
        len(names),
    )


@njit(cache=True)
def _merit(row: int, columns: _Columns, facts: _Facts, options: _Options) -> float:
    """What decides between the regions, or pairs of limits, of an analysis; nan loses."""
    if options.is_by_ratio:
        return columns.ul_obs_fb[row] / columns.ul_exp_fb[row] if columns.ul_exp_fb[row] != 0.0 else np.nan
    if columns.kind[row] == _LIMIT:
        centre, width = gaussian_of_limits(
            columns.xsec_fb[row], columns.ul_obs_fb[row], columns.ul_exp_fb[row], options.max_excess_sigmas, options.widening
        )
        return 0.5 * (2.0 * centre - 1.0) / (width * width)
    d = columns.dataset[row]
    signal = columns.xsec_fb[row] * facts.lumi_ifb[columns.result[row]]
    zero, _, _ = profile_region(0.0, facts.observed[d], facts.background[d], facts.error[d], signal, options.is_smodels)
    one, _, _ = profile_region(1.0, facts.observed[d], facts.background[d], facts.error[d], signal, options.is_smodels)
    return zero - one


@njit(cache=True)
def _select(
    columns: _Columns, facts: _Facts, combined: IntArray, options: _Options
) -> tuple[IntArray, IntArray, NDArray[np.int8], FloatArray, FloatArray, NDArray[np.bool_], IntArray]:
    """The candidates, ordered by analysis, kind and result.

    Args:
        columns: the predictions.
        facts: of the results.
        combined: rows of the analyses' own combinations that stand for them.
        options: see there.

    Returns:
        Rows of the predictions, results, kinds of curves (OTHER for combinations), parameters, -ln L(0) of regions, whether they yield
        numbers, and the positions of the combinations in the order of `combined`.
    """
    num_analyses = facts.num_analyses
    own = np.full(num_analyses, -1, dtype=np.int32)
    for k in range(combined.shape[0]):
        own[facts.analysis[columns.result[combined[k]]]] = k
    best = np.full((2, num_analyses), -1, dtype=np.int32)
    merits = np.full((2, num_analyses), np.nan)
    for row in range(columns.result.shape[0]):
        kind = columns.kind[row]
        analysis = facts.analysis[columns.result[row]]
        if kind == _COMBINED or (kind == _REGION and own[analysis] >= 0):
            continue
        if kind == _LIMIT:
            observed, expected = columns.ul_obs_fb[row], columns.ul_exp_fb[row]
            if not (options.use_upper_limits and observed > 0.0 and expected > 0.0):
                continue
            if not abs(observed - expected) <= options.max_asymmetry * (observed + expected):
                continue
        merit = _merit(row, columns, facts, options)
        other = merits[kind, analysis]
        if best[kind, analysis] < 0 or merit > other or (np.isnan(other) and not np.isnan(merit)):
            best[kind, analysis], merits[kind, analysis] = row, merit
    rows, count = np.empty(3 * num_analyses, dtype=np.int32), 0
    positions = np.empty(combined.shape[0], dtype=np.int32)
    for analysis in range(num_analyses):
        for kind in range(2):
            if best[kind, analysis] >= 0:
                rows[count] = best[kind, analysis]
                count += 1
        if own[analysis] >= 0:
            rows[count] = combined[own[analysis]]
            positions[own[analysis]] = count
            count += 1
    results, curve_kind, parameters = np.empty(count, dtype=np.int32), np.full(count, OTHER, dtype=np.int8), np.zeros((count, 4))
    at_zero, is_usable = np.zeros(count), np.ones(count, dtype=np.bool_)
    for i in range(count):
        row = rows[i]
        kind = columns.kind[row]
        results[i] = columns.result[row]
        if kind == _LIMIT:
            centre, width = gaussian_of_limits(
                columns.xsec_fb[row], columns.ul_obs_fb[row], columns.ul_exp_fb[row], options.max_excess_sigmas, options.widening
            )
            curve_kind[i] = GAUSSIAN
            parameters[i, 0], parameters[i, 1], parameters[i, 2] = centre, 1.0 / (width * width), width
            is_usable[i] = np.isfinite(centre) and np.isfinite(parameters[i, 1])
        elif kind == _REGION:
            d = columns.dataset[row]
            parameters[i, 0], parameters[i, 1], parameters[i, 2] = facts.observed[d], facts.background[d], facts.error[d]
            signal = columns.xsec_fb[row] * facts.lumi_ifb[columns.result[row]]
            parameters[i, 3] = signal
            curve_kind[i] = SMODELS_REGION if options.is_smodels else REGION
            nll, _, _ = profile_region(0.0, facts.observed[d], facts.background[d], facts.error[d], signal, options.is_smodels)
            at_zero[i] = nll
            is_usable[i] = np.isfinite(nll) and np.isfinite(signal)
    return rows[:count].copy(), results, curve_kind, parameters, at_zero, is_usable, positions


class Candidates:
    """The likelihoods that compete, as arrays.

    Args:
        predictions: of one model.
        store: the results.
        settings: how analyses are represented.

    Attributes:
        rows: prediction of each candidate, ordered by analysis, kind and result, shape (num_candidates,).
        results: their results.
        curve_set: their curves.
    """

    def __init__(self, predictions: Predictions, store: ResultsStore, settings: ScoreSettings) -> None:
        self._predictions, self._store, self._conventions = predictions, store, settings.conventions
        self._signal_uncertainty = settings.signal_uncertainty
        facts = _facts_of(store)
        own = self._own_combinations(settings, facts) if settings.use_combined else {}
        options = _Options(
            settings.region_choice.value == "v1_largest_ratio", settings.conventions.has(Conventions.REGION_NUISANCES),
            settings.use_upper_limits, settings.max_asymmetry, settings.max_excess_sigmas, settings.limit_widening,
        )  # fmt: skip
        self.rows, self.results, kind, parameters, at_zero, is_usable, positions = _select(
            _Columns(*predictions[:6]), facts, np.array(list(own), dtype=np.int32), options
        )
        self._own = own
        self.curve_set = self._curves(kind, parameters, at_zero, is_usable, zip(positions.tolist(), own.values(), strict=True))

    def _own_combinations(self, settings: ScoreSettings, facts: _Facts) -> dict[int, Likelihood]:
        """Likelihood of the first combination of each analysis whose statistical model can be evaluated, by row."""
        predictions = self._predictions
        found: dict[int, Likelihood] = {}
        seen: set[int] = set()
        for row in np.flatnonzero(predictions.kind == _COMBINED).tolist():
            result = int(predictions.result[row])
            analysis = int(facts.analysis[result])
            if analysis in seen or not (settings.full_likelihoods or _is_cheap(self._store.results[result])):
                continue
            model = find_analysis_model(self._store, result, settings.conventions)
            if model is not None:
                seen.add(analysis)
                found[row] = model.likelihood(predictions.region_yields[result])
        return found

    def _curves(
        self,
        kind: NDArray[np.int8],
        parameters: FloatArray,
        at_zero: FloatArray,
        is_usable: NDArray[np.bool_],
        own: Iterable[tuple[int, Likelihood]],
    ) -> CurveSet:
        """The curves, with the positions and likelihoods of the analyses' own combinations filled in."""
        part, is_bent = np.full(kind.size, -1, dtype=np.int32), np.zeros(kind.size, dtype=np.bool_)
        others: list[tuple[int, Likelihood]] = []
        covariances: list[CovarianceLikelihood] = []
        for i, likelihood in own:
            is_usable[i] = likelihood.outcome is Outcome.OK
            is_bent[i] = not likelihood.is_concave
            if isinstance(likelihood, CovarianceLikelihood) and is_usable[i]:
                kind[i], part[i] = COVARIANCE, len(covariances)
                covariances.append(likelihood)
            else:
                others.append((i, likelihood))
        if self._signal_uncertainty > 0.0:
            for i in np.flatnonzero(kind <= SMODELS_REGION).tolist():
                uncertain = self._region_likelihood(parameters[i])
                kind[i], is_bent[i], is_usable[i] = OTHER, True, uncertain.outcome is Outcome.OK
                others.append((i, uncertain))
        signal = np.concatenate([likelihood.signal for likelihood in covariances]) if covariances else _NOTHING
        curves = Curves(kind, parameters, at_zero, is_bent, part, signal, pack_covariances(covariances))
        return CurveSet.of_arrays(curves, others, is_usable)

    def __len__(self) -> int:
        return int(self.rows.size)

    def analysis_id(self, i: int) -> str:
        """Name of the analysis of a candidate."""
        return self._store.results[int(self.results[i])].analysis_id

    def __getitem__(self, i: int) -> Candidate:
        if not 0 <= i < len(self):
            raise IndexError(i)
        predictions, row = self._predictions, int(self.rows[i])
        kind = PredictionKind(int(predictions.kind[row]))
        parameters = self.curve_set.curves.parameters[i]
        likelihood: Likelihood
        if kind is PredictionKind.COMBINED:
            likelihood = self._own[row]
        elif kind is PredictionKind.UPPER_LIMIT:
            likelihood = TruncatedGaussianLikelihood(float(parameters[0]), float(parameters[2]))
        else:
            likelihood = self._region_likelihood(parameters)
        dataset = -1 if kind is PredictionKind.COMBINED else int(predictions.dataset[row])
        return Candidate(row, int(self.results[i]), dataset, self.analysis_id(i), kind, likelihood)

    def _region_likelihood(self, parameters: FloatArray) -> Likelihood:
        """Likelihood of one region from n, b, δ, s [events]."""
        n, b, error, signal = parameters.tolist()
        region = SingleRegionLikelihood(n, b, error, signal, conventions=self._conventions)
        return UncertainSignalLikelihood(region, self._signal_uncertainty) if self._signal_uncertainty > 0.0 else region
