"""Analyses with several sets of regions: which set speaks for a signal, and with which model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from database.results.importer import import_text_database
from database.results.records import ModelFileRecord, RegionRecord, RegionSetRecord
from database.results.store import ResultsStore
from inference.analysis_models.placed import PlacedModel, UnusableModelError
from inference.analysis_models.protocol import AnalysisLikelihood, AnalysisModel
from inference.analysis_models.region_sets import RegionSet, RegionSetsModel
from inference.analysis_models.registry import find_analysis_model
from inference.likelihoods.covariance import CovarianceLikelihood, CovarianceModel
from inference.limits import find_upper_limit
from inference.predictions import Predictor
from inference.settings import Conventions, PredictionSettings
from inference.spectrum import Spectrum
from inference.types import DataKind, FloatArray, Outcome, PredictionKind
from tests.text_database import TextDatabase

STOPS = Spectrum({1000006: 400.0, 1000022: 100.0}, {1000006: (((6, 1000022), 1.0),)}, {13: {(-1000006, 1000006): 10.0}})
NUM_DATASETS = 6


def covariance_model(rng: np.random.Generator, size: int, is_skewed: bool = False, scale: float = 1.0) -> CovarianceModel:
    background = scale * rng.uniform(0.05, 30.0, size)
    vectors = rng.normal(size=(size, size))
    deviations = rng.uniform(0.1, 0.5, size) * background + 0.05
    correlation = vectors @ vectors.T + np.eye(size)
    norm = np.sqrt(np.diag(correlation))
    covariance = correlation / np.outer(norm, norm) * np.outer(deviations, deviations)
    third = 0.3 * deviations**3 if is_skewed else None
    return CovarianceModel(rng.poisson(background).astype(float), background, covariance, third)


def as_set(name: str, model: AnalysisModel, columns: list[int], num_datasets: int = NUM_DATASETS) -> RegionSet:
    regions = tuple(RegionRecord(f"SR{column}", None) for column in columns)
    record = RegionSetRecord(name, regions, tuple(columns), (), (ModelFileRecord("sl", f"{name}.txt"),), tuple(columns))
    return RegionSet(record, num_datasets, lambda file: PlacedModel(model, np.array(columns, dtype=np.int32)))


def expected_limit(region_set: RegionSet, yields: FloatArray) -> float:
    likelihood = region_set.likelihood(yields, DataKind.APRIORI)
    assert likelihood is not None
    return find_upper_limit(likelihood).mu_ul


def random_sets(rng: np.random.Generator) -> list[RegionSet]:
    found = []
    for number in range(int(rng.integers(2, 5))):
        columns = rng.permutation(NUM_DATASETS)[: int(rng.integers(1, 5))].tolist()
        scale = float(10.0 ** rng.uniform(-1.5, 1.5))
        found.append(as_set(f"set{number}", covariance_model(rng, len(columns), bool(rng.integers(2)), scale), columns))
    return found


def test_the_chosen_set_has_the_smallest_expected_limit() -> None:
    rng = np.random.default_rng(5)
    chosen: list[int] = []
    for _ in range(60):
        sets = random_sets(rng)
        yields = rng.exponential(2.0, NUM_DATASETS) * (rng.random(NUM_DATASETS) < 0.7)
        seen = [k for k, entry in enumerate(sets) if entry.has_signal(yields)]
        if not seen:
            continue
        found = RegionSetsModel(sets, NUM_DATASETS).choose(yields)
        limits = {k: expected_limit(sets[k], yields) for k in seen}
        assert limits[found] <= min(limits.values()) * (1.0 + 1e-6)
        chosen.append(found)
    assert len(chosen) > 50 and len(set(chosen)) == 4


def test_the_choice_does_not_depend_on_data_scale_or_history() -> None:
    rng = np.random.default_rng(6)
    sets = [as_set(f"set{k}", covariance_model(rng, 3, k == 1), columns) for k, columns in enumerate(([0, 1, 2], [2, 3, 4], [5, 1, 3]))]
    model = RegionSetsModel(sets, NUM_DATASETS)
    signals = [rng.exponential(2.0, NUM_DATASETS) for _ in range(20)]
    found = [model.choose(signal) for signal in signals]
    assert len(set(found)) > 1
    assert [RegionSetsModel(sets, NUM_DATASETS).choose(signal) for signal in reversed(signals)] == found[::-1]
    assert [model.choose(17.0 * signal) for signal in signals] == found
    for signal, choice in zip(signals, found, strict=True):
        for kind in DataKind:
            assert model.likelihood(signal, kind).set_name == sets[choice].record.name


def test_equal_sets_go_to_the_first() -> None:
    model = covariance_model(np.random.default_rng(1), 2)
    columns = [3, 1]
    twins = RegionSetsModel([as_set("a", model, columns), as_set("b", model, columns)], NUM_DATASETS)
    assert twins.likelihood(np.ones(NUM_DATASETS)).set_name == "a"


def test_few_fits_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(9)
    models = [covariance_model(rng, 3) for _ in range(3)]
    sets = [as_set(f"set{k}", model, [k, k + 1, k + 2]) for k, model in enumerate(models)]
    analysis = RegionSetsModel(sets, NUM_DATASETS)
    counts: list[int] = []
    original = CovarianceModel.fit

    def counted(self: CovarianceModel, *args: object) -> object:
        counts[-1] += 1
        return original(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(CovarianceModel, "fit", counted)
    for _ in range(40):
        counts.append(0)
        analysis.choose(rng.exponential(2.0, NUM_DATASETS))
    assert np.median(counts) <= 3
    assert max(counts) <= 10


def test_slopes_belong_to_the_data_sets_of_the_chosen_set() -> None:
    rng = np.random.default_rng(2)
    analysis = RegionSetsModel([as_set("a", covariance_model(rng, 2), [4, 0])], NUM_DATASETS)
    signal = rng.uniform(1.0, 3.0, NUM_DATASETS)
    likelihood = analysis.likelihood(signal)
    slopes = likelihood.signal_slopes(0.7)
    assert isinstance(likelihood, AnalysisLikelihood)
    assert np.flatnonzero(slopes).tolist() == [0, 4]
    for column in (0, 4):
        step = np.zeros(NUM_DATASETS)
        step[column] = 1e-5
        high, low = (analysis.likelihood(signal + sign * step).log_ratio(0.7).value for sign in (1.0, -1.0))
        assert slopes[column] == pytest.approx((high - low) / 2e-5, rel=1e-5)
    assert likelihood.log_ratio(0.7).slope * 0.7 == pytest.approx(slopes @ signal)


class RefusingModel:
    """A learned model that knows small signals only."""

    num_regions = 2

    def likelihood(self, yields: FloatArray, data_kind: DataKind = DataKind.OBSERVED) -> RefusingLikelihood:
        return RefusingLikelihood(covariance_model(np.random.default_rng(1), 2), yields, data_kind)


class RefusingLikelihood(CovarianceLikelihood):
    @property
    def outcome(self) -> Outcome:
        return Outcome.OUTSIDE_DOMAIN if self.signal.sum() > 10.0 else Outcome.OK


def two_models(first: PlacedModel | str) -> RegionSet:
    second = PlacedModel(covariance_model(np.random.default_rng(2), 2), np.array([0, 1], dtype=np.int32))

    def build(file: ModelFileRecord) -> PlacedModel:
        if file.kind == "sl":
            return second
        if isinstance(first, str):
            raise UnusableModelError(first)
        return first

    files = (ModelFileRecord("pyhf", "gone.json", is_missing=True), ModelFileRecord("onnx", "n.onnx", "n"), ModelFileRecord("sl", "c.txt"))
    record = RegionSetRecord("all", (RegionRecord("SR0", None), RegionRecord("SR1", None)), (0, 1), (), files, (0, 1))
    return RegionSet(record, 2, build)


def test_outside_the_domain_of_the_first_model_the_next_one_speaks() -> None:
    analysis = RegionSetsModel([two_models(PlacedModel(RefusingModel(), np.array([0, 1], dtype=np.int32)))], 2)
    small, large = analysis.likelihood(np.array([1.0, 2.0])), analysis.likelihood(np.array([10.0, 20.0]))
    assert (small.file.file, large.file.file) == ("n.onnx", "c.txt")
    assert small.outcome is large.outcome is Outcome.OK
    assert analysis.likelihood(np.array([1.0, 2.0]), DataKind.APRIORI).file.file == "n.onnx"


def test_a_model_that_cannot_be_evaluated_is_passed_over_with_its_reason() -> None:
    region_set = two_models("it has the operator LSTM")
    assert region_set.is_usable
    assert region_set.file == ModelFileRecord("sl", "c.txt")
    assert region_set.problems == ["n.onnx of the region set 'all' is not evaluated: it has the operator LSTM"]


def test_without_signal_the_first_set_is_flat() -> None:
    analysis = RegionSetsModel(random_sets(np.random.default_rng(3)), NUM_DATASETS)
    likelihood = analysis.likelihood(np.zeros(NUM_DATASETS))
    assert likelihood.set_name == "set0"
    assert likelihood.log_ratio(1.0).value == pytest.approx(0.0, abs=1e-12)


# ------------------------------------------------------------------------------------------------- through the database


@pytest.fixture
def database(tmp_path: Path) -> TextDatabase:
    return TextDatabase(tmp_path / "db", "3.2.0")


def load(database: TextDatabase) -> ResultsStore:
    return import_text_database(database.root, database.root.parent / "store", num_workers=0)


def test_sets_with_covariances_compete_for_a_prediction(database: TextDatabase) -> None:
    result = database.result(
        "13TeV/CMS/CMS-SUS-00-003-eff",
        "regionSets: {'loose': ['SR1', 'SR2'], 'tight': ['SR3', 'SR1'], 'gone': ['SR4']}",
        "statModels: {'loose': [('pyhf', 'none.json'), ('sl', 'loose.txt')], 'tight': [('sl', 'tight.txt')], 'gone': [('sl', 'no.txt')]}",
    )
    for number, (scale, background) in enumerate(((0.02, 50.0), (0.01, 40.0), (0.03, 4.0), (0.01, 3.0)), start=1):
        region = database.region(result, f"SR{number}", observed=int(background) + number, expected=background)
        database.efficiencies(region, scale=scale)
    (result / "loose.txt").write_text("[[25., 3.], [3., 16.]]")
    (result / "tight.txt").write_text("[[1., 0.5], [0.5, 25.]]")
    store = load(database)
    found = Predictor(store, PredictionSettings()).predict(STOPS)
    model = find_analysis_model(store, 0, Conventions.DEFAULT)
    assert isinstance(model, RegionSetsModel)
    assert store.dataset_ids == ("SR1", "SR2", "SR3", "SR4")
    assert [(entry.record.name, entry.file.file if entry.file else "") for entry in model.sets] == [
        ("loose", "loose.txt"),
        ("tight", "tight.txt"),
    ]
    yields = found.region_yields[0]
    assert yields.shape == (3,)
    likelihood = model.likelihood(yields)
    assert likelihood.set_name == "tight"
    by_hand = CovarianceModel([7.0, 51.0], [4.0, 50.0], [[1.0, 0.5], [0.5, 25.0]]).likelihood(yields[[2, 0]])
    assert likelihood.nll(1.0) == by_hand.nll(1.0)
    only_loose = yields * [1.0, 1.0, 0.0]
    assert model.likelihood(only_loose).set_name == "loose"
    xsec = dict(zip((store.dataset_ids[d] for d in found.dataset if d >= 0), found.xsec_fb, strict=False))
    (combined,) = found.xsec_fb[found.kind == PredictionKind.COMBINED]
    assert combined == pytest.approx(xsec["SR1"] + xsec["SR2"] + xsec["SR3"])


def test_third_moments_of_the_rows_decide(database: TextDatabase) -> None:
    result = database.result(
        "13TeV/CMS/CMS-SUS-00-003-eff", "regionSets: {'a': ['SR2'], 'b': ['SR1']}", "statModels: {'a': [('sl', 'c')], 'b': [('sl', 'c')]}"
    )
    database.efficiencies(database.region(result, "SR1"))
    database.efficiencies(database.region(result, "SR2", "thirdMoment: 0.3"))
    (result / "c").write_text("[[1.]]")
    model = find_analysis_model(load(database), 0, Conventions.DEFAULT)
    assert isinstance(model, RegionSetsModel)
    skewed, symmetric = (entry.likelihood(np.ones(2), DataKind.OBSERVED) for entry in model.sets)
    assert skewed is not None and symmetric is not None
    assert (skewed.is_concave, symmetric.is_concave) == (False, True)
