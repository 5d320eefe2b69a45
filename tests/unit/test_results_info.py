"""What `results info` says of each result, and leaving superseded analyses out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from configs.schema import ResultsSettings
from database.errors import ConfigError
from database.results.importer import import_text_database
from database.results.info import LONG_LIVED_NOTE, MEDIATOR_NOTE, R_PARITY_NOTE, describe, find_successors
from database.results.store import ResultsStore
from inference.predictions import Predictor
from inference.settings import PredictionSettings
from inference.spectrum import Spectrum
from services.campaign.selection import select_results
from tests.text_database import TextDatabase, write_map

STOPS = Spectrum({1000006: 400.0, 1000022: 100.0}, {1000006: (((6, 1000022), 1.0),)}, {13: {(-1000006, 1000006): 10.0}})


@pytest.fixture
def database(tmp_path: Path) -> TextDatabase:
    return TextDatabase(tmp_path / "text")


def load(database: TextDatabase) -> ResultsStore:
    return import_text_database(database.root, database.root.parent / "store", num_workers=0)


def superseding(database: TextDatabase) -> ResultsStore:
    """The first says that it is replaced, of the second the third does, the fourth's successor is not there."""
    database.limits(database.result("13TeV/CMS/CMS-PAS-SUS-00-001", "supersededBy: CMS-SUS-00-002 (more data)"))
    database.limits(database.result("13TeV/CMS/CMS-SUS-00-001"))
    database.limits(database.result("13TeV/CMS/CMS-SUS-00-002", "supersedes: CMS_SUS_00_001, CMS-SUS-99-999"))
    database.efficiencies(database.region(database.result("13TeV/CMS/CMS-SUS-00-002-agg", analysis_id="CMS-SUS-00-002-agg"), "SR1"))
    database.limits(database.result("13TeV/CMS/CMS-SUS-00-003", "supersededBy: CMS-SUS-00-004"))
    return load(database)


def test_successors_are_found_from_either_side(database: TextDatabase) -> None:
    store = superseding(database)
    found = {record.folder.rsplit("/", 1)[-1]: names for record, names in zip(store.results, find_successors(store.results), strict=True)}
    assert found == {
        "CMS-PAS-SUS-00-001": ("CMS-SUS-00-002",),
        "CMS-SUS-00-001": ("CMS-SUS-00-002",),
        "CMS-SUS-00-002": (),
        "CMS-SUS-00-002-agg": (),
        "CMS-SUS-00-003": (),
    }


def test_rows_name_successors_and_other_treatments(database: TextDatabase) -> None:
    rows = {row.analysis_id: row for row in describe(superseding(database))}
    assert rows["CMS-SUS-00-001"].superseded_by == ("CMS-SUS-00-002",)
    assert rows["CMS-SUS-00-002"].variants == ("CMS-SUS-00-002-agg",)
    assert rows["CMS-SUS-00-002-agg"].variants == ("CMS-SUS-00-002",)
    assert rows["CMS-SUS-00-003"].variants == rows["CMS-SUS-00-003"].superseded_by == ()


def test_superseded_analyses_can_be_left_out(database: TextDatabase) -> None:
    store = superseding(database)

    def analyses(settings: ResultsSettings) -> set[str]:
        found = Predictor(select_results(store, settings), PredictionSettings()).predict(STOPS)
        return {store.results[number].analysis_id for number in np.unique(found.result).tolist()}

    everything = {record.analysis_id for record in store.results}
    assert analyses(ResultsSettings()) == everything
    assert analyses(ResultsSettings(exclude_superseded=True)) == everything - {"CMS-PAS-SUS-00-001", "CMS-SUS-00-001"}
    with pytest.raises(ConfigError, match="leaves no map"):
        select_results(store, ResultsSettings(exclude_superseded=True, select_analyses=("CMS-SUS-00-001",)))


def test_what_a_map_asks_for_is_said(database: TextDatabase) -> None:
    data = database.result("13TeV/ATLAS/ATLAS-SUSY-00-001") / "data"
    data.mkdir()
    (data / "dataInfo.txt").write_text("dataType: upperLimit\ndataId: None\n")
    points = [(200.0, 100.0), (300.0, 100.0), (300.0, 200.0)]

    def limits(*names: str) -> str:
        return "[" + ",".join(f"[[{','.join(str(m) for m in point[: len(names)])}],1.*fb]" for point in points) + "]"

    axes = "{0: (1, 'mass', GeV), 1: (2, 'mass', GeV)}"
    write_map(
        data / "TRV1.txt", "TRV1", "{(PV > Zprime(1)), (Zprime(1) > MET(2),MET(3))}", {"dataMap": axes, "upperLimits": limits("a", "b")}
    )
    write_map(data / "THSCP.txt", "THSCP", "{(PV > HSCP(1),HSCP(2))}", {"dataMap": axes, "upperLimits": limits("a", "b")})
    rpv = "{(PV > anyBSM(1),anyBSM(2)), (anyBSM(1) > jet,jet), (anyBSM(2) > jet,jet)}"
    write_map(data / "TRPV.txt", "TRPV", rpv, {"dataMap": axes, "upperLimits": limits("a", "b")})
    database.limits(data.parent)
    (row,) = describe(load(database))
    assert (row.num_maps, row.num_usable_maps, row.num_long_lived_maps) == (4, 3, 1)
    assert [note for note in row.notes if "expected limits" not in note] == sorted(
        [f"{LONG_LIVED_NOTE}: THSCP (1 maps)", f"{MEDIATOR_NOTE}: TRV1 (1 maps)", f"{R_PARITY_NOTE}: TRPV (1 maps)"]
    )
