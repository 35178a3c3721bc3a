"""Lends tokens out of memory, for a minute at most."""

from __future__ import annotations

from dataclasses import dataclass

from services.common.account_state import AccountState
from services.common.errors import NotConnected, UnknownAccount
from services.tokens.accounts import TOKEN_FIELD, Account, Token
from services.tokens.ports import Accounts, Clock, Keys

KEPT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Loan:
    """A token in the clear, with the account that it opens. Its text is in no repr."""

    account: Account
    token: Token
    text: str
    until: float

    def __repr__(self) -> str:
        """Say whose it is and nothing else."""
        return f"Loan({self.account.account}, version={self.token.version})"


class Lender:
    """Answers from memory what the store said less than a minute ago. Only tokens that may be lent are kept."""

    def __init__(self, accounts: Accounts, keys: Keys, clock: Clock) -> None:
        """Start with an empty memory."""
        self.accounts = accounts
        self.keys = keys
        self.clock = clock
        self.loans: dict[str, Loan] = {}
        self.purge_at = 0.0

    async def lend(self, account_id: str) -> Loan:
        """Return the account's token; UnknownAccount, NotConnected with the state's name, or Unavailable."""
        loan = self.loans.get(account_id)
        if loan is not None and self.clock.monotonic() < loan.until:
            return loan
        until = self.clock.monotonic() + KEPT_SECONDS
        account = await self.accounts.find(account_id)
        if account is None:
            raise UnknownAccount("no such account")
        if account.state != AccountState.ACTIVE or account.token is None:
            self.drop(account)
            raise NotConnected(account.state)
        return self._keep(account, account.token, until)

    def _keep(self, account: Account, token: Token, until: float) -> Loan:
        self._purge()
        text = self.keys.open(account.account, TOKEN_FIELD, token.sealed)
        loan = Loan(account, token, text, until)
        self.loans[account.account] = self.loans[account.app_scoped_id] = loan
        return loan

    def _purge(self) -> None:
        """Let go of what may not be lent any more: a token in the clear stays no longer than it is of use."""
        now = self.clock.monotonic()
        if now >= self.purge_at:
            self.purge_at = now + KEPT_SECONDS
            self.loans = {key: loan for key, loan in self.loans.items() if loan.until > now}

    def doubt(self, account_id: str) -> None:
        """Forget a loan that somebody doubts, under both of its ids."""
        loan = self.loans.get(account_id)
        if loan is not None:
            self.drop(loan.account)

    def drop(self, account: Account) -> None:
        """Forget a loan: the account has changed."""
        self.loans.pop(account.account, None)
        self.loans.pop(account.app_scoped_id, None)
