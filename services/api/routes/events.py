"""What changes in a campaign, as server-sent events (WHATWG HTML §9.2): the live part of the dashboard."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from database.errors import UserFacingError
from services.api import schemas
from services.api.convert import campaign_detail, hiscore_out, walker_out
from services.api.deps import CampaignParam, Settings, Storage, get_storage

router = APIRouter(tags=["events"])

KEEP_ALIVE_S = 15.0
MAX_HISCORES = 10


class ProgressEvent(schemas.Schema):
    """Data of an event `progress`: the campaign and its walkers as they are now."""

    campaign: schemas.CampaignDetailOut
    walkers: list[schemas.WalkerOut]


class HiscoresEvent(schemas.Schema):
    """Data of an event `hiscores`: the best models as they are now."""

    items: list[schemas.HiscoreOut]


def _look(storage: Storage, campaign_id: int) -> tuple[ProgressEvent, HiscoresEvent]:
    repository, _, rates = storage.open()
    campaign = campaign_detail(repository, repository.get_campaign(campaign_id), rates)
    walkers = [walker_out(record) for record in repository.list_walkers(campaign_id)]
    hiscores = [hiscore_out(record) for record in repository.list_hiscores(campaign_id, limit=MAX_HISCORES)]
    return ProgressEvent(campaign=campaign, walkers=walkers), HiscoresEvent(items=hiscores)


def _message(name: str, data: BaseModel | str) -> str:
    text = data if isinstance(data, str) else data.model_dump_json()
    return f"event: {name}\ndata: {text}\n\n"


async def _events(request: Request, storage: Storage, campaign_id: int, interval_s: float, max_events: int | None) -> AsyncIterator[str]:
    sent: dict[str, str] = {}
    num_sent = 0
    silent_s = 0.0
    yield f"retry: {int(interval_s * 3000)}\n\n"
    closing: asyncio.Event = request.app.state.closing
    while not (closing.is_set() or await request.is_disconnected()):
        try:
            progress, hiscores = await run_in_threadpool(lambda: _look(storage, campaign_id))
        except UserFacingError as error:
            yield _message("problem", schemas.ErrorOut(detail=str(error)))
            return
        for name, data in (("progress", progress), ("hiscores", hiscores)):
            text = data.model_dump_json()
            if sent.get(name) != text:
                sent[name] = text
                yield _message(name, text)
                silent_s = 0.0
                num_sent += 1
                if max_events is not None and num_sent >= max_events:
                    return
        if silent_s >= KEEP_ALIVE_S:
            yield ": still here\n\n"
            silent_s = 0.0
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(closing.wait(), interval_s)
        silent_s += interval_s


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "events `progress`, `hiscores` and, at the end, `problem`"}},
    summary="What changes in a campaign, as it changes",
)
async def stream_events(
    request: Request,
    storage: Annotated[Storage, Depends(get_storage)],
    settings: Settings,
    campaign: CampaignParam,
    max_events: Annotated[int | None, Query(ge=1, description="end after so many events; without it the stream stays open")] = None,
) -> StreamingResponse:
    """Server-sent events. `progress` holds the campaign and its walkers, `hiscores` the ten best models; each is sent at
    the start and whenever it differs from what was sent before. `problem` holds one sentence and ends the stream.

    Try it: `curl -N 'http://127.0.0.1:8000/api/v1/events?campaign=1'`.
    """
    await run_in_threadpool(lambda: storage.open().repository.get_campaign(campaign))  # unknown numbers are a plain 404
    events = _events(request, storage, campaign, settings.event_interval_s, max_events)
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
