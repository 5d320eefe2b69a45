"""Whether the service can do its work."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from database.errors import UserFacingError
from services.api import schemas
from services.api.deps import Storage, get_storage
from services.api.version import service_version

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Whether the service can do its work", responses={503: {"model": schemas.HealthOut}})
def healthz(response: Response, storage: Annotated[Storage, Depends(get_storage)]) -> schemas.HealthOut:
    """200 when campaigns can be read (or none is stored yet), 503 otherwise."""
    try:
        storage.open().repository.list_campaigns()
    except UserFacingError as error:
        response.status_code = 503
        return schemas.HealthOut(status="degraded", version=service_version(), database=str(error))
    return schemas.HealthOut(status="ok", version=service_version(), database="empty" if storage.is_empty else "ok")
