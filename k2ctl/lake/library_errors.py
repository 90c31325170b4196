"""Errors of libraries that few commands import: nothing raises an error of one that was not imported."""

import sqlite3
import sys

Errors = tuple[type[Exception], ...]


def _of(module: str, *names: str) -> Errors:
    imported = sys.modules.get(module)
    return tuple(getattr(imported, name) for name in names) if imported else ()


def database_errors() -> Errors:
    """Of a catalog in a database."""
    return (sqlite3.Error, *_of("sqlalchemy.exc", "SQLAlchemyError"))


def taken_errors() -> Errors:
    """Of a row that another process has made first."""
    return (sqlite3.IntegrityError, *_of("sqlalchemy.exc", "IntegrityError"))


def request_errors() -> Errors:
    """Of the client of REST services."""
    return _of("requests", "RequestException")


def aws_errors() -> Errors:
    """Of AWS's client."""
    return _of("botocore.exceptions", "BotoCoreError", "ClientError")
