"""Lends tokens out of memory: for seconds, and for a minute while the store is away."""

from __future__ import annotations

from dataclasses import dataclass

from services.common.account_state import AccountState
from services.common.errors import NotConnected, Unavailable, UnknownAccount
from services.tokens.accounts import TOKEN_FIELD, Account, Token
from services.tokens.ports import Accounts, Clock, Keys

# A borrower keeps a token for a minute; what another replica disconnected must not be lent for another minute before.
FRESH_SECONDS = 10.0
KEPT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Loan:
    """A token in the clear, with the account that it opens. Its text is in no repr."""

    account: Account
    token: Token
    text: str
    read_at: float

    def __repr__(self) -> str:
        """Say whose it is and nothing else."""
        return f"Loan({self.account.account}, version={self.token.version})"


class Lender:
    """Answers from memory what the store said a moment ago. Only tokens that may be lent are kept."""

    def __init__(self, accounts: Accounts, keys: Keys, clock: Clock) -> None:
        """Start with an empty memory."""
        self.accounts = accounts
        self.keys = keys
        self.clock = clock
        self.loans: dict[str, Loan] = {}
        self.purge_at = 0.0

    async def lend(self, account_id: str) -> Loan:
        """Return the account's token; UnknownAccount, NotConnected with the state's name, or Unavailable."""
        loan, now = self.loans.get(account_id), self.clock.monotonic()
        if loan is not None and now < loan.read_at + FRESH_SECONDS:
            return loan
        try:
            account = await self.accounts.find(account_id)
        except Unavailable:
            if loan is not None and self.clock.monotonic() < loan.read_at + KEPT_SECONDS:
                return loan
            raise
        if account is None:
            raise UnknownAccount("no such account")
        if account.state != AccountState.ACTIVE or account.token is None:
            self.drop(account)
            raise NotConnected(account.state)
        return self._keep(account, account.token, now, known=loan)

    def _keep(self, account: Account, token: Token, read_at: float, *, known: Loan | None) -> Loan:
        self._purge()
        same = known is not None and known.token == token
        text = known.text if known and same else self.keys.open(account.account, TOKEN_FIELD, token.sealed)
        loan = Loan(account, token, text, read_at)
        self.loans[account.account] = self.loans[account.app_scoped_id] = loan
        return loan

    def _purge(self) -> None:
        """Let go of what may not be lent any more: a token in the clear stays no longer than it is of use."""
        now = self.clock.monotonic()
        if now >= self.purge_at:
            self.purge_at = now + KEPT_SECONDS
            self.loans = {key: loan for key, loan in self.loans.items() if loan.read_at + KEPT_SECONDS > now}

    def doubt(self, account_id: str) -> None:
        """Forget a loan that somebody doubts, under both of its ids."""
        loan = self.loans.get(account_id)
        if loan is not None:
            self.drop(loan.account)

    def drop(self, account: Account) -> None:
        """Forget a loan: the account has changed."""
        self.loans.pop(account.account, None)
        self.loans.pop(account.app_scoped_id, None)
