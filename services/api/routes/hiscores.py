"""Hiscores: the best models with everything behind their score."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from services.api import schemas
from services.api.convert import hiscore_detail, hiscore_out, hiscore_slha
from services.api.deps import MAX_NUMBER, LimitParam, OptionalCampaignParam, Repository, Results, Settings
from services.api.etags import json_response

router = APIRouter(prefix="/hiscores", tags=["hiscores"])
HiscoreId = Annotated[int, Path(ge=1, le=MAX_NUMBER, description="number of the hiscore")]


@router.get("", response_model=schemas.Page[schemas.HiscoreOut], summary="Hiscores by K downwards")
def list_hiscores(
    request: Request,
    repository: Repository,
    settings: Settings,
    campaign: OptionalCampaignParam = None,
    min_k: Annotated[float | None, Query(allow_inf_nan=False, description="leave out models whose K is smaller", examples=[2.0])] = None,
    after: Annotated[
        int, Query(ge=0, le=MAX_NUMBER, description="cursor: `next_after` of the page before (entries left out at the top)")
    ] = 0,
    limit: LimitParam = 10,
) -> Response:
    """The best models of one campaign or of all: K, T_L, particles, best combination, verdict of the critics."""
    size = min(limit, settings.page_limit)
    records = repository.list_hiscores(campaign, limit=size + 1, after=after)
    has_more = len(records) > size
    page = records[:size]
    if min_k is not None:
        wanted = [record for record in page if record.k >= min_k]
        has_more = has_more and len(wanted) == len(page)
        page = tuple(wanted)
    items = [hiscore_out(record) for record in page]
    return json_response(request, schemas.Page[schemas.HiscoreOut](items=items, next_after=after + size if has_more else None))


@router.get("/{hiscore_id:int}", response_model=schemas.HiscoreDetailOut, summary="One hiscore with everything behind its score")
def get_hiscore(request: Request, repository: Repository, results: Results, hiscore_id: HiscoreId) -> Response:
    """As in the list, with production cross sections, links to the analyses, and the model itself."""
    return json_response(request, hiscore_detail(repository.get_hiscore(hiscore_id), results))


@router.get(
    "/{hiscore_id:int}.slha",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "SLHA with MASS, DECAY and XSECTION blocks"}},
    summary="One hiscore as an SLHA file",
)
def get_hiscore_slha(repository: Repository, hiscore_id: HiscoreId) -> Response:
    """The model for the next tool: masses [GeV], decays, cross sections at 8 and 13 TeV."""
    text = hiscore_slha(repository.get_hiscore(hiscore_id))
    headers = {"Content-Disposition": f'attachment; filename="hiscore-{hiscore_id}.slha"'}
    return Response(text, media_type="text/plain; charset=utf-8", headers=headers)
