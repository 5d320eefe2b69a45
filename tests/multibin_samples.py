"""Small analyses for tests of limits: tables of counts, workspaces of users, yields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from database.searches.records import PublishedTable, RegionMap
from database.searches.workspaces import WorkspaceFile, content_digest
from inference.multibin.user_models import UserWorkspace
from inference.multibin.yields import AnalysisYields

COVARIANCE = [[9.0, 3.0, 1.0], [3.0, 4.0, 0.5], [1.0, 0.5, 1.0]]
COUNTS = {"A": (52.0, 50.0, 3.0), "B": (18.0, 20.0, 2.0), "C": (4.0, 5.0, 1.0)}


def make_table(
    name: str = "MINE-1", counts: Mapping[str, tuple[float, float, float]] = COUNTS, experiment: str = "CMS", **fields: Any
) -> PublishedTable:
    """A table of counts: observed, background and its error by region."""
    regions = [{"name": region, "observed": n, "background": b, "background_error": error} for region, (n, b, error) in counts.items()]
    plain = {"analysis": name, "experiment": experiment, "sqrts_tev": 13, "lumi_ifb": 137, "source": "test", "regions": regions}
    return PublishedTable.model_validate({**plain, **fields})


def make_yields(events: Mapping[str, Any], **fields: Any) -> AnalysisYields:
    """Signal per region."""
    return AnalysisYields.model_validate({"regions": dict(events), **fields})


def make_user_workspace(spec: dict[str, Any], regions: Mapping[str, Any], name: str = "MINE-1", **fields: Any) -> UserWorkspace:
    """A workspace that was read from a file, with its map."""
    plain = {"analysis": name, "experiment": "ATLAS", "sqrts_tev": 13, "regions": dict(regions), **fields}
    file = WorkspaceFile("BkgOnly.json", Path("BkgOnly.json"), "", spec, 64 * "0", content_digest(spec))
    return UserWorkspace(file, RegionMap.model_validate(plain), "its digest is not known")


def random_tables(num: int, seed: int) -> Sequence[PublishedTable]:
    """One-region analyses of different energies, so that all combine."""
    rng = np.random.default_rng(seed)
    tables = []
    for k in range(num):
        b = float(rng.uniform(2.0, 80.0))
        counts = {"SR": (float(rng.poisson(b)), b, 0.1 * b)}
        tables.append(make_table(f"MINE-{k}", counts, sqrts_tev=k + 1))
    return tables
