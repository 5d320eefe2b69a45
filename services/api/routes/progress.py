"""Progress: every stored step by cursor, and K over steps thinned for plots."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.api import schemas
from services.api.convert import progress_out, traces_out
from services.api.deps import MAX_NUMBER, AfterParam, CampaignParam, LimitParam, Repository, Settings, Traces
from services.api.etags import json_response

router = APIRouter(tags=["progress"])


@router.get("/progress", response_model=schemas.Page[schemas.ProgressOut], summary="Steps in order of storage")
def list_progress(
    request: Request,
    repository: Repository,
    settings: Settings,
    campaign: CampaignParam,
    walker: Annotated[int | None, Query(ge=0, le=MAX_NUMBER, description="number of the walker; all walkers if left out")] = None,
    after: AfterParam = 0,
    limit: LimitParam = 1000,
) -> Response:
    """Every step, none left out. Follow a running campaign by asking again with the last `progress_id` as `after`.

    For a plot of long chains use `/traces`, which is thinned.
    """
    size = min(limit, settings.page_limit)
    records = repository.list_progress(campaign, walker, after=after, limit=size)
    next_after = records[-1].progress_id if len(records) == size else None
    items = [progress_out(record) for record in records]
    return json_response(request, schemas.Page[schemas.ProgressOut](items=items, next_after=next_after))


@router.get("/traces", response_model=schemas.TracesOut, summary="K over steps of all walkers, thinned")
def list_traces(
    request: Request,
    traces: Traces,
    campaign: CampaignParam,
    after: AfterParam = 0,
    stride: Annotated[int, Query(ge=0, le=MAX_NUMBER, description="`stride` of the answer before; 0 for everything")] = 0,
) -> Response:
    """A few hundred points per walker however long the chains are; the latest step of each walker is always among them.

    Give `cursor` and `stride` of one answer as `after` and `stride` of the next to get only what is new; when the
    thinning has become coarser since, the answer is full again (`is_full`).
    """
    return json_response(request, traces_out(campaign, traces.campaign(campaign).update(), after=after, stride=stride))
