"""The project's exceptions.

ProtomodelsError                everything this project raises on purpose
└── UserFacingError             one clear sentence, safe to show to any user or client
    ├── ResultsFormatError      a published-results file does not follow its format (names file and line)
    ├── StoreError              a compiled results store is missing, incompatible or damaged
    ├── ModelFormatError        a protomodel file or record is not valid (names the field)
    ├── ConfigError             a configuration key is unknown, missing or ill-typed (names the key)
    └── CampaignError           a campaign cannot be started, found or resumed
"""

from __future__ import annotations


class ProtomodelsError(Exception):
    """Root of everything this project raises on purpose."""


class UserFacingError(ProtomodelsError):
    """An error whose text is one clear sentence for the user."""


class ResultsFormatError(UserFacingError):
    """A file of published results does not follow its format; the text names file and line."""


class StoreError(UserFacingError):
    """A compiled results store is missing, incompatible or damaged."""


class ModelFormatError(UserFacingError):
    """A protomodel file or record is not valid; the text names the field."""


class ConfigError(UserFacingError):
    """A configuration key is unknown, missing or ill-typed; the text names the key."""


class CampaignError(UserFacingError):
    """A campaign cannot be started, found or resumed."""
