"""Messages of Flight SQL as other programs write them, and statements that come back from their handles."""

from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.flight.messages import NotFlightSql, Statement, bare, packed, unpacked

_URL = b"type.googleapis.com/arrow.flight.protocol.sql."


def test_a_command_is_read_as_another_program_wrote_it() -> None:
    written = b"\n?" + _URL + b"CommandGetSqlInfo\x12\x03\n\x01\x08"  # by the ADBC driver, in Go
    name, command = unpacked(written)
    assert (name, list(command.info)) == ("CommandGetSqlInfo", [8])


def test_a_field_that_is_empty_is_another_thing_than_one_that_is_missing() -> None:
    _, given_empty = unpacked(packed("CommandGetTables", catalog=""))
    _, not_given = unpacked(packed("CommandGetTables"))
    assert (given_empty.HasField("catalog"), not_given.HasField("catalog")) == (True, False)


def test_a_command_that_is_not_known_has_its_name() -> None:
    known = packed("CommandGetCatalogs")
    assert unpacked(known.replace(b"GetCatalogs", b"MakeCoffees")) == ("CommandMakeCoffees", None)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_refused(content: bytes) -> None:
    for of in (content, _URL.join([b"\n", content])):
        with suppress(NotFlightSql):
            assert isinstance(unpacked(of)[0], str)


@given(st.binary(max_size=60))
def test_any_handle_is_a_statement_or_refused(handle: bytes) -> None:
    with suppress(NotFlightSql):
        assert isinstance(Statement.of_handle(handle).values(), list)


def test_a_statement_comes_back_from_its_handle_with_its_values() -> None:
    moment = datetime(2026, 11, 30, 10, tzinfo=UTC)
    values = pa.record_batch({"1": ["BHP"], "2": [Decimal("4.170")], "3": [moment], "4": pa.nulls(1)})
    statement = Statement.of_handle(Statement.of("SELECT ?, ?, ?, ?", values).handle())
    assert statement.text == "SELECT ?, ?, ?, ?"
    assert statement.values() == [("1", "BHP"), ("2", Decimal("4.170")), ("3", moment), ("4", None)]


def test_a_result_of_binding_stands_without_a_name() -> None:
    assert bare("DoPutPreparedStatementResult", prepared_statement_handle=b"xyz") == b"\n\x03xyz"


@pytest.mark.parametrize("text", ["", "SELECT 'ä'", "x" * 100_000])
def test_a_statement_without_values_has_none(text: str) -> None:
    assert Statement.of_handle(Statement(text).handle()) == Statement(text)
