"""A store in memory with the real stores' promises: it passes the same tests as they do.

Every write passes a gate first, so that a test may decide when it goes on, and whether the caller dies there.
"""

from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from services.common.findings import Finding
from services.responder.message import Stored
from services.responder.model import Conversation, Figures, PartState
from services.responder.stubs import completed, edited, is_shown, is_stub, scrubbed


@dataclass
class Clock:
    ms: int = 1_790_856_000_000

    def now(self):
        return self.ms

    def monotonic(self):
        return self.ms / 1000


class OpenGates:
    """Lets everybody pass: for tests without a machine."""

    async def passed(self, what):
        return None


@dataclass
class MemoryStore:
    clock: Clock
    gates: Any
    rows: dict = field(default_factory=dict)
    docs: dict = field(default_factory=dict)
    replies: dict = field(default_factory=dict)
    books: dict = field(default_factory=dict)
    tombstones: dict = field(default_factory=dict)
    births: int = 0
    on_save: Any = None

    def __post_init__(self):
        self.conversations = MemoryConversations(self)
        self.messages = MemoryMessages(self)
        self.sends = MemorySends(self)
        self.accounts = MemoryAccounts(self)
        self.erasing = MemoryErasing(self)

    def first_rev(self):
        self.births += 1
        return self.births * 1_000_000  # never one from before an erasure

    async def open(self):
        return None

    async def record(self, messages, row, rule):
        stored = await self.messages.add(messages)
        after = rule([one.message for one in stored])
        return stored, after, None if after == row else await self.conversations.save(after)

    async def ping(self):
        return None

    async def examine(self):
        return [Finding("database write", ok=True, found="in memory")]

    async def close(self):
        return None


@dataclass
class MemoryConversations:
    store: MemoryStore

    async def load(self, account, person):
        return self.store.rows.get((account, person))

    async def save(self, row, *, release=False):
        await self.store.gates.passed("save")
        key = (row.account, row.person)
        now = self.store.rows.get(key)
        if (now.rev if now else 0) != row.rev:
            return None
        kept = now or Conversation(account=row.account, person=row.person)
        lease = {"owner": kept.owner, "fence": kept.fence, "lease_until": kept.lease_until}
        if release:
            lease |= {"owner": "", "lease_until": 0}
        saved = replace(row, rev=row.rev + 1 if now else self.store.first_rev(), **lease)
        if self.store.on_save:
            self.store.on_save(now, saved)
        self.store.rows[key] = saved
        return saved

    async def claim(self, account, owner, lease_ms, *, person=""):
        mine = [row for row in self.due() if row.account == account and person in {"", row.person}]
        if not mine:
            return None
        row = min(mine, key=lambda one: one.due_at)
        until = self.store.clock.now() + lease_ms
        taken = replace(row, owner=owner, fence=row.fence + 1, lease_until=until, rev=row.rev + 1)
        self.store.rows[row.account, row.person] = taken
        return taken

    def due(self):
        now = self.store.clock.now()
        rows = self.store.rows.values()
        return [row for row in rows if row.due_at is not None and row.due_at <= now and row.lease_until <= now]

    async def renew(self, row, lease_ms):
        now = self.store.rows.get((row.account, row.person))
        if now is None or (now.fence, now.owner) != (row.fence, row.owner):
            return False
        self.store.rows[row.account, row.person] = replace(now, lease_until=self.store.clock.now() + lease_ms)
        return True

    async def due_accounts(self):
        return sorted({row.account for row in self.due()})

    async def find(self, *, account="", limit, offset=0):
        rows = [row for row in self.store.rows.values() if account in {"", row.account}]
        return sorted(rows, key=lambda row: -row.last_at)[offset : offset + limit]

    async def figures(self, held_accounts):
        due = [row.due_at for row in self.due() if row.account not in held_accounts]
        held = len(await self.store.sends.held())
        failed = sum(row.failed for row in self.store.rows.values())
        return Figures(due=len(due), due_oldest_at=min(due, default=None), held=held, failed=failed)


@dataclass
class MemoryMessages:
    store: MemoryStore

    async def add(self, messages):
        await self.store.gates.passed("add")
        return [self._add(message) for message in messages]

    def _add(self, message):
        known = self.store.docs.get(message.key)
        if known is not None and not is_stub(known):
            return Stored(known, new=False)
        self.store.docs[message.key] = completed(known, message) if known else message
        return Stored(self.store.docs[message.key], new=True)

    async def take_back(self, stub):
        await self.store.gates.passed("take_back")
        known = self.store.docs.get(stub.key)
        if known is not None and known.taken_back:
            return Stored(known, new=False)
        self.store.docs[stub.key] = scrubbed(known or replace(stub, recorded_at=0))
        return Stored(self.store.docs[stub.key], new=True)

    async def edit(self, stub):
        await self.store.gates.passed("edit")
        known = self.store.docs.get(stub.key)
        if known is None:
            self.store.docs[stub.key] = replace(stub, recorded_at=0)
            return Stored(self.store.docs[stub.key], new=True)
        changed = edited(known, stub)
        self.store.docs[stub.key] = changed
        return Stored(changed, new=changed is not known)

    async def mark(self, marks):
        await self.store.gates.passed("mark")
        for mark in marks:
            known = self.store.docs.get(mark.key)
            if known is not None and known.answered_by == mark.was:
                self.store.docs[mark.key] = replace(known, answered_by=mark.answered_by)

    async def get(self, keys):
        return [self.store.docs[key] for key in keys if key in self.store.docs]

    async def recent(self, account, person, limit):
        shown = [one for one in theirs(self.store.docs, account, person) if is_shown(one)]
        return sorted(shown, key=lambda one: (one.at, one.key))[-limit:]


@dataclass
class MemorySends:
    store: MemoryStore

    async def put(self, reply):
        await self.store.gates.passed("put")
        if not reply.unsettled or reply.id not in self.store.replies:
            self.store.replies[reply.id] = reply

    async def change(self, reply_id, rule):
        await self.store.gates.passed("put")
        found = self.store.replies.get(reply_id)
        changed = rule(found) if found else None
        if changed is not None:
            self.store.replies[reply_id] = changed
        return changed

    async def get(self, reply_id):
        return self.store.replies.get(reply_id)

    async def owns(self, account, mid):
        replies = theirs(self.store.replies, account, "")
        return any(part.mid == mid for reply in replies for part in reply.parts if mid)

    async def held(self, account=""):
        held = [one for one in self.store.replies.values() if any(p.state is PartState.HELD for p in one.parts)]
        return oldest_first([one for one in held if account in {"", one.account}])

    async def of(self, account, person, limit):
        return oldest_first(theirs(self.store.replies, account, person))[-limit:]


@dataclass
class MemoryAccounts:
    store: MemoryStore

    async def get(self, account_id):
        ids = (account_id,) if account_id else ()
        return next((one for one in await self.all() if one.account in ids or one.app_scoped_id in ids), None)

    async def save(self, account):
        known = self.store.books.get(account.account)
        if (known.rev if known else 0) != account.rev:
            return None
        rev = account.rev + 1 if known else self.store.first_rev()
        self.store.books[account.account] = replace(account, rev=rev)
        return self.store.books[account.account]

    async def all(self):
        return [self.store.books[account] for account in sorted(self.store.books)]


@dataclass
class MemoryErasing:
    store: MemoryStore

    async def erase(self, account, person):
        self.store.tombstones[account, person] = self.store.clock.now()
        gone = [self.store.rows, self.store.docs, self.store.replies, *([] if person else [self.store.books])]
        erased = 0
        for table in gone:
            for key in [key for key, one in table.items() if one in theirs(table, account, person)]:
                del table[key]
                erased += 1
        return erased

    async def erased_at(self, account, person):
        return max(self.store.tombstones.get((account, one), 0) for one in (person, ""))

    async def purge(self, before):
        old = [one for one in self.store.docs.values() if one.at < before and (one.text or one.attachments or one.note)]
        for one in old:
            self.store.docs[one.key] = replace(one, text="", attachments=(), note="")
        sent = [
            one for one in self.store.replies.values() if one.created_at < before and any(p.text for p in one.parts)
        ]
        for one in sent:
            self.store.replies[one.id] = replace(one, parts=tuple(replace(part, text="") for part in one.parts))
        return len(old) + len(sent)


def theirs(table, account, person):
    """What a table has of a person, or with an empty person of an account."""
    return [one for one in table.values() if one.account == account and (not person or one.person == person)]


def oldest_first(replies):
    return sorted(replies, key=lambda one: (one.created_at, one.id))
