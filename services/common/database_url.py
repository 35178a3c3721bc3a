"""Where a service keeps its data: a folder of SQLite files, or a MongoDB database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, SecretStr
from pydantic_settings import NoDecode

from services.common.settings import split_url


@dataclass(frozen=True, slots=True)
class SqliteFolder:
    """The folder that holds one file a service."""

    path: Path


@dataclass(frozen=True, slots=True)
class MongoDatabase:
    """A database of a MongoDB deployment; the address may hold a password."""

    address: SecretStr
    name: str


def parse_database_url(value: object) -> SqliteFolder | MongoDatabase:
    """Read `sqlite:///folder`, `sqlite:////absolute/folder` or `mongodb://…/name`."""
    if isinstance(value, (SqliteFolder, MongoDatabase)):
        return value
    parts = split_url(str(value))
    if parts.scheme == "sqlite":
        return _folder(parts.netloc, parts.path)
    if parts.scheme in {"mongodb", "mongodb+srv"}:
        return _database(str(value), parts.netloc, parts.path)
    raise ValueError("must begin with sqlite:/// or mongodb://")


def _folder(host: str, path: str) -> SqliteFolder:
    if host or len(path) < 2:
        raise ValueError("must be sqlite:///folder (relative) or sqlite:////folder (absolute)")
    return SqliteFolder(Path(path[1:]))


def _database(address: str, host: str, path: str) -> MongoDatabase:
    name, user = path.strip("/"), host.rpartition("@")[0]
    if "@" in user or user.count(":") > 1:
        raise ValueError("must have @ and : percent-encoded in its user's name and password")
    if not host or not name or set(name) & set('/\\. "$'):
        raise ValueError("must name a host and a database, as in mongodb://host:27017/igbot")
    return MongoDatabase(SecretStr(address), name)


DatabaseUrl = Annotated[SqliteFolder | MongoDatabase, NoDecode, BeforeValidator(parse_database_url)]
