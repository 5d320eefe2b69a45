"""Connections to the campaign storage: which database, how SQLite is opened safely, and schema upgrades.

SQLite is opened for one writing process. Write-ahead logging is used where the file system carries it: some network
file systems accept the request and fail at the first write, so it is tried by writing, and given up where it fails.
Readers (the REST service) never write and never hold up the writer.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError

from database.errors import CampaignError

log = logging.getLogger(__name__)

DEFAULT_DATABASE = "protomodels.db"
DATABASE_VARIABLE = "PROTOMODELS_DATABASE"
BUSY_TIMEOUT_S = 30.0
MIGRATIONS = Path(__file__).parent / "migrations"


def resolve_database_url(database: str | None = None) -> str:
    """URL of the campaign storage: the argument, else $PROTOMODELS_DATABASE, else protomodels.db in this directory.

    Args:
        database: an SQLAlchemy URL, or the path of an SQLite file.

    Raises:
        CampaignError: the text looks like a URL and is none.

    Examples:
        >>> resolve_database_url("postgresql+psycopg://user@host/protomodels")
        'postgresql+psycopg://user@host/protomodels'
        >>> resolve_database_url("/data/run.db")
        'sqlite:////data/run.db'
    """
    chosen = database or os.environ.get(DATABASE_VARIABLE) or DEFAULT_DATABASE
    if "://" not in chosen:
        return f"sqlite:///{Path(chosen).expanduser().absolute()}"
    try:
        url = make_url(chosen)
    except ArgumentError:
        raise CampaignError(f"'{chosen}' is not a database URL; an SQLite file is named by its path") from None
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise CampaignError(f"campaigns are stored in SQLite or PostgreSQL, not in {url.get_backend_name()}")
    return chosen


def describe_database(url: str) -> str:
    """The URL without its password, or the path of an SQLite file: for messages."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return parsed.database or "an SQLite database in memory"
    return parsed.render_as_string(hide_password=True)


def build_engine(url: str, *, is_read_only: bool) -> Engine:
    """An engine whose SQLite transactions begin explicitly, so that reads and writes of one transaction belong together.

    Args:
        url: as from `resolve_database_url`.
        is_read_only: refuse every write at the connection.

    Raises:
        CampaignError: the driver of the database is not installed.
    """
    parsed = make_url(url)
    try:
        if parsed.get_backend_name() == "sqlite":
            engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT_S})
            _configure_sqlite(engine, is_read_only=is_read_only)
            return engine
        return create_engine(_with_psycopg(parsed), pool_pre_ping=True)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise CampaignError(
            f"the driver for {describe_database(url)} is not installed ({error}); try: pip install 'psycopg[binary]'"
        ) from None


def _with_psycopg(url: URL) -> URL:
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def _configure_sqlite(engine: Engine, *, is_read_only: bool) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # this module says BEGIN; the driver must not
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys=ON")
        if is_read_only:
            cursor.execute("PRAGMA query_only=ON")
        else:
            # With write-ahead logging, NORMAL survives a killed process and keeps the file sound after a power cut.
            cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # IMMEDIATE takes the write lock at the start, where waiting for it is safe; an upgrade from read to write is not.
        mode = connection.get_execution_options().get("sqlite_begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {mode}")


def prepare_sqlite_file(url: str) -> None:
    """Creates the file and its folder if missing, and switches to write-ahead logging if the file system carries it.

    Raises:
        CampaignError: the file cannot be written.
    """
    database = make_url(url).database
    if not database or database == ":memory:":
        raise CampaignError("an SQLite database in memory vanishes with its connection; name a file")
    path = Path(database)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = _try_journal_mode(path, "WAL")
        if mode != "wal":
            log.info("database=%s write-ahead logging is not available here; journal mode %s", path, mode)
    except OSError as error:
        raise CampaignError(f"the campaign database {path} cannot be created: {error.strerror or error}") from None
    except sqlite3.DatabaseError:
        try:
            _try_journal_mode(path, "DELETE")
        except sqlite3.DatabaseError as error:
            raise CampaignError(f"the campaign database {path} cannot be written: {error}") from None


def _try_journal_mode(path: Path, mode: str) -> str:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        (present,) = connection.execute("PRAGMA journal_mode").fetchone()
        if present != mode.lower():
            (present,) = connection.execute(f"PRAGMA journal_mode={mode}").fetchone()
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("CREATE TABLE write_probe (x INTEGER)")
            connection.execute("DROP TABLE write_probe")
            connection.execute("COMMIT")
        return str(present)
    finally:
        connection.close()


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def upgrade_schema(engine: Engine) -> None:
    """Brings the tables to the newest revision; several processes may ask at the same time.

    Raises:
        CampaignError: the database was written by a newer release, or cannot be changed.
    """
    config = _alembic_config()
    with engine.execution_options(sqlite_begin="IMMEDIATE").begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(727001)"))  # any fixed number: one upgrade at a time
        if not is_schema_current(connection):
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def is_schema_current(connection: Connection) -> bool:
    """Whether the tables are of the newest revision.

    Raises:
        CampaignError: the database was written by a newer release.
    """
    script = ScriptDirectory.from_config(_alembic_config())
    present = MigrationContext.configure(connection).get_current_revision()
    known = {revision.revision for revision in script.walk_revisions()}
    if present is not None and present not in known:
        raise CampaignError(f"the campaign database has revision {present} of a newer release; update protomodels to open it")
    return present == script.get_current_head()


def connection_error(url: str, error: DatabaseError) -> CampaignError:
    """The user's sentence for a database that cannot be opened, read or written."""
    reason = str(error.orig).strip().splitlines()[0] if error.orig else str(error)
    return CampaignError(f"the campaign database {describe_database(url)} cannot be used: {reason}")
