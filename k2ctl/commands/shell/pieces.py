"""What was typed, as queries and commands of the shell: pure, so that it can be tested without a terminal."""

import re
from dataclasses import dataclass
from typing import Final

_TOKENS: Final = re.compile(
    r"""
      (?P<quoted> [eE]'(?:[^'\\]|''|\\.)*' | '(?:[^']|'')*' | "(?:[^"]|"")*" | \$(?P<tag>\w*)\$ .*? \$(?P=tag)\$ )
    | (?P<comment> --[^\n]* | /\*.*?\*/ )
    | (?P<open> ['"] | /\* | \$\w*\$ )
    | (?P<end> ; )
    | (?P<command> \\[a-z?]+[^\n]* )
    | (?P<space> \s+ )
    | (?P<other> \w+ | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_WORDS: Final = frozenset({"help", "quit", "exit"})
"""Commands without a sign before them, alone on a line."""


@dataclass(frozen=True)
class WholeQuery:
    """One query, without its semicolon."""

    text: str


@dataclass(frozen=True)
class Command:
    """A command of the shell: its name without its sign, and the rest of its line."""

    name: str
    argument: str = ""
    # The query before it, on the same line: of `SELECT 1 \watch 2`.
    query: str = ""


Piece = WholeQuery | Command


def pieces(text: str) -> tuple[list[Piece], str]:
    """The queries and commands that are whole, in their order, and what is still to be ended."""
    found: list[Piece] = []
    while True:
        text = text.lstrip()
        line, _, behind = text.partition("\n")
        if _is_command(line):
            found.append(_command(line))
            text = behind
            continue
        end = _end(text)
        if end is None:
            return found, text if _says_something(text) else ""
        query = text[: end.start()].strip()
        if end["command"]:
            found.append(_command(end["command"], query))
        elif _says_something(query):
            found.append(WholeQuery(query))
        text = text[end.end() :]


def is_whole(text: str) -> bool:
    """Whether Enter runs what was typed; else the query goes on in the next line."""
    return not pieces(text)[1]


def _is_command(line: str) -> bool:
    return line.startswith(("\\", ".")) or line.strip().rstrip(";").lower() in _WORDS


def _command(line: str, query: str = "") -> Command:
    name, _, argument = line.strip().rstrip(";").lstrip("\\.").partition(" ")
    return Command(name.lower(), argument.strip(), query)


def _end(text: str) -> re.Match[str] | None:
    """The first semicolon or command outside of texts and comments; None where there is none, or a quote is open."""
    for token in _TOKENS.finditer(text):
        if token["open"]:
            return None
        if token["end"] or token["command"]:
            return token
    return None


def _says_something(text: str) -> bool:
    return any(not (token["space"] or token["comment"]) for token in _TOKENS.finditer(text))
