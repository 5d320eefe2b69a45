"""The published LHC results as the API tells them: one entry per analysis, built once from the compiled store."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import NamedTuple

from database.errors import UserFacingError
from database.results.records import ResultRecord
from database.results.store import ResultsStore
from services.api import schemas
from services.stores import open_results

log = logging.getLogger(__name__)


class _Told(NamedTuple):
    listing: schemas.ResultsOut
    details: dict[str, schemas.ResultDetailOut]


class PublishedResults:
    """The results in use; opened on first use, then kept as what the API tells of them."""

    def __init__(self, source: str | None) -> None:
        """Opens nothing yet; `source` is as in `ServiceSettings.results`."""
        self._source = source
        self._lock = threading.Lock()
        self._told: _Told | None = None

    def _tell(self) -> _Told:
        with self._lock:
            if self._told is None:
                self._told = tell_results(open_results(self._source))
            return self._told

    def listing(self) -> schemas.ResultsOut:
        """All analyses.

        Raises:
            StoreError: the store is missing, damaged or of another format.
        """
        return self._tell().listing

    def detail(self, analysis_id: str) -> schemas.ResultDetailOut | None:
        """One analysis, None if the database does not have it.

        Raises:
            StoreError: the store is missing, damaged or of another format.
        """
        return self._tell().details.get(analysis_id)

    def links(self, analysis_ids: Sequence[str]) -> list[schemas.AnalysisLinkOut]:
        """Where analyses are published; none while the store cannot be opened, as hiscores are readable without it."""
        try:
            details = self._tell().details
        except UserFacingError as error:
            log.warning("results=%s cannot be opened: %s", self._source, error)
            return []
        found = (details[name] for name in dict.fromkeys(analysis_ids) if name in details)
        return [schemas.AnalysisLinkOut(analysis_id=d.analysis_id, sqrts_tev=d.sqrts_tev, lumi_ifb=d.lumi_ifb, url=d.url) for d in found]


def _unique(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _record_out(store: ResultsStore, result: ResultRecord) -> schemas.ResultRecordOut:
    datasets = range(result.dataset_start, result.dataset_stop)
    txnames = [store.map_txnames[m] for d in datasets for m in range(int(store.dataset_map_start[d]), int(store.dataset_map_stop[d]))]
    regions = [name for d in datasets if (name := store.dataset_ids[d]) is not None] if result.kind == "efficiencyMap" else []
    return schemas.ResultRecordOut(
        kind=result.kind,
        folder=result.folder,
        num_regions=len(regions),
        region_ids=regions,
        txnames=sorted(set(txnames)),
        stat_model=result.stat_model,
        lifetime=result.lifetime,
        fit_error=result.fit_error,
        notes=list(result.notes),
    )


def _detail_out(store: ResultsStore, analysis_id: str, results: Sequence[ResultRecord]) -> schemas.ResultDetailOut:
    records = [_record_out(store, result) for result in results]
    first = results[0]

    def any_of(name: str) -> str | None:
        return next((value for result in results if (value := getattr(result, name))), None)

    return schemas.ResultDetailOut(
        analysis_id=analysis_id,
        experiment=first.experiment,
        sqrts_tev=first.sqrts_tev,
        lumi_ifb=first.lumi_ifb,
        kinds=_unique([record.kind for record in records]),
        num_regions=sum(record.num_regions for record in records),
        txnames=sorted({name for record in records for name in record.txnames}),
        stat_models=_unique([record.stat_model for record in records if record.stat_model != "none"]),
        is_approximate=any(result.is_approximate for result in results),
        notes=_unique([note for record in records for note in record.notes]),
        url=any_of("url"),
        arxiv=any_of("arxiv"),
        publication=any_of("publication"),
        doi=any_of("doi"),
        supersedes=_unique([name for result in results for name in result.supersedes]),
        superseded_by=_unique([name for result in results for name in result.superseded_by]),
        records=records,
    )


def tell_results(store: ResultsStore) -> _Told:
    """Builds what the API tells of a store: the list of analyses, and each with its references and kinds of result."""
    by_analysis: dict[str, list[ResultRecord]] = {}
    for result in store.results:
        by_analysis.setdefault(result.analysis_id, []).append(result)
    details = {name: _detail_out(store, name, results) for name, results in sorted(by_analysis.items())}
    fields = list(schemas.ResultOut.model_fields)
    items = [schemas.ResultOut(**{name: getattr(detail, name) for name in fields}) for detail in details.values()]
    listing = schemas.ResultsOut(
        items=items,
        label=f"SModelS {store.text_version}" + (", excerpt" if store.is_approximate else ""),
        is_approximate=store.is_approximate,
        content_hash=store.content_hash,
        num_results=len(store.results),
    )
    return _Told(listing, details)
