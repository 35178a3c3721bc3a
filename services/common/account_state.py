"""What an account's token can do, in the word that tokens and responder both use."""

from enum import StrEnum


class AccountState(StrEnum):
    """What an account's token can do."""

    ACTIVE = "active"
    REAUTHORIZE = "reauthorize"
    LIMITED = "limited"
    DISCONNECTED = "disconnected"
