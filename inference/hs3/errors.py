"""What cannot be translated."""

from __future__ import annotations

from database.errors import UserFacingError


class Hs3Error(UserFacingError):
    """A document is no valid HS3, or holds something that the other format cannot express; names the element."""
