"""Which channels of a workspace stay, and which region fills which bin."""

from __future__ import annotations

import pytest

from database.results.records import RegionRecord
from inference.analysis_models.workspace_regions import RegionError, plan_channels, select_channels
from tests.workspaces import make_workspace

SPEC = make_workspace(
    {"CRtt_cuts": ([50.0], [48.0]), "SR_meff": ([5.0, 3.0], [6.0, 2.0]), "VRtt_cuts": ([9.0], [9.0]), "SRb_cuts": ([2.0], [1.0])},
    normalised=("CRtt_cuts", "SR_meff"),
)


def by_position(*names: str) -> list[RegionRecord]:
    return [RegionRecord(name, None) for name in names]


def test_regions_go_to_bins_by_position() -> None:
    plan = plan_channels(SPEC, by_position("low", "high", "b"), includes_crs=False)
    assert plan.filled == {("SR_meff", 0): 0, ("SR_meff", 1): 1, ("SRb_cuts", 0): 2}


def test_control_regions_that_measure_a_normalisation_stay() -> None:
    regions = by_position("low", "high", "b")
    assert plan_channels(SPEC, regions, includes_crs=False).kept == ("CRtt_cuts", "SR_meff", "SRb_cuts")
    assert plan_channels(SPEC, regions, includes_crs=False, removes_crs=True).kept == ("SR_meff", "SRb_cuts")
    assert plan_channels(SPEC, regions, includes_crs=True, removes_crs=True).kept == ("CRtt_cuts", "SR_meff", "SRb_cuts")


@pytest.mark.parametrize("change", ["constrained", "fixed", "elsewhere"])
def test_control_regions_without_a_shared_free_normalisation_go(change: str) -> None:
    normalised = {"constrained": (), "fixed": ("CRtt_cuts", "SR_meff"), "elsewhere": ("CRtt_cuts",)}[change]
    spec = make_workspace({"CRtt_cuts": ([50.0], [48.0]), "SR_meff": ([5.0], [6.0])}, normalised=normalised)
    if change == "fixed":
        spec["measurements"][0]["config"]["parameters"].append({"name": "mu_bkg", "fixed": True})
    assert plan_channels(spec, by_position("a"), includes_crs=False).kept == ("SR_meff",)


def test_filled_control_regions_by_position() -> None:
    """With more regions than bins of signal regions, control regions are filled too, in the order of the observations."""
    plan = plan_channels(SPEC, by_position("cr", "low", "high", "b"), includes_crs=True)
    assert plan.filled == {("CRtt_cuts", 0): 0, ("SR_meff", 0): 1, ("SR_meff", 1): 2, ("SRb_cuts", 0): 3}


def test_regions_by_name() -> None:
    regions = [
        RegionRecord("b", "SRb_cuts"),
        RegionRecord("high", "SR_meff[1]"),
        RegionRecord("low", "SR_meff[0]"),
        RegionRecord("cr", "CRtt_cuts", "CR"),
        RegionRecord("vr", "VRtt_cuts", "VR"),
    ]
    plan = plan_channels(SPEC, regions, includes_crs=True)
    assert plan.filled == {("SRb_cuts", 0): 0, ("SR_meff", 1): 1, ("SR_meff", 0): 2, ("CRtt_cuts", 0): 3}
    assert "VRtt_cuts" not in plan.kept
    without = plan_channels(SPEC, regions, includes_crs=False)
    assert without.kept == ("CRtt_cuts", "SR_meff", "SRb_cuts")
    assert ("CRtt_cuts", 0) not in without.filled


def test_signal_regions_that_nobody_names_go() -> None:
    assert plan_channels(SPEC, [RegionRecord("b", "SRb_cuts")], includes_crs=False).kept == ("SRb_cuts",)


@pytest.mark.parametrize(
    ("regions", "reason"),
    [
        (by_position("a"), "1 regions for more bins"),
        (by_position("a", "b", "c", "d"), "4 regions for 3 bins"),
        ([RegionRecord("a", "nowhere")], "no channel 'nowhere'"),
        ([RegionRecord("a", "SR_meff[2]")], "no bin 2"),
        ([RegionRecord("a", "SR_meff")], "has 2 bins"),
    ],
)
def test_regions_that_do_not_fit_are_refused(regions: list[RegionRecord], reason: str) -> None:
    with pytest.raises(RegionError, match=reason):
        plan_channels(SPEC, regions, includes_crs=False)


def test_selected_channels_keep_their_observations() -> None:
    selected = select_channels(SPEC, ("SRb_cuts",))
    assert [entry["name"] for entry in selected["channels"]] == [entry["name"] for entry in selected["observations"]] == ["SRb_cuts"]
    assert len(SPEC["channels"]) == 4
