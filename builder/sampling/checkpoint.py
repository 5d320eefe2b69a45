"""One file from which a run goes on as if nothing had happened: an SQLite database, one transaction per round of batches.

Walk: run ──▶ **checkpoint** ──▶ run, posterior. It holds what the run is (settings, seed, results: they must not change), where every
chain stands, and everything recorded so far. A process that is killed while it writes leaves the last complete round.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.sampling.chain import ChainState
from builder.sampling.state import SamplerState
from builder.sampling.tempering import Draw, Walker
from database.errors import ConfigError, ModelFormatError

if TYPE_CHECKING:
    from builder.sampling.run import BatchResult

CHECKPOINT_FORMAT = 1

_SCHEMA = """
CREATE TABLE identity (format INTEGER NOT NULL, document TEXT NOT NULL);
CREATE TABLE walkers (number INTEGER PRIMARY KEY, step INTEGER NOT NULL, document BLOB NOT NULL);
CREATE TABLE draws (number INTEGER NOT NULL, step INTEGER NOT NULL, document BLOB NOT NULL, PRIMARY KEY (number, step));
"""


class Checkpoint:
    """The file of a run; use `create` or `open`.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, identity: Mapping[str, Any]) -> Checkpoint:
        """Return the file of a new run.

        Args:
            path: must not exist.
            identity: everything that decides what the chains are, as JSON values.

        Raises:
            ConfigError: the file exists or cannot be written.
        """
        if path.exists():
            raise ConfigError(f"{path} exists: go on with --resume, or choose another file.")
        checkpoint = cls(path)
        try:
            with closing(checkpoint._connect()) as connection, connection:
                connection.executescript(_SCHEMA)
                connection.execute("INSERT INTO identity VALUES (?, ?)", (CHECKPOINT_FORMAT, json.dumps(identity, sort_keys=True)))
        except sqlite3.Error as error:
            raise ConfigError(f"{path} cannot be written: {error}.") from None
        return checkpoint

    @classmethod
    def open(cls, path: Path, identity: Mapping[str, Any]) -> Checkpoint:
        """Return the file of a run that goes on.

        Args:
            path: the file.
            identity: what the run is now; must be what it was.

        Raises:
            ConfigError: there is no such file, it is not one of this release, or the run has changed.
        """
        if not path.is_file():
            raise ConfigError(f"{path} does not exist: there is nothing to resume.")
        checkpoint = cls(path)
        stored = checkpoint.load_identity()
        wanted = json.loads(json.dumps(identity))
        for key in sorted({*stored, *wanted}):
            if stored.get(key) != wanted.get(key):
                raise ConfigError(f"{path}: {key} was {stored.get(key)!r} when the run began and is {wanted.get(key)!r} now.")
        return checkpoint

    def load_identity(self) -> dict[str, Any]:
        """Return what the run is.

        Raises:
            ConfigError: the file is not a checkpoint of this release.
        """
        try:
            with closing(self._connect()) as connection:
                number, document = connection.execute("SELECT format, document FROM identity").fetchone()
        except (sqlite3.Error, TypeError) as error:
            raise ConfigError(f"{self.path} is not a checkpoint: {error}.") from None
        if number != CHECKPOINT_FORMAT:
            raise ConfigError(f"{self.path}: this release reads checkpoints of format {CHECKPOINT_FORMAT}, not {number}.")
        identity: dict[str, Any] = json.loads(document)
        return identity

    def save(self, results: Iterable[BatchResult]) -> None:
        """Store where walkers stand and what they recorded, all or nothing."""
        with closing(self._connect()) as connection, connection:
            for result in results:
                walker = result.walker
                document = {"chains": [chain.to_json() for chain in walker.chains], "exchanges": [list(pair) for pair in walker.exchanges]}
                row = (result.number, walker.step, _pack(document))
                connection.execute("INSERT OR REPLACE INTO walkers VALUES (?, ?, ?)", row)
                if result.draws:
                    rows = [[draw.step, draw.state.to_json(), draw.log_prior, draw.log_likelihood] for draw in result.draws]
                    connection.execute("INSERT INTO draws VALUES (?, ?, ?)", (result.number, result.draws[0].step, _pack(rows)))

    def load_walkers(self) -> dict[int, Walker]:
        """Return where walkers stand, by number.

        Raises:
            ModelFormatError: a stored chain is not valid.
        """
        with closing(self._connect()) as connection:
            rows = connection.execute("SELECT number, document FROM walkers ORDER BY number").fetchall()
        walkers = {}
        for number, packed in rows:
            document = _unpack(packed)
            chains = tuple(ChainState.from_json(chain) for chain in document["chains"])
            walkers[int(number)] = Walker(chains, tuple((int(tried), int(taken)) for tried, taken in document["exchanges"]))
        return walkers

    def load_draws(self) -> tuple[tuple[Draw, ...], ...]:
        """Return what the cold chains recorded, per walker.

        Raises:
            ModelFormatError: a stored state is not valid.
        """
        with closing(self._connect()) as connection:
            rows = connection.execute("SELECT number, document FROM draws ORDER BY number, step").fetchall()
        draws: dict[int, list[Draw]] = {}
        for number, packed in rows:
            draws.setdefault(int(number), []).extend(
                Draw(int(step), SamplerState.from_json(state), float(log_prior), float(log_likelihood))
                for step, state, log_prior, log_likelihood in _unpack(packed)
            )
        return tuple(tuple(draws[number]) for number in sorted(draws))

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path)


def _pack(document: Any) -> bytes:
    return zlib.compress(json.dumps(document, allow_nan=False, separators=(",", ":")).encode("ascii"))


def _unpack(packed: bytes) -> Any:
    try:
        return json.loads(zlib.decompress(packed))
    except (zlib.error, ValueError) as error:
        raise ModelFormatError(f"checkpoint: a stored record is damaged ({error}).") from None
