"""What can be wrong with a workspace that is to be simplified."""

from __future__ import annotations

from database.errors import UserFacingError


class SimplificationError(UserFacingError):
    """A workspace cannot be simplified, or a file of a simplified likelihood is not valid; says why."""
