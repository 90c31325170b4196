"""`k2ctl feed`: what is shipped, and how it is read and shown."""

from pathlib import Path

import orjson
import pytest

from k2ctl.profiles.feed import feed_names, feed_of, load_feed
from tests.support.cli import called


def test_every_shipped_feed_is_listed_with_its_format(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(capsys, "feed", "list", "--json")
    listed = {one["name"]: one for one in orjson.loads(out)}
    assert code == 0
    assert sorted(listed) == feed_names()
    assert listed["k2-json"]["format"] == "json"
    assert listed["k2-json"]["reads"] == "topics"


def test_the_list_says_what_each_feed_reads(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(capsys, "feed", "list")
    assert code == 0
    assert all(name in out for name in feed_names())


@pytest.mark.parametrize("name", feed_names())
def test_what_is_shown_of_a_feed_is_a_feed_that_says_the_same(capsys: pytest.CaptureFixture[str], name: str) -> None:
    code, out, _ = called(capsys, "feed", "show", name)
    assert code == 0
    assert feed_of(name, "shown", out).feed == load_feed(name).feed


def test_a_feed_as_json_has_what_it_leaves_to_defaults(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(load_feed("k2-json").text)
    code, out, _ = called(capsys, "feed", "show", str(path), "--json")
    shown = orjson.loads(out)
    assert code == 0
    assert (shown["name"], shown["source"]["earliest"], shown["where"]) == ("my", "1990-01-01", None)


def test_a_feed_that_is_not_there_is_one_line_and_a_next_step(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = called(capsys, "feed", "show", "nasdaq")
    assert (code, out) == (2, "")
    assert "There is no feed 'nasdaq'" in err
    assert "k2ctl feed list" in err
