"""The tables of responder.db. A script that was released never changes; a later one follows it.

What a query filters, sorts or changes by itself is a column and speaks for itself; the rest of a row is `doc`, JSON.
"""

from __future__ import annotations

FIRST = """
CREATE TABLE conversations (
    account TEXT NOT NULL,
    person TEXT NOT NULL,
    rev INTEGER NOT NULL,
    owner TEXT NOT NULL DEFAULT '',
    fence INTEGER NOT NULL DEFAULT 0,
    lease_until INTEGER NOT NULL DEFAULT 0,
    due_at INTEGER,
    last_at INTEGER NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (account, person)
);
CREATE INDEX conversations_due ON conversations (account, due_at, lease_until) WHERE due_at IS NOT NULL;
CREATE INDEX conversations_of_account ON conversations (account, last_at);
CREATE INDEX conversations_last ON conversations (last_at);

CREATE TABLE messages (
    key TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    person TEXT NOT NULL,
    shown INTEGER NOT NULL,
    at INTEGER NOT NULL,
    answered_by TEXT NOT NULL,
    worded INTEGER NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX messages_of_person ON messages (account, person, shown, at, key);
CREATE INDEX messages_worded ON messages (at) WHERE worded;

CREATE TABLE sends (
    id TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    person TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    held INTEGER NOT NULL,
    worded INTEGER NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX sends_of_person ON sends (account, person, created_at, id);
CREATE INDEX sends_held ON sends (created_at, id) WHERE held;
CREATE INDEX sends_worded ON sends (created_at) WHERE worded;

CREATE TABLE send_mids (
    account TEXT NOT NULL,
    mid TEXT NOT NULL,
    id TEXT NOT NULL REFERENCES sends ON DELETE CASCADE,
    PRIMARY KEY (account, mid)
) WITHOUT ROWID;
CREATE INDEX send_mids_of_send ON send_mids (id);

CREATE TABLE accounts (
    account TEXT NOT NULL PRIMARY KEY,
    app_scoped_id TEXT NOT NULL,
    rev INTEGER NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX accounts_app_scoped ON accounts (app_scoped_id);

CREATE TABLE tombstones (
    hash TEXT NOT NULL PRIMARY KEY,
    erased_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE secrets (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
);
"""

FAILED = """
ALTER TABLE conversations ADD COLUMN failed INTEGER NOT NULL DEFAULT 0;
UPDATE conversations SET failed = 1 WHERE json_extract(doc, '$.failed');
CREATE INDEX conversations_failed ON conversations (account) WHERE failed
"""

MIGRATIONS = (FIRST, FAILED)
