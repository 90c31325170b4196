"""Which representation, and the same tag for the same answer."""

import pytest

from k2ctl.api.problems import TITLES, Refused, kind_of
from k2ctl.api.render import ARROW, CSV, JSON, etag_of, representation
from k2ctl.errors import BrokerError, K2Error, LakeError, TooLong, UsageError
from k2ctl.query.history import FilesGone
from k2ctl.query.names import UnknownSymbol


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("text/html, text/csv;q=0.5", CSV),
        (ARROW, ARROW),
        ("application/json;q=0, text/csv", CSV),
    ],
)
def test_accept_decides(accept: str, media: str) -> None:
    assert representation(accept) == media


def test_what_there_is_not_is_refused() -> None:
    with pytest.raises(Refused):
        representation("image/png, text/csv;q=0")


def test_a_tag_depends_on_every_part() -> None:
    assert etag_of(1, {0: 5}) == etag_of(1, {0: 5}) != etag_of(1, {0: 6})


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnknownSymbol("x"), 404),
        (TooLong(), 504),
        (UsageError("x"), 422),
        (BrokerError("x"), 503),
        (LakeError("x"), 503),
        (FilesGone("x"), 503),
        (K2Error("x"), 500),
    ],
)
def test_each_of_our_errors_is_a_problem(error: K2Error, status: int) -> None:
    assert TITLES[kind_of(error)][0] == status
