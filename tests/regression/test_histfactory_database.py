"""All HistFactory workspaces of database 3.0.0: -ln L equals pyhf's at random parameters, fits converge for strong signals."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from database.results.store import ResultsStore
from inference.likelihoods.histfactory import HistFactoryLikelihood, HistFactorySettings, compile_workspace
from inference.limits import find_upper_limit
from inference.types import Outcome

pyhf = pytest.importorskip("pyhf")
logging.getLogger("pyhf").setLevel(logging.CRITICAL)
pytestmark = [pytest.mark.full_database, pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning")]

SMALL_FILE = 40_000
"""Bytes; pyhf needs seconds to build larger models."""


def workspace_files(store: ResultsStore, is_small: bool) -> Iterator[Path]:
    for path in sorted((store.path / "workspaces").rglob("*.json")):
        if (path.stat().st_size < SMALL_FILE) is is_small:
            yield path


def with_signal(spec: dict[str, Any], bins: tuple[tuple[str, int], ...], signal: np.ndarray, poi: str, has_lumi: bool) -> dict[str, Any]:
    """The workspace patched as SModelS does: the signal carries its strength, luminosity and a correlated uncertainty of 22 %."""
    channels = []
    for channel in spec["channels"]:
        data = [float(s) for s, (name, _) in zip(signal, bins, strict=True) if name == channel["name"]]
        modifiers: list[dict[str, Any]] = [{"name": poi, "type": "normfactor", "data": None}]
        if has_lumi:
            modifiers.append({"name": "lumi", "type": "lumi", "data": None})
        variations = {"lo_data": [0.78 * s for s in data], "hi_data": [1.22 * s for s in data]}
        modifiers.append({"name": "signalUncertainty", "type": "histosys", "data": variations})
        channels.append({**channel, "samples": [{"name": "bsm", "data": data, "modifiers": modifiers}, *channel["samples"]]})
    return {**spec, "channels": channels}


def compare_with_pyhf(path: Path) -> None:
    pyhf.set_backend("numpy")
    spec = json.loads(path.read_text())
    model = compile_workspace(spec, settings=HistFactorySettings(signal_uncertainty=0.22))
    rng = np.random.default_rng(5)
    signal = rng.lognormal(0.0, 1.0, model.num_bins)
    workspace = pyhf.Workspace(with_signal(spec, model.bins, signal, model.poi_name, "lumi" in model.parameter_names))
    reference = workspace.model()
    data = np.array(workspace.data(reference))
    names = list(reference.config.par_names)
    assert sorted(names) == sorted(model.parameter_names)
    order = [model.parameter_names.index(name) for name in names]
    bounds = np.array(reference.config.suggested_bounds(), dtype=float)
    np.testing.assert_array_equal(model.table.inits[order], reference.config.suggested_init())
    np.testing.assert_array_equal(model.table.is_fixed[order], reference.config.suggested_fixed())
    arrays = model.signal_arrays(signal)
    num_compared = 0
    for width in (0.0, 0.2, 0.2, 1.0, 1.0):
        moved = np.array(reference.config.suggested_init()) + width * rng.normal(size=len(names)) * np.where(bounds[:, 0] < -1.0, 1.0, 0.1)
        theirs = np.clip(moved, bounds[:, 0], bounds[:, 1])
        ours = np.empty(len(names))
        ours[order] = theirs
        with np.errstate(all="ignore"):
            expected = -float(reference.logpdf(theirs, data)[0])
        if math.isfinite(expected):
            num_compared += 1
            assert model.nll_at(ours, arrays) == pytest.approx(expected, rel=1e-9), path.name
        else:
            assert model.nll_at(ours, arrays) == math.inf
    assert num_compared >= 2


def test_small_workspaces_equal_pyhf(full_store: ResultsStore) -> None:
    files = list(workspace_files(full_store, is_small=True))
    assert len(files) == 16
    for path in files:
        compare_with_pyhf(path)


@pytest.mark.slow
def test_large_workspaces_equal_pyhf(full_store: ResultsStore) -> None:
    files = list(workspace_files(full_store, is_small=False))
    assert len(files) == 9
    for path in files:
        compare_with_pyhf(path)


def test_every_fit_converges_up_to_five_times_the_limit(full_store: ResultsStore) -> None:
    for is_small in (True, False):
        for path in workspace_files(full_store, is_small):
            model = compile_workspace(json.loads(path.read_text()))
            assert model.background_fit().outcome is Outcome.OK
            rng = np.random.default_rng(3)
            for _ in range(3):
                signal = rng.lognormal(0.0, 1.5, model.num_bins)
                limit = find_upper_limit(HistFactoryLikelihood(model, signal))
                assert limit.outcome is Outcome.OK, path.name
                strong = HistFactoryLikelihood(model, 5.0 * limit.mu_ul * signal)
                assert strong.fit(1.0).outcome is Outcome.OK, path.name
                assert strong.best_fit.nll <= min(strong.nll(0.0), strong.nll(1.0)) + 1e-6, path.name
