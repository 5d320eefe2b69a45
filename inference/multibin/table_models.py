"""Analyses that are known by their counts only: packaged tables of the catalogue, and tables of users."""

from __future__ import annotations

import numpy as np

from database.searches.catalogue import Search
from database.searches.records import PublishedTable
from inference.analysis_models.placed import PlacedModel
from inference.likelihoods.covariance import CovarianceModel
from inference.multibin.analyses import Analysis, BuildOptions, Counts, ModelKind, Offer, SetModel, simple_set
from inference.multibin.settings import ModelChoice
from inference.types import FloatArray


def table_analysis(table: PublishedTable, search: Search | None = None, origin: str = "counts in the catalogue") -> Analysis:
    """The analysis of a table.

    Args:
        table: counts, and how regions combine.
        search: entry of the catalogue, if it has one.
        origin: where the table is, in words.
    """
    observed, background, errors = (
        np.array([getattr(region, name) for region in table.regions], dtype=np.float64)
        for name in ("observed", "background", "background_error")
    )
    aliases = () if search is None else (search.entry.analysis, *search.entry.aliases)
    return Analysis(
        name=table.analysis,
        experiment=table.experiment,
        sqrts_tev=table.sqrts_tev,
        lumi_ifb=table.lumi_ifb,
        regions=table.names,
        observed=observed,
        background=background,
        errors=errors,
        origin=origin,
        offer=TableModels(table, search, (observed, background, errors)),
        aliases=tuple(alias for alias in aliases if alias != table.analysis),
    )


class TableModels:
    """Models of a table: its covariance where it has one, else the simplified model of its sets.

    Args:
        table: counts, and how regions combine.
        search: entry of the catalogue, if it has one.
        counts: the counts as arrays.
    """

    def __init__(self, table: PublishedTable, search: Search | None, counts: Counts) -> None:
        self._table, self._search, self._counts = table, search, counts

    def __call__(self, choice: ModelChoice) -> Offer:
        """The models for a choice."""
        table = self._table
        if choice is ModelChoice.SURROGATE:
            return Offer((), reason=("there is no learned model of it",))
        covariance = self._covariance()
        if covariance is not None:
            named = table.sets or {"": table.names}
            return Offer(tuple(self._correlated(name, members, covariance) for name, members in named.items()), table.sets_are_disjoint)
        if choice is ModelChoice.SIMPLE:
            sets = tuple(simple_set(table.names, name, members, self._counts) for name, members in table.sets.items())
            return Offer(sets, table.sets_are_disjoint, () if sets else ("the table does not say which regions share no events",))
        reason = ["no statistical model of its regions is known; their counts give a simplified one (--model simple)"]
        if self._search is not None:
            reason += [f"{needed.what}: {needed.doi}" for needed in self._search.entry.needed if needed.doi]
        return Offer((), reason=tuple(reason))

    def _covariance(self) -> FloatArray | None:
        table = self._table
        if table.covariance is not None:
            return np.array(table.covariance, dtype=np.float64)
        if table.correlation is not None:
            correlation = np.array(table.correlation, dtype=np.float64)
            return correlation * np.outer(self._counts[2], self._counts[2])
        return None

    def _correlated(self, name: str, members: tuple[str, ...], covariance: FloatArray) -> SetModel:
        rows = np.array([self._table.names.index(member) for member in members], dtype=np.int32)
        moments = [self._table.regions[row].third_moment for row in rows.tolist()]
        third = np.array(moments, dtype=np.float64) if all(value is not None for value in moments) else None

        def build(options: BuildOptions) -> PlacedModel:
            observed, background, _ = self._counts
            return PlacedModel(CovarianceModel(observed[rows], background[rows], covariance[np.ix_(rows, rows)], third), rows)

        return SetModel(name, ModelKind.COVARIANCE, f"covariance of {len(members)} regions", build)
