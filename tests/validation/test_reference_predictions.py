"""Our predictions against those of SModelS 3.0.3 for random protomodels, full database."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.agreement import compare
from builder.model_io import read_models
from database.results.store import ResultsStore
from inference.analysis_models.registry import find_analysis_model
from inference.predictions import Predictor
from inference.rows import prediction_rows
from inference.settings import Conventions, PredictionSettings

pytestmark = pytest.mark.full_database


def test_same_predictions_as_the_reference(full_store: ResultsStore, reference_data: Path, reference_kernels: None) -> None:
    """Cross sections and limits within 1e-4 for 99.5 % and 0.5 % for all, ln-likelihood differences within 1e-3.

    Among the combined predictions are 39 of full or simplified HistFactory workspaces.
    """
    models = read_models(reference_data / "reference_protomodels.json")
    reference = json.loads((reference_data / "reference_predictions.json").read_text())
    predictor = Predictor(full_store, PredictionSettings(conventions=Conventions.SMODELS))
    answers = {
        str(number): {"predictions": prediction_rows(predictor, predictor.predict(model.spectrum()))} for number, model in enumerate(models)
    }
    evaluated = [record for record in full_store.results if find_analysis_model(full_store, record.index, Conventions.SMODELS) is not None]
    agreement = compare(answers, reference, frozenset(record.analysis_id for record in evaluated))
    assert agreement.num_models == 80
    assert not agreement.missing
    assert not agreement.extra
    assert agreement.num_matched > 9900
    for name, quantity in agreement.quantities.items():
        assert quantity.num_undefined_on_one_side == 0, name
        if "nll" in name:
            assert quantity.worst[0] < 1e-3, (name, quantity.worst)
        elif not name.startswith("combined ul"):  # the reference's own root search stops at 1e-3, and at 1 % with third moments
            assert quantity.fraction_within(1e-4) >= 0.995, name
            assert quantity.worst[0] < 5e-3, (name, quantity.worst)
        else:
            skewed = {record.analysis_id for record in evaluated if record.stat_model == "sl_v2"}
            first_order = [(value, where) for value, where in quantity.differences if where.split()[2] not in skewed]
            assert len(first_order) == 144
            assert max(first_order) < (1.5e-3, ""), name
            assert quantity.worst[0] < 1e-2, (name, quantity.worst)
    workspaces = {record.analysis_id for record in evaluated if record.stat_model == "pyhf"}
    in_workspaces = [value for value, where in agreement.quantities["combined nll0-nll1 obs"].differences if where.split()[2] in workspaces]
    assert len(in_workspaces) == 35
    assert max(in_workspaces) < 5e-6
    assert len(agreement.unfinished) == 7  # full likelihoods that SModelS gave up; test_workspace_predictions.py has them by pyhf


def test_published_limits_of_cms_sus_19_006(full_store: ResultsStore) -> None:
    """Limits quoted in arXiv:2012.12246 (Table 4) at the winner's masses."""
    from inference.spectrum import Spectrum
    from inference.types import PredictionKind

    predictor = Predictor(full_store, PredictionSettings())
    for pid, quark, mass, txname, expected in ((1000001, 1, 735.0, "T2", (18.45, 21.57)), (1000006, 6, 1166.0, "T2tt", (2.04, 2.08))):
        spectrum = Spectrum({pid: mass, 1000022: 163.0}, {pid: (((quark, 1000022), 1.0),)}, {13: {(-pid, pid): 10.0}})
        found = predictor.predict(spectrum)
        rows = [
            i
            for i in range(found.result.size)
            if full_store.results[found.result[i]].analysis_id == "CMS-SUS-19-006"
            and found.kind[i] == PredictionKind.UPPER_LIMIT
            and full_store.map_txnames[found.map_ids[i][0]] == txname
        ]
        (i,) = rows
        assert (float(found.ul_obs_fb[i]), float(found.ul_exp_fb[i])) == pytest.approx(expected, abs=0.006)
