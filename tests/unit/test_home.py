"""The endpoints as they are kept, and as they are shown."""

from dataclasses import replace
from pathlib import Path

import pytest

from k2ctl.endpoints import Endpoints, load_endpoints, save_endpoints, without_password
from k2ctl.errors import StackError
from k2ctl.home import Home

MADE = Endpoints(
    engine="external",
    bootstrap_servers="kafka:9092",
    catalog_uri="postgresql+psycopg://k2:hush-catalog@db:5432/k2",
    warehouse="s3://k2/warehouse",
    state_url="redis://:hush-state@redis:6379/0",
    storage={
        "s3.endpoint": "http://s3:7070",
        "s3.access-key-id": "hush-id",
        "s3.secret-access-key": "hush-key",
        "s3.session-token": "hush-token",
        "s3.region": "us-east-1",
    },
)


def test_endpoints_with_an_object_store_are_read_back_as_they_were_saved(home: Path) -> None:
    save_endpoints(replace(MADE, home=Home(home)))
    assert load_endpoints(Home.of_user()) == MADE


def test_no_secret_is_in_the_repr_nor_in_what_is_shown() -> None:
    shown = str(vars(MADE.shown()))
    for text in (repr(MADE), repr(MADE.shown()), shown):
        assert "hush" not in text
    assert "http://s3:7070" in shown
    assert "postgresql+psycopg://k2:…@db:5432/k2" in shown


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:////home/me/catalog.db", "sqlite:////home/me/catalog.db"),
        ("redis://:p@ss@redis:6379/0", "redis://:…@redis:6379/0"),
        ("postgresql://k2@db/k2", "postgresql://k2@db/k2"),
        ("memory://", "memory://"),
    ],
)
def test_only_the_password_of_a_url_is_hidden(url: str, expected: str) -> None:
    assert without_password(url) == expected


def test_a_named_file_of_endpoints_goes_before_that_of_the_state_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "secret"
    save_endpoints(Endpoints("embedded", "127.0.0.1:1", "sqlite:///x", "file:///x"))
    monkeypatch.setenv("K2CTL_ENDPOINTS", str(elsewhere))
    assert load_endpoints(Home.of_user()) is None
    save_endpoints(Endpoints("docker", "kafka:29092", "postgresql://x", "s3://x"))
    inside = load_endpoints(Home.of_user())
    assert inside is not None
    assert inside.bootstrap_servers == "kafka:29092"
    monkeypatch.delenv("K2CTL_ENDPOINTS")
    own = load_endpoints(Home.of_user())
    assert own is not None
    assert own.bootstrap_servers == "127.0.0.1:1"


WRONG = {
    "no object": "[1]",
    "a deep one": "[" * 200_000,
    "a key twice": '{"engine": "local", "engine": "docker"}',
    "a number of 5,000 digits": f'{{"started_at_us": {"9" * 5000}}}',
    "a number for a text": '{"engine": 5, "bootstrap_servers": "", "catalog_uri": "", "warehouse": ""}',
    "a process of three": '{"engine": "", "processes": {"kafka": [1, 2, 3]}}',
    "a process of texts": '{"engine": "", "processes": {"kafka": ["a", "b"]}}',
    "processes that are a list": '{"engine": "", "processes": [1]}',
    "storage of numbers": '{"engine": "", "storage": {"s3.region": 1}}',
    "too little": '{"engine": "local"}',
    "no text": b"\xff\xfe",
    "nothing": "",
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_damaged_file_of_endpoints_is_reported_in_one_line_with_what_repairs_it(home: Path, kind: str) -> None:
    wrong = WRONG[kind]
    (home / "endpoints.json").write_bytes(wrong if isinstance(wrong, bytes) else wrong.encode())
    with pytest.raises(StackError, match=r"endpoints\.json cannot be read: ") as raised:
        load_endpoints(Home.of_user())
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300
    assert "stack up" in raised.value.hint


def test_a_folder_in_the_place_of_the_endpoints_is_reported(home: Path) -> None:
    (home / "endpoints.json").mkdir()
    with pytest.raises(StackError, match="cannot be read"):
        load_endpoints(Home.of_user())
