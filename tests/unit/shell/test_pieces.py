"""What was typed, as queries and commands."""

import pytest

from k2ctl.commands.shell.commands import COMMANDS, known
from k2ctl.commands.shell.pieces import Command, WholeQuery, is_whole, pieces


@pytest.mark.parametrize(
    ("typed", "found", "rest"),
    [
        ("select 1", [], "select 1"),
        ("select 1;", [WholeQuery("select 1")], ""),
        ("select 1;\nselect\n2 ; select 3", [WholeQuery("select 1"), WholeQuery("select\n2")], "select 3"),
        ("select ';' as a, \";\" as b;", [WholeQuery("select ';' as a, \";\" as b")], ""),
        (
            "select 'it''s ; ', E'\\';' -- ; not yet\n, 1;",
            [WholeQuery("select 'it''s ; ', E'\\';' -- ; not yet\n, 1")],
            "",
        ),
        ("select /* ; */ $tag$ ; $tag$, $$;$$, $name;", [WholeQuery("select /* ; */ $tag$ ; $tag$, $$;$$, $name")], ""),
        ("select 'open ;", [], "select 'open ;"),
        ("select /* open ;", [], "select /* open ;"),
        (";; -- nothing\n;", [], ""),
        ("  -- a comment alone\n", [], ""),
        ("\\d trades\n", [Command("d", "trades")], ""),
        (".mode csv\nselect 1;", [Command("mode", "csv"), WholeQuery("select 1")], ""),
        ("help\n", [Command("help")], ""),
        ("QUIT;\n", [Command("quit")], ""),
        ("select 1 \\watch 2\n", [Command("watch", "2", "select 1")], ""),
        ("select '\\watch 2' as a;", [WholeQuery("select '\\watch 2' as a")], ""),
        ("select 1;\n\\timing", [WholeQuery("select 1"), Command("timing")], ""),
        ("select help;", [WholeQuery("select help")], ""),
    ],
)
def test_queries_and_commands_are_distinguished(typed: str, found: list[WholeQuery | Command], rest: str) -> None:
    assert pieces(typed) == (found, rest)


def test_enter_runs_only_what_is_whole() -> None:
    assert is_whole("")
    assert is_whole("\\d")
    assert is_whole("select 1;")
    assert not is_whole("select 1")
    assert not is_whole("select ';")


def test_a_long_text_is_read_quickly() -> None:
    found, rest = pieces("select 1;\n" * 2_000 + "select '" + "x;" * 50_000)
    assert len(found) == 2_000
    assert rest.startswith("select '")


def test_no_two_commands_have_a_name_in_common() -> None:
    names = [name for command in COMMANDS for name in command.names]
    assert len(names) == len(set(names))
    assert known("tables") == "d"
    assert known("nothing") is None
