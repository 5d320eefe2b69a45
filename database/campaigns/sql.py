"""The campaign storage in SQLite or PostgreSQL. Sessions live only here; what leaves is a frozen record."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Engine, delete, func, insert, select, update
from sqlalchemy.engine import CursorResult, make_url
from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlalchemy.orm import Session

from database.campaigns.engine import (
    build_engine,
    connection_error,
    describe_database,
    is_schema_current,
    prepare_sqlite_file,
    resolve_database_url,
    upgrade_schema,
)
from database.campaigns.orm import CampaignRow, CountRow, HiscoreRow, IncidentRow, ProgressRow, WalkerRow
from database.campaigns.ranking import rank_hiscores
from database.campaigns.records import (
    CampaignRecord,
    HiscoreRecord,
    IncidentRecord,
    JsonDict,
    NewCampaign,
    NewHiscore,
    NewIncident,
    NewProgress,
    ProgressRecord,
    WalkerRecord,
    WalkerUpdate,
)
from database.campaigns.repository import CampaignNotFoundError, DatabaseNotFoundError, HiscoreNotFoundError
from database.campaigns.status import CampaignStatus, WalkerStatus, check_campaign_transition, check_walker_transition
from database.errors import CampaignError

NOW = func.current_timestamp()
MAX_ID = 2**63 - 1
"""No row has a larger number; the databases refuse to look for one."""
RecordT = TypeVar("RecordT")


def _record(kind: type[RecordT], row: Any, **converted: Any) -> RecordT:
    """A record from the columns of the same names; `converted` replaces some of them."""
    values = {f.name: getattr(row, f.name) for f in fields(kind) if f.name not in converted}  # type: ignore[arg-type]
    return kind(**values, **converted)


def _columns(value: Any) -> dict[str, Any]:
    """Column values from a record; tuples become lists, enums their text."""
    found = {f.name: getattr(value, f.name) for f in fields(value)}
    return {
        name: list(item) if isinstance(item, tuple) else str(item) if isinstance(item, WalkerStatus) else item
        for name, item in found.items()
    }


def _campaign(row: CampaignRow) -> CampaignRecord:
    return _record(CampaignRecord, row, status=CampaignStatus(row.status))


def _walker(row: WalkerRow) -> WalkerRecord:
    return _record(WalkerRecord, row, status=WalkerStatus(row.status))


def _hiscore(row: HiscoreRow) -> HiscoreRecord:
    return _record(HiscoreRecord, row, combination=tuple(row.combination))


class SqlRepository:
    """`CampaignRepository` in SQLite or PostgreSQL; made by `open_repository`.

    Pickling keeps the address only: the copy reconnects when it is used, and never touches the tables' layout.

    Args:
        url: as from `resolve_database_url`; the tables exist already.
        is_read_only: refuse every write (SQLite: at the connection).
    """

    def __init__(self, url: str, *, is_read_only: bool = False) -> None:
        self.url = url
        self.is_read_only = is_read_only
        self._engine: Engine = build_engine(url, is_read_only=is_read_only)
        self._writing_engine = self._engine.execution_options(sqlite_begin="IMMEDIATE")

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "is_read_only": self.is_read_only}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["url"], is_read_only=state["is_read_only"])  # type: ignore[misc]

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        with self._named_errors(), Session(self._engine) as session, session.begin():
            yield session

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        if self.is_read_only:
            raise CampaignError(f"the campaign database {describe_database(self.url)} was opened for reading only")
        with self._named_errors(), Session(self._writing_engine) as session, session.begin():
            yield session

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise
        except DatabaseError as error:
            raise connection_error(self.url, error) from error

    @staticmethod
    def _get(session: Session, campaign_id: int, *, for_update: bool = False) -> CampaignRow:
        row = session.get(CampaignRow, campaign_id, with_for_update=True if for_update else None) if campaign_id <= MAX_ID else None
        if row is None:
            raise CampaignNotFoundError(f"there is no campaign {campaign_id}")
        return row

    def create_campaign(self, campaign: NewCampaign) -> CampaignRecord:
        """See `CampaignRepository`."""
        with self._writing() as session:
            row = CampaignRow(**_columns(campaign) | {"status": CampaignStatus.CREATED.value, "driver": None, "error": None})
            session.add(row)
            session.flush()
            walkers = [
                {
                    "campaign_id": row.campaign_id,
                    "walker_number": number,
                    "status": WalkerStatus.WAITING.value,
                    "step": 0,
                    "k": -math.inf,
                    "tl": math.nan,
                    "best_k": -math.inf,
                    "steps_per_s": math.nan,
                }
                for number in range(campaign.num_walkers)
            ]
            session.execute(insert(WalkerRow), walkers)
            session.refresh(row)
            return _campaign(row)

    def list_campaigns(self) -> tuple[CampaignRecord, ...]:
        """See `CampaignRepository`."""
        with self._reading() as session:
            return tuple(_campaign(row) for row in session.scalars(select(CampaignRow).order_by(CampaignRow.campaign_id)))

    def get_campaign(self, campaign_id: int) -> CampaignRecord:
        """See `CampaignRepository`."""
        with self._reading() as session:
            return _campaign(self._get(session, campaign_id))

    def claim_campaign(self, campaign_id: int, driver: str, *, take_over_from: str | None = None) -> CampaignRecord:
        """See `CampaignRepository`."""
        with self._writing() as session:
            row = self._get(session, campaign_id, for_update=True)
            status = CampaignStatus(row.status)
            if status is CampaignStatus.RUNNING:
                if row.driver not in (driver, take_over_from):
                    raise CampaignError(f"campaign {campaign_id} is being run by {row.driver}")
            else:
                check_campaign_transition(status, CampaignStatus.RUNNING)
            row.status, row.driver, row.error, row.updated_at = CampaignStatus.RUNNING.value, driver, None, NOW
            session.flush()
            session.refresh(row)
            return _campaign(row)

    def set_campaign_status(self, campaign_id: int, status: CampaignStatus, error: str | None = None) -> CampaignRecord:
        """See `CampaignRepository`."""
        with self._writing() as session:
            row = self._get(session, campaign_id, for_update=True)
            check_campaign_transition(CampaignStatus(row.status), status)
            row.status, row.error, row.updated_at = status.value, error, NOW
            session.flush()
            session.refresh(row)
            return _campaign(row)

    def update_campaign_plan(self, campaign_id: int, *, config: JsonDict, num_steps: int, keep_hiscores: int) -> CampaignRecord:
        """See `CampaignRepository`."""
        with self._writing() as session:
            row = self._get(session, campaign_id, for_update=True)
            if row.status == CampaignStatus.RUNNING:
                raise CampaignError(f"campaign {campaign_id} is running; its plan cannot change now")
            row.config, row.num_steps, row.keep_hiscores, row.updated_at = dict(config), num_steps, keep_hiscores, NOW
            session.execute(
                update(WalkerRow)
                .where(WalkerRow.campaign_id == campaign_id, WalkerRow.status == WalkerStatus.FINISHED.value, WalkerRow.step < num_steps)
                .values(status=WalkerStatus.WAITING.value)
            )
            session.flush()
            session.refresh(row)
            return _campaign(row)

    def touch_campaign(self, campaign_id: int) -> None:
        """See `CampaignRepository`."""
        with self._writing() as session:
            done = session.execute(update(CampaignRow).where(CampaignRow.campaign_id == campaign_id).values(updated_at=NOW))
            if isinstance(done, CursorResult) and done.rowcount == 0:
                raise CampaignNotFoundError(f"there is no campaign {campaign_id}")

    def list_walkers(self, campaign_id: int) -> tuple[WalkerRecord, ...]:
        """See `CampaignRepository`."""
        with self._reading() as session:
            self._get(session, campaign_id)
            query = select(WalkerRow).where(WalkerRow.campaign_id == campaign_id).order_by(WalkerRow.walker_number)
            return tuple(_walker(row) for row in session.scalars(query))

    def record_batch(
        self,
        campaign_id: int,
        *,
        walkers: Sequence[WalkerUpdate],
        progress: Sequence[NewProgress] = (),
        hiscores: Sequence[NewHiscore] = (),
        verdict_counts: Mapping[str, int] | None = None,
        failure_counts: Mapping[str, int] | None = None,
    ) -> None:
        """See `CampaignRepository`."""
        try:
            with self._writing() as session:
                campaign = self._get(session, campaign_id, for_update=True)
                if campaign.status != CampaignStatus.RUNNING:
                    raise CampaignError(f"campaign {campaign_id} is {campaign.status}; steps are stored only while it runs")
                for walker in walkers:
                    self._update_walker(session, campaign_id, walker)
                if progress:
                    session.execute(insert(ProgressRow), [_columns(step) | {"campaign_id": campaign_id} for step in progress])
                if hiscores:
                    self._merge_hiscores(session, campaign, hiscores)
                self._add_counts(session, campaign_id, "verdict", verdict_counts or {})
                self._add_counts(session, campaign_id, "failure", failure_counts or {})
                campaign.updated_at = NOW
        except IntegrityError as error:
            raise CampaignError(f"campaign {campaign_id}: a step of the batch is stored already") from error

    @staticmethod
    def _update_walker(session: Session, campaign_id: int, new: WalkerUpdate) -> None:
        row = session.get(WalkerRow, (campaign_id, new.walker_number))
        if row is None:
            raise CampaignError(f"campaign {campaign_id} has no walker {new.walker_number}")
        if new.step < row.step:
            raise CampaignError(f"campaign {campaign_id}: walker {new.walker_number} is at step {row.step} already")
        check_walker_transition(WalkerStatus(row.status), new.status)
        for name, value in _columns(new).items():
            if name != "checkpoint" or value is not None:
                setattr(row, name, value)
        row.heartbeat_at = NOW

    @staticmethod
    def _merge_hiscores(session: Session, campaign: CampaignRow, candidates: Sequence[NewHiscore]) -> None:
        known = {row.model_hash: row for row in session.scalars(select(HiscoreRow).where(HiscoreRow.campaign_id == campaign.campaign_id))}
        pool: list[HiscoreRow | NewHiscore] = [*known.values(), *candidates]
        listed = rank_hiscores(pool, campaign.keep_hiscores)
        kept = {entry.model_hash for entry in listed}
        dropped = [row.hiscore_id for model_hash, row in known.items() if model_hash not in kept]
        if dropped:
            session.execute(delete(HiscoreRow).where(HiscoreRow.hiscore_id.in_(dropped)))
        for entry in listed:
            if isinstance(entry, HiscoreRow):
                continue
            row = known.get(entry.model_hash)
            if row is None:
                session.add(HiscoreRow(campaign_id=campaign.campaign_id, **_columns(entry)))
                continue
            for name, value in _columns(entry).items():
                setattr(row, name, value)

    @staticmethod
    def _add_counts(session: Session, campaign_id: int, kind: str, counts: Mapping[str, int]) -> None:
        for name, count in counts.items():
            row = session.get(CountRow, (campaign_id, kind, name))
            if row is None:
                session.add(CountRow(campaign_id=campaign_id, kind=kind, name=name, count=count))
            else:
                row.count += count

    def list_progress(
        self, campaign_id: int, walker_number: int | None = None, after: int = 0, limit: int = 1000
    ) -> tuple[ProgressRecord, ...]:
        """See `CampaignRepository`."""
        with self._reading() as session:
            self._get(session, campaign_id)
            query = select(ProgressRow).where(ProgressRow.campaign_id == campaign_id, ProgressRow.progress_id > after)
            if walker_number is not None:
                query = query.where(ProgressRow.walker_number == walker_number)
            rows = session.scalars(query.order_by(ProgressRow.progress_id).limit(limit))
            return tuple(_record(ProgressRecord, row, moves=tuple(row.moves)) for row in rows)

    def list_hiscores(self, campaign_id: int | None = None, limit: int = 10, after: int = 0) -> tuple[HiscoreRecord, ...]:
        """See `CampaignRepository`."""
        with self._reading() as session:
            query = select(HiscoreRow)
            if campaign_id is not None:
                self._get(session, campaign_id)
                query = query.where(HiscoreRow.campaign_id == campaign_id)
            query = query.order_by(HiscoreRow.k.desc().nulls_last(), HiscoreRow.model_hash, HiscoreRow.hiscore_id)
            return tuple(_hiscore(row) for row in session.scalars(query.offset(after).limit(limit)))

    def get_hiscore(self, hiscore_id: int) -> HiscoreRecord:
        """See `CampaignRepository`."""
        with self._reading() as session:
            row = session.get(HiscoreRow, hiscore_id) if hiscore_id <= MAX_ID else None
            if row is None:
                raise HiscoreNotFoundError(f"there is no hiscore {hiscore_id}")
            return _hiscore(row)

    def _counts(self, campaign_id: int, kind: str) -> Mapping[str, int]:
        with self._reading() as session:
            self._get(session, campaign_id)
            query = select(CountRow.name, CountRow.count).where(CountRow.campaign_id == campaign_id, CountRow.kind == kind)
            return dict(sorted((name, count) for name, count in session.execute(query)))

    def count_verdicts(self, campaign_id: int) -> Mapping[str, int]:
        """See `CampaignRepository`."""
        return self._counts(campaign_id, "verdict")

    def count_failures(self, campaign_id: int) -> Mapping[str, int]:
        """See `CampaignRepository`."""
        return self._counts(campaign_id, "failure")

    def record_incident(self, campaign_id: int, incident: NewIncident) -> IncidentRecord:
        """See `CampaignRepository`."""
        with self._writing() as session:
            self._get(session, campaign_id)
            row = IncidentRow(campaign_id=campaign_id, **_columns(incident))
            session.add(row)
            session.flush()
            session.refresh(row)
            return _record(IncidentRecord, row, walker_numbers=tuple(row.walker_numbers))

    def list_incidents(self, campaign_id: int) -> tuple[IncidentRecord, ...]:
        """See `CampaignRepository`."""
        with self._reading() as session:
            self._get(session, campaign_id)
            query = select(IncidentRow).where(IncidentRow.campaign_id == campaign_id).order_by(IncidentRow.incident_id)
            return tuple(_record(IncidentRecord, row, walker_numbers=tuple(row.walker_numbers)) for row in session.scalars(query))

    def close(self) -> None:
        """See `CampaignRepository`."""
        self._engine.dispose()


def open_repository(database: str | None = None, *, is_read_only: bool = False) -> SqlRepository:
    """Opens the campaign storage; for writing, it is created or upgraded where needed.

    Args:
        database: SQLAlchemy URL or path of an SQLite file; None for the default (see `resolve_database_url`).
        is_read_only: never create, upgrade or write; for reports and the REST service.

    Raises:
        DatabaseNotFoundError: it does not exist (read-only).
        CampaignError: it cannot be opened, or needs another release.
    """
    url = resolve_database_url(database)
    is_sqlite = make_url(url).get_backend_name() == "sqlite"
    if is_sqlite and is_read_only and not Path(make_url(url).database or "").is_file():
        raise DatabaseNotFoundError(f"there is no campaign database {describe_database(url)}; `protomodels run CONFIG` starts one")
    if is_sqlite and not is_read_only:
        prepare_sqlite_file(url)
    repository = SqlRepository(url, is_read_only=is_read_only)
    try:
        if is_read_only:
            with repository._engine.begin() as connection:
                if not is_schema_current(connection):
                    where = describe_database(url)
                    raise CampaignError(
                        f"the campaign database {where} is of an earlier release; `protomodels run` or `resume` upgrades it"
                    )
        else:
            upgrade_schema(repository._engine)
    except DatabaseError as error:
        repository.close()
        raise connection_error(url, error) from error
    except CampaignError:
        repository.close()
        raise
    return repository
