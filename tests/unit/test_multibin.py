"""Limits of searches with several regions: the right model speaks, with the numbers of the library; failures have names."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from database.results.combinability import Override
from database.results.importer import open_embedded_store
from database.results.store import ResultsStore
from database.searches.records import SearchFileError
from inference.likelihoods.covariance import CovarianceModel
from inference.likelihoods.histfactory import HistFactoryLikelihood, HistFactorySettings, compile_workspace
from inference.likelihoods.product import ProductLikelihood
from inference.likelihoods.single_region import SingleRegionLikelihood
from inference.limits import LimitableLikelihood, TestStatistic, compute_cls, find_expected_limits, find_upper_limit
from inference.multibin.book import AnalysisBook
from inference.multibin.combination import combinability_of, find_best_combination
from inference.multibin.evaluate import evaluate_analysis
from inference.multibin.limit_values import LimitOutcome, LimitValues, Verdict
from inference.multibin.results import AnalysisRecord, LimitRecord
from inference.multibin.run import SignalInput, SignalResult, run_signal
from inference.multibin.settings import Backend, ExpectedData, LimitsError, ModelChoice, MultibinSettings, Quantity
from inference.multibin.yields import YieldsFile, parse_yields
from inference.types import DataKind
from tests.multibin_samples import COUNTS, COVARIANCE, make_table, make_user_workspace, make_yields, random_tables
from tests.workspaces import make_workspace

EVENTS = {"A": 6.0, "B": 4.0, "C": 2.0}
OBSERVED, BACKGROUND, ERRORS = (np.array([counts[k] for counts in COUNTS.values()]) for k in range(3))
SIGNAL = np.array(list(EVENTS.values()))


@pytest.fixture(scope="module")
def store() -> ResultsStore:
    return open_embedded_store()


def run(store: ResultsStore, *tables: Any, settings: MultibinSettings | None = None, **yields: Any) -> SignalResult:
    """Limits of one signal in tables; yields by analysis, by default the same in all."""
    book = AnalysisBook(store, tables=tables)
    signal = {table.analysis: make_yields(yields.get(table.analysis, EVENTS)) for table in tables}
    return run_signal(SignalInput("test", signal), book, settings or MultibinSettings())


def assert_limits(record: LimitRecord, likelihood: LimitableLikelihood, settings: MultibinSettings | None = None) -> None:
    """The stored limits are those of the library, bit by bit."""
    limits = (settings or MultibinSettings()).limit_settings
    cls = compute_cls(likelihood, 1.0, limits)
    assert record.mu_ul_obs == find_upper_limit(likelihood, settings=limits).mu_ul
    assert record.mu_ul_exp == find_expected_limits(likelihood, limits).values
    assert (record.cls_obs, record.cls_exp) == (cls.observed, cls.expected)
    assert (record.mu_hat, record.sigma_mu) == (likelihood.mu_hat, likelihood.sigma_mu)


# -------------------------------------------------------------------------------------------------------------- models


@pytest.mark.parametrize("statistic", [TestStatistic.Q_TILDE, TestStatistic.Q])
def test_a_covariance_speaks_with_the_numbers_of_the_library(store: ResultsStore, statistic: TestStatistic) -> None:
    settings = MultibinSettings(statistic=statistic)
    found = run(store, make_table(covariance=COVARIANCE), settings=settings)
    (record,) = found.record.analyses
    assert record.model is not None and record.model.kind == "covariance"
    assert_limits(record.limits, CovarianceModel(OBSERVED, BACKGROUND, COVARIANCE).likelihood(SIGNAL), settings)


def test_a_correlation_is_a_covariance_with_the_published_errors(store: ResultsStore) -> None:
    correlation = np.array(COVARIANCE) / np.outer(ERRORS, ERRORS)
    one = run(store, make_table(correlation=correlation.tolist())).record.analyses[0].limits
    other = run(store, make_table(covariance=COVARIANCE)).record.analyses[0].limits
    assert one.mu_ul_obs == pytest.approx(other.mu_ul_obs, rel=1e-9)


def test_the_simplified_model_has_one_nuisance_for_all_regions(store: ResultsStore) -> None:
    """-ln L profiled on a fine grid of the nuisance, by hand."""
    found = run(store, make_table(sets={"all": ["A", "B", "C"]}), settings=MultibinSettings(model=ModelChoice.SIMPLE))
    (record,) = found.record.analyses
    assert record.model is not None and (record.model.kind, record.model.set) == ("simplified", "all")
    likelihood = found.evaluated[0].observed
    assert likelihood is not None

    def profile(mu: float) -> float:
        alpha = np.linspace(-4.0, 4.0, 80001)[:, None]
        means = BACKGROUND + alpha * ERRORS + mu * SIGNAL
        return float(
            (np.where(means > 0, means - OBSERVED * np.log(np.maximum(means, 1e-9)), np.inf).sum(axis=1) + 0.5 * alpha[:, 0] ** 2).min()
        )

    for mu in (0.5, 1.0, 3.0):
        assert likelihood.log_ratio(mu).value == pytest.approx(profile(0.0) - profile(mu), abs=1e-6)


def test_without_a_model_the_most_sensitive_region_stands_for_the_analysis(store: ResultsStore) -> None:
    (record,) = run(store, make_table()).record.analyses
    regions = [SingleRegionLikelihood(*counts, EVENTS[name]) for name, counts in COUNTS.items()]
    expected = [find_upper_limit(SingleRegionLikelihood(*counts, EVENTS[name], DataKind.APRIORI)).mu_ul for name, counts in COUNTS.items()]
    best = int(np.argmin(expected))
    assert record.model is not None and (record.model.kind, record.model.set) == ("single_region", "ABC"[best])
    assert any("no regions are combined" in note for note in record.notes)
    assert_limits(record.limits, regions[best])


def test_of_several_sets_the_most_sensitive_one_speaks(store: ResultsStore) -> None:
    sets = {"one": ["A"], "two": ["B", "C"]}
    (record,) = run(store, make_table(sets=sets), settings=MultibinSettings(model=ModelChoice.SIMPLE)).record.analyses
    limits = {entry.set: entry.mu_ul_apriori for entry in record.sets}
    assert record.model is not None and record.model.set == min(limits, key=lambda name: limits[name] or math.inf)
    assert [entry.is_used for entry in record.sets].count(True) == 1


def test_sets_that_share_no_events_are_multiplied(store: ResultsStore) -> None:
    settings = MultibinSettings(model=ModelChoice.SIMPLE)
    sets = {"one": ["A"], "two": ["B", "C"]}
    found = run(store, make_table(sets=sets, sets_are_disjoint=True), settings=settings)
    parts = [run(store, make_table(sets={name: members}), settings=settings).evaluated[0].observed for name, members in sets.items()]
    product = ProductLikelihood([part for part in parts if part is not None])
    (record,) = found.record.analyses
    assert all(entry.is_used for entry in record.sets)
    assert record.limits.mu_ul_obs == pytest.approx(find_upper_limit(product).mu_ul, rel=1e-9)


SPEC = make_workspace({"SR_a": ([50.0, 20.0], [52.0, 18.0]), "SR_b": ([5.0], [4.0]), "CR": ([80.0], [85.0])}, normalised=("SR_a", "CR"))
PLACES = {"A": "SR_a[0]", "B": "SR_a[1]", "C": "SR_b"}


def workspace_record(store: ResultsStore, settings: MultibinSettings, **fields: Any) -> AnalysisRecord:
    book = AnalysisBook(store, [make_user_workspace(SPEC, PLACES, **fields)])
    return run_signal(SignalInput("test", {"MINE-1": make_yields(EVENTS)}), book, settings).record.analyses[0]


def test_a_workspace_of_the_user_is_an_analysis(store: ResultsStore) -> None:
    record = workspace_record(store, MultibinSettings())
    model = compile_workspace(SPEC)
    assert model.bins == (("CR", 0), ("SR_a", 0), ("SR_a", 1), ("SR_b", 0))
    assert_limits(record.limits, HistFactoryLikelihood(model, [0.0, 6.0, 4.0, 2.0]))
    assert record.origin == "workspace of the user" and record.experiment == "ATLAS" and record.lumi_ifb is None


def test_a_simplified_model_is_derived_from_a_workspace(store: ResultsStore) -> None:
    full, simple = (workspace_record(store, MultibinSettings(model=choice)) for choice in (ModelChoice.FULL, ModelChoice.SIMPLE))
    assert simple.model is not None and simple.model.kind == "simplified"
    assert simple.limits.mu_ul_obs == pytest.approx(full.limits.mu_ul_obs, rel=0.3)
    assert simple.limits.mu_ul_obs != pytest.approx(full.limits.mu_ul_obs, rel=1e-6)


def test_signal_uncertainties_of_the_map_and_of_the_yields(store: ResultsStore) -> None:
    """A correlated relative uncertainty: the same, whether the workspace or a wrapper around it has it (histosys against log-normal)."""
    free = workspace_record(store, MultibinSettings()).limits.mu_ul_obs
    mapped = workspace_record(store, MultibinSettings(), signal_uncertainty=0.05).limits.mu_ul_obs
    book = AnalysisBook(store, [make_user_workspace(SPEC, PLACES)])
    wrapped = (
        run_signal(SignalInput("test", {"MINE-1": make_yields(EVENTS, signal_uncertainty=0.05)}), book, MultibinSettings())
        .record.analyses[0]
        .limits.mu_ul_obs
    )
    assert free is not None and mapped is not None and wrapped is not None
    assert free < mapped and mapped == pytest.approx(wrapped, rel=2e-3)


def test_statistical_errors_of_the_signal_are_used_or_said_not_to_be(store: ResultsStore) -> None:
    events = {name: {"events": value, "uncertainty": 0.5 * value} for name, value in EVENTS.items()}
    book = AnalysisBook(store, [make_user_workspace(SPEC, PLACES)], [make_table("MINE-2", covariance=COVARIANCE), make_table("MINE-3")])
    signal = SignalInput("test", {name: make_yields(events) for name in ("MINE-1", "MINE-2", "MINE-3")})
    full, covariance, region = run_signal(signal, book, MultibinSettings()).record.analyses
    settings = HistFactorySettings(has_signal_staterror=True)
    expected = HistFactoryLikelihood(compile_workspace(SPEC, settings=settings), [0.0, 6.0, 4.0, 2.0], signal_errors=[0.0, 3.0, 2.0, 1.0])
    assert full.limits.mu_ul_obs == find_upper_limit(expected).mu_ul
    assert any("statistical uncertainties" in note for note in covariance.notes)
    plain = run(store, make_table("MINE-3")).record.analyses[0].limits.mu_ul_obs
    assert region.limits.mu_ul_obs is not None and plain is not None and region.limits.mu_ul_obs > plain


def test_expected_values_before_and_after_looking(store: ResultsStore) -> None:
    before = run(store, make_table(covariance=COVARIANCE), settings=MultibinSettings(expected_data=ExpectedData.APRIORI))
    likelihood = CovarianceModel(OBSERVED, BACKGROUND, COVARIANCE).likelihood(SIGNAL, DataKind.APRIORI)
    assert before.record.analyses[0].limits.mu_ul_exp == find_expected_limits(likelihood).values


@pytest.mark.parametrize(
    ("quantities", "filled"),
    [
        ((Quantity.UPLIM,), {"mu_ul_obs"}),
        ((Quantity.CLS,), {"cls_obs"}),
        ((Quantity.CLS, Quantity.EXPECTED), {"cls_obs", "cls_exp"}),
        (tuple(Quantity), {"mu_ul_obs", "mu_ul_exp", "cls_obs", "cls_exp"}),
    ],
)
def test_only_what_was_asked_for_is_computed(store: ResultsStore, quantities: tuple[Quantity, ...], filled: set[str]) -> None:
    limits = run(store, make_table(covariance=COVARIANCE), settings=MultibinSettings(quantities=quantities)).record.analyses[0].limits
    values = {name: getattr(limits, name) for name in ("mu_ul_obs", "mu_ul_exp", "cls_obs", "cls_exp")}
    assert {name for name, value in values.items() if value is not None and value != (None,) * 5} == filled


# --------------------------------------------------------------------------------------------------------- combination


@pytest.mark.parametrize("seed", range(4))
def test_the_best_combination_has_the_smallest_expected_limit_of_all(store: ResultsStore, seed: int) -> None:
    """Against all maximal sets of pairwise combinable analyses."""
    tables = random_tables(6, seed)
    rng = np.random.default_rng(seed)
    events = {table.analysis: {"SR": float(rng.uniform(2.0, 20.0))} for table in tables}
    found = run(store, *tables, **events)
    analyses = [entry.analysis for entry in found.evaluated]
    forbidden = [pair for pair in combinations(range(6), 2) if rng.random() < 0.5]
    matrix = combinability_of(analyses)
    assert matrix.is_combinable.sum() == 30  # different energies
    allowed = matrix.is_combinable.copy()
    for i, j in forbidden:
        allowed[i, j] = allowed[j, i] = False
    object.__setattr__(matrix, "is_combinable", allowed)
    best = find_best_combination(found.evaluated, matrix, MultibinSettings())
    cliques = [set(c) for size in range(1, 7) for c in combinations(range(6), size) if all(allowed[i, j] for i, j in combinations(c, 2))]
    maximal = [c for c in cliques if not any(c < other for other in cliques)]
    limits = {tuple(sorted(c)): find_upper_limit(ProductLikelihood([found.evaluated[k].apriori for k in sorted(c)])).mu_ul for c in maximal}
    assert best is not None and best.members == min(limits, key=lambda c: limits[c])
    assert best.mu_ul_apriori == pytest.approx(min(limits.values()), rel=1e-9)


def test_analyses_that_share_events_are_not_multiplied(store: ResultsStore) -> None:
    """Two of one experiment and run: the facts do not list them; the user may decide otherwise."""
    tables = make_table("CMS-SUS-98-001"), make_table("CMS-SUS-98-002")
    found = run(store, *tables)
    combination = found.record.combination
    assert combination is not None and len(combination.members) == 1
    assert "no combinability facts are known" in combination.left_out[0].reason
    book = AnalysisBook(store, tables=tables)
    signal = SignalInput("test", {table.analysis: make_yields(EVENTS) for table in tables})
    both = run_signal(signal, book, MultibinSettings(), [Override("CMS-SUS-98-001", "CMS-SUS-98-002", True)]).record.combination
    assert both is not None and len(both.members) == 2
    assert both.limits.mu_ul_obs is not None and combination.limits.mu_ul_obs is not None
    assert both.limits.mu_ul_obs < combination.limits.mu_ul_obs


# ------------------------------------------------------------------------------------------------------------ outcomes


@pytest.mark.parametrize(
    ("mu_ul", "cls", "verdict"),
    [
        (0.99, 0.5, Verdict.EXCLUDED),
        (1.01, 0.01, Verdict.ALLOWED),
        (math.inf, 0.01, Verdict.ALLOWED),
        (math.nan, 0.049, Verdict.EXCLUDED),
        (math.nan, 0.051, Verdict.ALLOWED),
        (math.nan, math.nan, Verdict.UNDECIDED),
    ],
)
def test_verdicts(mu_ul: float, cls: float, verdict: Verdict) -> None:
    assert LimitValues(mu_ul_obs=mu_ul, cls_obs=cls).verdict(0.95) is verdict


def test_fits_that_take_too_long_are_counted_and_decide_nothing(store: ResultsStore) -> None:
    settings = MultibinSettings(timeout_s=1e-6)
    found = run(store, make_table(covariance=COVARIANCE), settings=settings)
    (record,) = found.record.analyses
    assert record.limits.outcome is LimitOutcome.TIMED_OUT and record.num_timeouts == 1
    assert record.limits.reason == "a fit took longer than 1e-06 s"
    assert (record.limits.verdict, found.record.verdict) == (Verdict.UNDECIDED, Verdict.UNDECIDED)
    assert found.record.combination is None and found.record.num_failed == 1


def test_what_goes_wrong_has_a_name_and_a_reason(store: ResultsStore) -> None:
    impossible = make_table("MINE-1", {"A": (3.0, 0.0, 0.0)}, experiment="ATLAS")
    unseen = make_table("MINE-2", sqrts_tev=8)
    good = make_table("MINE-3", covariance=COVARIANCE)
    events = {"MINE-1": {"A": 2.0}, "MINE-2": {"A": 0.0}}
    found = run(store, impossible, unseen, good, **events)
    outcomes = [(entry.limits.outcome, entry.limits.reason) for entry in found.record.analyses]
    assert outcomes[0] == (LimitOutcome.FIT_FAILED, "the data are impossible without signal")
    assert outcomes[1] == (LimitOutcome.NO_SIGNAL, "no signal is expected in its regions")
    assert outcomes[2] == (LimitOutcome.OK, "")
    assert [entry.limits.verdict for entry in found.record.analyses[:2]] == [Verdict.UNDECIDED] * 2
    assert found.record.num_failed == 1
    combination = found.record.combination
    assert combination is not None and combination.members == ("MINE-3",)


def test_a_learned_model_that_does_not_exist_is_not_replaced_by_another(store: ResultsStore) -> None:
    (record,) = run(store, make_table(covariance=COVARIANCE), settings=MultibinSettings(model=ModelChoice.SURROGATE)).record.analyses
    assert record.limits.outcome is LimitOutcome.NO_MODEL and "no learned model" in record.limits.reason


def test_tiny_and_huge_signals_have_limits(store: ResultsStore) -> None:
    base = run(store, make_table(covariance=COVARIANCE)).record.analyses[0].limits.mu_ul_obs
    for scale in (1e-6, 1e6):
        events = {name: scale * value for name, value in EVENTS.items()}
        limits = run(store, make_table(covariance=COVARIANCE), **{"MINE-1": events}).record.analyses[0].limits
        assert limits.mu_ul_obs is not None and base is not None
        assert limits.mu_ul_obs * scale == pytest.approx(base, rel=1e-6)


# -------------------------------------------------------------------------------------------------------------- inputs


BAD_YIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "other format": ({"format": "yields"}, "format: input should be 'protomodels-yields'"),
    "other version": ({"version": 2}, "version: input should be 1"),
    "no analyses": ({"analyses": {}}, "analyses: dictionary should have at least 1 item"),
    "negative events": ({"analyses": {"A": {"regions": {"SR": -1}}}}, "analyses[A][regions][SR][events]: input should be greater than"),
    "no number": ({"analyses": {"A": {"regions": {"SR": "many"}}}}, "analyses[A][regions][SR]: input should be a valid dictionary"),
    "infinite": ({"analyses": {"A": {"regions": {"SR": 1e999}}}}, "analyses[A][regions][SR][events]: input should be a finite number"),
    "unknown field": ({"analyses": {"A": {"regions": {"SR": {"event": 1}}}}}, "analyses[A][regions][SR][events]: this field is missing"),
    "negative uncertainty": (
        {"analyses": {"A": {"regions": {"SR": 1}, "signal_uncertainty": -0.1}}},
        "analyses[A][signal_uncertainty]: input should be greater than or equal to 0",
    ),
    "no regions": ({"analyses": {"A": {"regions": {}}}}, "analyses[A][regions]: dictionary should have at least 1 item"),
}


@pytest.mark.parametrize(("changes", "words"), BAD_YIELDS.values(), ids=BAD_YIELDS)
def test_bad_yields_name_the_field(changes: dict[str, Any], words: str) -> None:
    good = {"format": "protomodels-yields", "version": 1, "analyses": {"A": {"regions": {"SR": 1.5}}}}
    assert isinstance(parse_yields(good, "file"), YieldsFile)
    with pytest.raises(SearchFileError) as found:
        parse_yields({**good, **changes}, "file")
    assert str(found.value).startswith(f"file: {words}")


def test_unknown_analyses_and_regions_are_named_with_the_nearest(store: ResultsStore) -> None:
    book = AnalysisBook(store, tables=[make_table()])
    with pytest.raises(LimitsError, match="CMS-SUS-21-02 is no analysis of these results or of the catalogue; did you mean CMS-SUS-21-002"):
        book.find("CMS-SUS-21-02")
    with pytest.raises(LimitsError, match="CMS-SUS-19-005 is in the catalogue, but not at hand: it needs counts and covariance of all 282"):
        book.find("CMS-SUS-19-005")
    with pytest.raises(LimitsError, match=r"analyses\[CMS-SUS-21-002\]\[regions\]\[H_SR99\]: .* did you mean H_SR"):
        evaluate_analysis(book.find("CMS-SUS-21-002"), make_yields({"H_SR99": 1.0}), MultibinSettings())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"quantities": (Quantity.EXPECTED,)}, "expected values of what"),
        ({"model": ModelChoice.FULLPYHF, "backend": Backend.NUMBA}, "evaluated by pyhf"),
        ({"timeout_s": 0.0}, "greater than 0"),
    ],
)
def test_settings_that_do_not_fit(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        MultibinSettings.model_validate(values)


@pytest.mark.parametrize(
    ("places", "fields", "words"),
    [
        ({"A": "SR_x"}, {}, r"regions\[A\]: the workspace has no channel SR_x; it has CR, SR_a, SR_b"),
        ({"A": "SR_a[2]"}, {}, r"regions\[A\]: the channel SR_a has no bin 2, but 2 bins"),
        ({"A": "SR_b"}, {"experiment": None}, "experiment: this field is missing, and no results know this analysis"),
    ],
)
def test_maps_that_do_not_fit_their_workspace(store: ResultsStore, places: dict[str, str], fields: dict[str, Any], words: str) -> None:
    with pytest.raises(LimitsError, match=words):
        AnalysisBook(store, [make_user_workspace(SPEC, places, **fields)]).find("MINE-1")


def test_a_region_without_a_place_in_a_channel_of_several_bins(store: ResultsStore, tmp_path: Path) -> None:
    """A channel that is filled in part: the other bins see no signal."""
    book = AnalysisBook(store, [make_user_workspace(SPEC, {"A": "SR_a[0]"})])
    found = run_signal(SignalInput("test", {"MINE-1": make_yields({"A": 6.0})}), book, MultibinSettings())
    spec = {**SPEC, "channels": [c for c in SPEC["channels"] if c["name"] != "SR_b"]}
    spec["observations"] = [o for o in SPEC["observations"] if o["name"] != "SR_b"]
    likelihood = HistFactoryLikelihood(compile_workspace(spec), [0.0, 6.0, 0.0])
    assert found.record.analyses[0].limits.mu_ul_obs == find_upper_limit(likelihood).mu_ul
