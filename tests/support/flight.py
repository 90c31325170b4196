"""Asking a service in SQL, as the ADBC driver does."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pyarrow as pa
from adbc_driver_flightsql import DatabaseOptions, dbapi

from k2ctl.api.settings import Limits
from tests.support.api import Service

KEY: Final = "k" * 20
LIMITS: Final = Limits(seconds=2.0, waiting_s=0.3, queries=2, sql_memory_mb=256)
BEARER: Final = {DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {KEY}"}


def address(service: Service) -> str:
    return f"grpc://127.0.0.1:{service.flight_port}"


@contextmanager
def asking(service: Service, options: dict[str, str] | None = None) -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it cannot turn transactions on, which there are none of
        connected = dbapi.connect(address(service), db_kwargs=BEARER if options is None else options)
    with connected as connection, connection.cursor() as cursor:
        yield cursor


def answer(service: Service, text: str, values: Any = None) -> pa.Table:
    with asking(service) as cursor:
        return taken(cursor, text, values)


def taken(cursor: Any, text: str, values: Any = None) -> pa.Table:
    cursor.execute(text, values)
    return cursor.fetch_arrow_table()
