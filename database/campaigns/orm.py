"""Tables of the campaign storage (SQLAlchemy 2, typed), and column types that keep inf and nan.

SQLite turns nan into NULL and PostgreSQL sorts nan above every number; so nan is stored as NULL everywhere, and
ordered queries say NULLS LAST. Infinities are proper values of both databases' double columns. JSON is stored as
text, because PostgreSQL's JSON types refuse inf and nan.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, DateTime, Dialect, Double, ForeignKey, Index, Integer, String, Text, UniqueConstraint, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator


class ExactFloat(TypeDecorator[float]):
    """float64 that may be ±inf or nan; nan is NULL in the table."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        return None if value is None or math.isnan(value) else float(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> float | None:
        return math.nan if value is None else float(value)


class JsonText(TypeDecorator[Any]):
    """JSON as text; Python's Infinity, -Infinity and NaN literals included."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any | None, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any | None:
        return None if value is None else json.loads(value)


class UtcDateTime(TypeDecorator[datetime]):
    """Times in UTC, aware on the Python side also where the database keeps none of the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class Base(DeclarativeBase):
    """Root of the tables."""


ID = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts rows up only in INTEGER primary keys


class CampaignRow(Base):
    """One campaign."""

    __tablename__ = "campaigns"

    campaign_id: Mapped[int] = mapped_column(ID, primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(20))
    seed: Mapped[int] = mapped_column(BigInteger)
    config: Mapped[Any] = mapped_column(JsonText)
    num_walkers: Mapped[int] = mapped_column(Integer)
    num_steps: Mapped[int] = mapped_column(Integer)
    keep_hiscores: Mapped[int] = mapped_column(Integer)
    versions: Mapped[Any] = mapped_column(JsonText)
    results_hash: Mapped[str] = mapped_column(String(64))
    combinability_hash: Mapped[str] = mapped_column(String(64))
    results_label: Mapped[str] = mapped_column(String(200))
    is_approximate: Mapped[bool] = mapped_column(Boolean)
    driver: Mapped[str | None] = mapped_column(String(200))
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.current_timestamp())
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.current_timestamp())


class WalkerRow(Base):
    """One walker of a campaign, with the checkpoint it resumes from."""

    __tablename__ = "walkers"

    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaigns.campaign_id", ondelete="CASCADE"), primary_key=True)
    walker_number: Mapped[int] = mapped_column(Integer, primary_key=True)
    status: Mapped[str] = mapped_column(String(20))
    step: Mapped[int] = mapped_column(Integer)
    k: Mapped[float] = mapped_column(ExactFloat, nullable=True)
    tl: Mapped[float] = mapped_column(ExactFloat, nullable=True)
    best_k: Mapped[float] = mapped_column(ExactFloat, nullable=True)
    steps_per_s: Mapped[float] = mapped_column(ExactFloat, nullable=True)
    checkpoint: Mapped[Any | None] = mapped_column(JsonText)
    heartbeat_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ProgressRow(Base):
    """One step of one walker."""

    __tablename__ = "progress"
    __table_args__ = (
        UniqueConstraint("campaign_id", "walker_number", "step", name="uq_progress_step"),
        Index("ix_progress_campaign", "campaign_id", "progress_id"),
    )

    progress_id: Mapped[int] = mapped_column(ID, primary_key=True, autoincrement=True)
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaigns.campaign_id", ondelete="CASCADE"))
    walker_number: Mapped[int] = mapped_column(Integer)
    step: Mapped[int] = mapped_column(Integer)
    k: Mapped[float] = mapped_column(ExactFloat, nullable=True)
    tl: Mapped[float] = mapped_column(ExactFloat, nullable=True)
    best_k: Mapped[float] = mapped_column(ExactFloat, nullable=True)
    num_particles: Mapped[int] = mapped_column(Integer)
    is_accepted: Mapped[bool] = mapped_column(Boolean)
    outcome: Mapped[str] = mapped_column(String(40))
    moves: Mapped[Any] = mapped_column(JsonText)


class HiscoreRow(Base):
    """One entry of a campaign's hiscore list."""

    __tablename__ = "hiscores"
    __table_args__ = (
        UniqueConstraint("campaign_id", "model_hash", name="uq_hiscores_model"),
        Index("ix_hiscores_k", "k"),
        {"sqlite_autoincrement": True},  # a number that has left the list is not given to another model
    )

    hiscore_id: Mapped[int] = mapped_column(ID, primary_key=True, autoincrement=True)
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaigns.campaign_id", ondelete="CASCADE"))
    walker_number: Mapped[int] = mapped_column(Integer)
    step: Mapped[int] = mapped_column(Integer)
    k: Mapped[float] = mapped_column(ExactFloat, nullable=True)
    tl: Mapped[float] = mapped_column(ExactFloat, nullable=True)
    mu_hat: Mapped[float] = mapped_column(ExactFloat, nullable=True)
    mu_max: Mapped[float] = mapped_column(ExactFloat, nullable=True)
    log_prior: Mapped[float] = mapped_column(ExactFloat, nullable=True)
    prior_terms: Mapped[Any] = mapped_column(JsonText)
    verdict: Mapped[Any] = mapped_column(JsonText)
    combination: Mapped[Any] = mapped_column(JsonText)
    protomodel: Mapped[Any] = mapped_column(JsonText)
    model_hash: Mapped[str] = mapped_column(String(64))
    outcome: Mapped[str] = mapped_column(String(40))
    failures: Mapped[Any] = mapped_column(JsonText)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.current_timestamp())


class CountRow(Base):
    """How often something happened: kind "verdict" (what became of proposals) or "failure" (per analysis)."""

    __tablename__ = "counts"

    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaigns.campaign_id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)


class IncidentRow(Base):
    """Something that went wrong."""

    __tablename__ = "incidents"

    incident_id: Mapped[int] = mapped_column(ID, primary_key=True, autoincrement=True)
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaigns.campaign_id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(40))
    detail: Mapped[str] = mapped_column(Text)
    walker_numbers: Mapped[Any] = mapped_column(JsonText)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.current_timestamp())
