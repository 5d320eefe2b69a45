"""What can be wrong with a workspace, told in one sentence that names the place."""

from __future__ import annotations

from database.errors import UserFacingError


class WorkspaceError(UserFacingError):
    """A HistFactory workspace is not valid; the text names channel, sample, modifier or parameter."""


class PatchError(UserFacingError):
    """A JSON patch cannot be applied; the text names the operation and the path."""
