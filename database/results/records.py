"""What a compiled store says of each result: values that travel as JSON beside the arrays."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["upperLimit", "efficiencyMap"]
StatModel = Literal["none", "sl_v1", "sl_v2", "pyhf", "region_sets"]


@dataclass(frozen=True, slots=True)
class RegionRecord:
    """One channel of a HistFactory workspace.

    Attributes:
        smodels: data set that fills it, or None.
        pyhf: name of the channel in the workspace (`name[bin]` for one bin), None if assigned by position.
        type: "SR", "CR" or "VR".
    """

    smodels: str | None
    pyhf: str | None
    type: str = "SR"


@dataclass(frozen=True, slots=True)
class WorkspaceRecord:
    """One HistFactory workspace (background only) and its regions, in the published order.

    Attributes:
        file: name as published.
        path: where the store keeps it, relative to the store.
        regions: its channels.
    """

    file: str
    path: str
    regions: tuple[RegionRecord, ...]


@dataclass(frozen=True, slots=True)
class ModelFileRecord:
    """One statistical model of a set of regions.

    Attributes:
        kind: "sl" (covariance), "pyhf" (workspace), "full_pyhf" (un-simplified workspace) or "onnx" (neural network).
        file: name as published.
        path: where the store keeps it, relative to the store; "" if it is missing, or a covariance.
        is_missing: whether it is absent or broken.
    """

    kind: str
    file: str
    path: str = ""
    is_missing: bool = False


@dataclass(frozen=True, slots=True)
class RegionSetRecord:
    """A set of regions that one statistical model combines, as published in the format of release 3.2.

    Attributes:
        name: as published.
        regions: its regions, in the order of the models.
        datasets: data set that fills each region, counted from the first of the result; −1 without one.
        networks: names of the regions in neural networks; empty if none is published.
        models: its statistical models, in the published order of preference.
        rows: data set of each row of the covariance, counted from the first of the result; empty without one.
        covariance_offset: where its covariance [events²] starts in the store's flat array, −1 without one.
        covariance_size: number of rows of the covariance.
    """

    name: str
    regions: tuple[RegionRecord, ...]
    datasets: tuple[int, ...]
    networks: tuple[str | None, ...]
    models: tuple[ModelFileRecord, ...]
    rows: tuple[int, ...]
    covariance_offset: int = -1
    covariance_size: int = 0


@dataclass(frozen=True, slots=True)
class StatPayload:
    """What the statistical model of a result needs.

    Attributes:
        covariance_offset: where its covariance [events²] starts in the store's flat array, −1 without one.
        covariance_size: number of rows of the covariance; they belong to the first data sets of the result.
        workspaces: simplified or only workspaces, those that are present.
        full_workspaces: un-simplified workspaces beside simplified ones, those that are present.
        missing_files: workspaces that are named but absent or broken.
        includes_crs: whether control regions stay in the model.
        signal_uncertainty: relative uncertainty of the signal yields, or None.
        region_sets: sets of regions in the format of release 3.2, empty for the older one; they hold their files and covariances.
        num_combined: number of data sets, the first ones of the result, that occur in some set; 0 for the older format.
    """

    covariance_offset: int = -1
    covariance_size: int = 0
    workspaces: tuple[WorkspaceRecord, ...] = ()
    full_workspaces: tuple[WorkspaceRecord, ...] = ()
    missing_files: tuple[str, ...] = ()
    includes_crs: bool = False
    signal_uncertainty: float | None = None
    region_sets: tuple[RegionSetRecord, ...] = ()
    num_combined: int = 0


@dataclass(frozen=True, slots=True)
class ResultRecord:
    """One published result of one kind.

    Attributes:
        index: position in the store.
        analysis_id: e.g. "CMS-SUS-19-006".
        folder: folder in the text database, e.g. "13TeV/CMS/CMS-SUS-19-006-agg"; unique.
        experiment: "ATLAS" or "CMS".
        sqrts_tev: 8 or 13 [TeV].
        lumi_ifb: integrated luminosity [fb⁻¹].
        kind: whether it gives cross-section limits or efficiencies.
        dataset_start: first data set in the store's data set arrays.
        dataset_stop: one past the last.
        stat_model: how its signal regions are combined.
        stat_payload: what that needs.
        lifetime: "prompt" or "displaced".
        leff_inner_m: inner effective length of the lifetime weighting [m], nan for the default.
        leff_outer_m: outer effective length [m], nan for the default.
        url: page of the analysis.
        arxiv: preprint.
        publication: journal reference.
        doi: identifier of the publication.
        supersedes: analyses that it replaces.
        superseded_by: analyses that replace it.
        contact: whom to ask.
        is_approximate: whether its maps are fits made for demonstration and tests.
        fit_error: typical relative error of those fits, nan for published maps.
        notes: what is not usable, and why.
    """

    index: int
    analysis_id: str
    folder: str
    experiment: str
    sqrts_tev: int
    lumi_ifb: float
    kind: Kind
    dataset_start: int
    dataset_stop: int
    stat_model: StatModel = "none"
    stat_payload: StatPayload = field(default_factory=StatPayload)
    lifetime: str = "prompt"
    leff_inner_m: float = float("nan")
    leff_outer_m: float = float("nan")
    url: str = ""
    arxiv: str = ""
    publication: str = ""
    doi: str = ""
    supersedes: tuple[str, ...] = ()
    superseded_by: tuple[str, ...] = ()
    contact: str = ""
    is_approximate: bool = False
    fit_error: float = float("nan")
    notes: tuple[str, ...] = ()

    @property
    def num_datasets(self) -> int:
        """Number of data sets."""
        return self.dataset_stop - self.dataset_start

    @property
    def num_combined(self) -> int:
        """Number of data sets, the first ones, that the statistical model combines."""
        return self.stat_payload.num_combined or self.stat_payload.covariance_size or self.num_datasets

    def to_json(self) -> dict[str, Any]:
        """Returns plain values; nan becomes None."""
        plain = asdict(self)
        for name in ("leff_inner_m", "leff_outer_m", "fit_error"):
            if plain[name] != plain[name]:
                plain[name] = None
        if not self.stat_payload.region_sets:
            del plain["stat_payload"]["region_sets"], plain["stat_payload"]["num_combined"]
        return plain

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> ResultRecord:
        """Returns the record that `to_json` wrote."""
        values = dict(plain)
        for name in ("leff_inner_m", "leff_outer_m", "fit_error"):
            if values[name] is None:
                values[name] = float("nan")
        for name in ("supersedes", "superseded_by", "notes"):
            values[name] = tuple(values[name])
        values["stat_payload"] = _payload(values["stat_payload"])
        return cls(**values)


def _payload(plain: dict[str, Any]) -> StatPayload:
    def workspaces(records: list[dict[str, Any]]) -> tuple[WorkspaceRecord, ...]:
        return tuple(WorkspaceRecord(w["file"], w["path"], tuple(RegionRecord(**region) for region in w["regions"])) for w in records)

    return StatPayload(
        **{
            **plain,
            "workspaces": workspaces(plain["workspaces"]),
            "full_workspaces": workspaces(plain["full_workspaces"]),
            "missing_files": tuple(plain["missing_files"]),
            "region_sets": tuple(_region_set(record) for record in plain.get("region_sets", ())),
        }
    )


def _region_set(plain: dict[str, Any]) -> RegionSetRecord:
    return RegionSetRecord(
        **{
            **plain,
            "regions": tuple(RegionRecord(**region) for region in plain["regions"]),
            "datasets": tuple(plain["datasets"]),
            "networks": tuple(plain["networks"]),
            "rows": tuple(plain["rows"]),
            "models": tuple(ModelFileRecord(**model) for model in plain["models"]),
        }
    )
