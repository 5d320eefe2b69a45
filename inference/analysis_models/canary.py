"""A known answer per statistical model, to notice when a model gives different ones: other software, other data, a broken file.

The signal of a canary has s_i = 0.25 √(b_i + 1) events in the regions of one set (a covariance, or one workspace). Facts are its
-ln L(1) + ln L(0) and its observed limit, made by `python -m benchmarks.canaries` and kept in `canaries.json`, under a digest of the
published numbers that the model is made from: other numbers have no canary. A model whose answer is off by more than the tolerances is
switched off in this process with a warning: its likelihoods have the outcome FIT_FAILED, which is counted for the analysis.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from inference.analysis_models.protocol import AnalysisLikelihood, AnalysisModel
from inference.analysis_models.region_sets import RegionSetsModel
from inference.likelihoods.protocol import Likelihood, LogRatio
from inference.limits import find_upper_limit
from inference.types import DataKind, FloatArray, Outcome

if TYPE_CHECKING:
    from database.results.store import ResultsStore

log = logging.getLogger(__name__)

FACTS_FILE = Path(__file__).with_name("canaries.json")
NLL_TOLERANCE = 2e-5
"""Of -ln L(1) + ln L(0), absolute."""
LIMIT_TOLERANCE = 2e-4
"""Of the limit, relative."""


class CanaryStatus(StrEnum):
    """What a canary says."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """There is no fact for these published numbers."""


class Canary(NamedTuple):
    """Answer of a statistical model for a fixed signal.

    Attributes:
        name: the set of regions; "" for an analysis with one covariance.
        delta_nll: -ln L(1) + ln L(0).
        mu_ul: observed 95 % CL limit on μ.
    """

    name: str
    delta_nll: float
    mu_ul: float

    def agrees_with(self, fact: Canary) -> bool:
        """Whether this answer is the known one, within the tolerances."""
        return abs(self.delta_nll - fact.delta_nll) <= NLL_TOLERANCE and abs(self.mu_ul - fact.mu_ul) <= LIMIT_TOLERANCE * fact.mu_ul


class CanaryReport(NamedTuple):
    """Answers of a model and what is known of them.

    Attributes:
        status: of all of them together.
        found: the answers.
        facts: the known ones, in the same order; empty if there are none.
    """

    status: CanaryStatus
    found: tuple[Canary, ...]
    facts: tuple[Canary, ...]


def digest_published(store: ResultsStore, result: int) -> str:
    """Digest of the published numbers that the statistical model of a result is made from."""
    record = store.results[result]
    payload = record.stat_payload
    digest = hashlib.sha256()
    regions = slice(record.dataset_start, record.dataset_start + record.num_combined)
    for values in (store.observed_n, store.expected_bg, store.bg_error, store.third_moment):
        digest.update(np.nan_to_num(values[regions], nan=-1.0).tobytes())
    if payload.covariance_offset >= 0:
        digest.update(np.ascontiguousarray(store.covariance(result)).tobytes())
    for region_set in payload.region_sets:
        start = region_set.covariance_offset
        if start >= 0:
            digest.update(store.covariances[start : start + region_set.covariance_size**2].tobytes())
    paths = [workspace.path for workspace in (*payload.workspaces, *payload.full_workspaces)]
    paths += [model.path for region_set in payload.region_sets for model in region_set.models if model.path]
    for path in paths:
        digest.update((store.path / path).read_bytes())
    return digest.hexdigest()[:16]


def canary_signal(background: FloatArray) -> FloatArray:
    """s = 0.25 √(b + 1) events per region, shape (num_regions,)."""
    signal: FloatArray = 0.25 * np.sqrt(background + 1.0)
    return signal


def find_canaries(store: ResultsStore, result: int, model: AnalysisModel) -> tuple[Canary, ...]:
    """The answers of a model, one per set of regions; nan where a fit fails."""
    record = store.results[result]
    signal = canary_signal(store.expected_bg[record.dataset_start : record.dataset_start + model.num_regions])
    if not isinstance(model, RegionSetsModel):
        return (_answer("", model.likelihood(signal)),)
    found = []
    for region_set in model.sets:
        placed = region_set.placed(0)
        inside = np.zeros(model.num_regions)
        if placed is not None:
            columns = placed[1].columns[placed[1].columns >= 0]
            inside[columns] = signal[columns]
        likelihood = region_set.likelihood(inside, DataKind.OBSERVED)
        found.append(
            Canary(region_set.record.name, math.nan, math.nan) if likelihood is None else _answer(region_set.record.name, likelihood)
        )
    return tuple(found)


def _answer(name: str, likelihood: AnalysisLikelihood) -> Canary:
    if likelihood.outcome is not Outcome.OK:
        return Canary(name, math.nan, math.nan)
    return Canary(name, -likelihood.log_ratio(1.0).value, find_upper_limit(likelihood).mu_ul)


class Fact(NamedTuple):
    """Known answers for published numbers.

    Attributes:
        digest: of the numbers, see `digest_published`.
        canaries: the answers.
    """

    digest: str
    canaries: tuple[Canary, ...]


@cache
def load_facts() -> Mapping[str, tuple[Fact, ...]]:
    """Known answers by folder of the result in the text database."""
    document = json.loads(FACTS_FILE.read_text(encoding="utf-8"))
    facts: dict[str, tuple[Fact, ...]] = {}
    for entry in document["results"]:
        canaries = tuple(Canary(row["set"], row["delta_nll"], row["mu_ul"]) for row in entry["canaries"])
        facts[entry["folder"]] = (*facts.get(entry["folder"], ()), Fact(entry["digest"], canaries))
    return facts


def find_facts(store: ResultsStore, result: int, known: Mapping[str, tuple[Fact, ...]] | None = None) -> tuple[Canary, ...]:
    """Known answers for the published numbers of a result; empty without any."""
    entries = (load_facts() if known is None else known).get(store.results[result].folder, ())
    if not entries:
        return ()
    digest = digest_published(store, result)
    return next((entry.canaries for entry in entries if entry.digest == digest), ())


def check_canary(store: ResultsStore, result: int, model: AnalysisModel, facts: tuple[Canary, ...] | None = None) -> CanaryReport:
    """Compares the answers of a model, made with default conventions, with the known ones (by default those of the package)."""
    facts = find_facts(store, result) if facts is None else facts
    found = find_canaries(store, result, model)
    if not facts:
        return CanaryReport(CanaryStatus.UNKNOWN, found, ())
    has_passed = len(found) == len(facts) and all(a.name == b.name and a.agrees_with(b) for a, b in zip(found, facts, strict=True))
    return CanaryReport(CanaryStatus.PASSED if has_passed else CanaryStatus.FAILED, found, facts)


def guard_model(store: ResultsStore, result: int, model: AnalysisModel, facts: tuple[Canary, ...] | None = None) -> AnalysisModel:
    """The model, or a disabled one with a warning if its canary fails; without known answers nothing is computed.

    Args:
        store: published results.
        result: index of the result.
        model: its statistical model, with default conventions.
        facts: known answers; by default those of the package.
    """
    facts = find_facts(store, result) if facts is None else facts
    if not facts:
        return model
    report = check_canary(store, result, model, facts)
    if report.status is CanaryStatus.PASSED:
        return model
    answers = {answer.name: answer for answer in report.found}
    for fact in facts:
        answer = answers.get(fact.name, Canary(fact.name, math.nan, math.nan))
        if not answer.agrees_with(fact):
            log.warning(
                "analysis=%s the statistical model %s is switched off: Δ(-ln L) = %.6f, μ_UL = %.5f for its canary, not %.6f, %.5f",
                store.results[result].analysis_id, fact.name, answer.delta_nll, answer.mu_ul, fact.delta_nll, fact.mu_ul,
            )  # fmt: skip
    return DisabledModel(model.num_regions)


class DisabledModel:
    """A statistical model that is not to be trusted: its likelihoods have no numbers.

    Args:
        num_regions: length of signal vectors.
    """

    def __init__(self, num_regions: int) -> None:
        self._num_regions = num_regions

    @property
    def num_regions(self) -> int:
        """Length of signal vectors."""
        return self._num_regions

    def likelihood(self, yields: FloatArray, data_kind: DataKind = DataKind.OBSERVED) -> DisabledLikelihood:
        """A likelihood whose outcome is FIT_FAILED."""
        return DisabledLikelihood(self._num_regions)


class DisabledLikelihood:
    """Likelihood without numbers, outcome FIT_FAILED.

    Args:
        num_regions: length of signal vectors.
    """

    outcome = Outcome.FIT_FAILED
    is_concave = False
    mu_hat = math.nan
    sigma_mu = math.nan

    def __init__(self, num_regions: int) -> None:
        self._num_regions = num_regions

    def nll(self, mu: float) -> float:
        """nan."""
        return math.nan

    def log_ratio(self, mu: float) -> LogRatio:
        """nan."""
        return LogRatio(math.nan, math.nan)

    def asimov(self) -> Likelihood:
        """Itself."""
        return self

    def signal_slopes(self, mu: float) -> FloatArray:
        """nan per region, shape (num_regions,)."""
        return np.full(self._num_regions, math.nan)
