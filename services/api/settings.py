"""What steers the REST service."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ServiceSettings(BaseModel):
    """Settings of the REST service and its dashboard."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database_url: str | None = Field(
        None,
        description="SQLAlchemy URL or SQLite file of the campaigns, only read; null takes $PROTOMODELS_DATABASE, else protomodels.db",
    )
    results: str | None = Field(
        None, description='path of a compiled results store, or "embedded"; null takes the imported store, else the embedded excerpt'
    )
    host: str = Field("127.0.0.1", description="address to listen on; the default is reachable from this machine only")
    port: int = Field(8000, ge=0, le=65535, description="TCP port to listen on; 0 takes a free one")
    trace_points: int = Field(600, ge=50, le=5000, description="points per walker in /traces of long chains, fewer for many walkers")
    event_interval_s: float = Field(1.0, gt=0, le=60, description="seconds between two looks at the storage for server-sent events [s]")
    page_limit: int = Field(1000, ge=1, le=10000, description="largest page any list gives")
