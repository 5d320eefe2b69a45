"""Storage of campaigns: what was run, how far it is, and what it found.

status.py       states of campaigns and walkers, and which may follow which
records.py      frozen values that go in and come out
repository.py   the contract (a Protocol) that every storage keeps
memory.py       in this process, for tests and throw-away runs
sql.py          SQLite (default, one writing process) or PostgreSQL; `open_repository` starts here
orm.py          its tables
migrations/     Alembic revisions; a stored database of every release upgrades on open
"""
