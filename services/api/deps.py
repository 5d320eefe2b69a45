"""What the routes share: the campaign storage, the traces, the published results; and how parameters are declared."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated, NamedTuple

from fastapi import Depends, Query, Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from sqlalchemy.engine import make_url

from database.campaigns.engine import resolve_database_url
from database.campaigns.memory import MemoryRepository
from database.campaigns.repository import CampaignRepository
from database.campaigns.sql import open_repository
from services.api.rates import RateMeter
from services.api.results import PublishedResults
from services.api.settings import ServiceSettings
from services.api.traces import TraceCache

MAX_NUMBER = 2**63 - 1
"""Largest number that the storage can be asked for."""


class OpenStorage(NamedTuple):
    """An open campaign storage and what is derived from it."""

    repository: CampaignRepository
    traces: TraceCache
    rates: RateMeter


class Storage:
    """The campaign storage as the service sees it: read-only, and allowed to appear or be replaced while it serves."""

    def __init__(self, settings: ServiceSettings) -> None:
        """Opens nothing yet."""
        self._url = resolve_database_url(settings.database_url)
        self._num_points = settings.trace_points
        self._lock = threading.Lock()
        self._identity: tuple[int, int] | None = None
        self._opened: OpenStorage | None = None
        self._nothing = self._build(MemoryRepository())

    @property
    def is_empty(self) -> bool:
        """Whether there is no database yet: the file appears when the first campaign starts."""
        return self._file_identity() is None

    def _file_identity(self) -> tuple[int, int] | None:
        url = make_url(self._url)
        if url.get_backend_name() != "sqlite":
            return (0, 0)
        try:
            found = Path(url.database or "").stat()
        except OSError:
            return None
        return (found.st_dev, found.st_ino) if found.st_size else None

    def _build(self, repository: CampaignRepository) -> OpenStorage:
        return OpenStorage(repository, TraceCache(repository, self._num_points), RateMeter())

    def open(self) -> OpenStorage:
        """The storage and what is derived from it; an empty one while there is no database.

        Raises:
            CampaignError: the database cannot be opened, or is of another release.
        """
        with self._lock:
            identity = self._file_identity()
            if identity is None:
                return self._nothing
            if self._opened is None or identity != self._identity:
                if self._opened is not None:
                    self._opened.repository.close()
                self._opened = None
                self._opened, self._identity = self._build(open_repository(self._url, is_read_only=True)), identity
            return self._opened

    def close(self) -> None:
        """Gives connections back."""
        with self._lock:
            if self._opened is not None:
                self._opened.repository.close()
                self._opened = None


def get_settings(request: Request) -> ServiceSettings:
    """Settings of the running service."""
    settings: ServiceSettings = request.app.state.settings
    return settings


def get_storage(request: Request) -> Storage:
    """Storage of the running service."""
    storage: Storage = request.app.state.storage
    return storage


def get_repository(storage: Annotated[Storage, Depends(get_storage)]) -> CampaignRepository:
    """The campaign storage, for reading."""
    return storage.open().repository


def get_traces(storage: Annotated[Storage, Depends(get_storage)]) -> TraceCache:
    """Thinned traces of the campaigns."""
    return storage.open().traces


def get_rates(storage: Annotated[Storage, Depends(get_storage)]) -> RateMeter:
    """How fast the campaigns move."""
    return storage.open().rates


def get_results(request: Request) -> PublishedResults:
    """The published results."""
    results: PublishedResults = request.app.state.results
    return results


def _query_names(dependant: Dependant) -> set[str]:
    names = {param.alias for param in dependant.query_params}
    return names.union(*(_query_names(child) for child in dependant.dependencies))


def refuse_unknown_parameters(request: Request) -> None:
    """Refuses query parameters that the route does not have: a misspelt filter must not look like no filter.

    Raises:
        RequestValidationError: a parameter is unknown.
    """
    route = request.scope.get("route")
    if isinstance(route, APIRoute):
        known = _query_names(route.dependant)
        for name in request.query_params:
            if name not in known:
                known_text = ", ".join(sorted(known)) or "none"
                raise RequestValidationError([{"loc": ("query", name), "msg": f"is unknown here; known: {known_text}", "type": "extra"}])


Repository = Annotated[CampaignRepository, Depends(get_repository)]
Traces = Annotated[TraceCache, Depends(get_traces)]
Rates = Annotated[RateMeter, Depends(get_rates)]
Results = Annotated[PublishedResults, Depends(get_results)]
Settings = Annotated[ServiceSettings, Depends(get_settings)]
CampaignParam = Annotated[int, Query(ge=1, le=MAX_NUMBER, description="number of the campaign", examples=[1])]
OptionalCampaignParam = Annotated[
    int | None, Query(ge=1, le=MAX_NUMBER, description="number of the campaign; all campaigns if left out", examples=[1])
]
AfterParam = Annotated[int, Query(ge=0, le=MAX_NUMBER, description="cursor: `next_after` of the page before")]
LimitParam = Annotated[int, Query(ge=1, le=10000, description="entries per page at most")]
