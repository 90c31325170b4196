"""YAML of which nothing is silent: no key twice, no value that Python cannot hold, no nesting without end.

Whatever is wrong with a text is a `ProfileError` that names file, line and dotted key; no other exception leaves here.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from yaml.constructor import ConstructorError

from k2ctl.errors import ProfileError

MAX_BYTES: Final = 262_144
"""A larger file is neither a profile nor a Compose file."""
MAX_DEPTH: Final = 40
MAX_DIGITS: Final = 18
"""What every number of ours fits into, and 64 bits too."""

Lines = dict[tuple[Any, ...], int]
"""Path of keys and indices → line"""

_CORRECT: Final = "Correct that line."
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, where PyYAML was built with it: ten times as fast, and `k2ctl cost` reads four files."""

_DEEPER: Final = (
    *(yaml.BlockMappingStartToken, yaml.BlockSequenceStartToken),
    *(yaml.FlowMappingStartToken, yaml.FlowSequenceStartToken),
)
_BACK: Final = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)


class _NoValue(ConstructorError):
    """A scalar that says what it is, and is none."""


@dataclass
class _Places:
    """lines: see `Lines`; values: line and column at which a value begins → its path."""

    lines: Lines = field(default_factory=lambda: {(): 1})
    values: dict[tuple[int, int], tuple[Any, ...]] = field(default_factory=dict)

    def note(self, key: yaml.Node, value: yaml.Node, at: tuple[Any, ...]) -> None:
        self.lines[at] = key.start_mark.line + 1
        for node in (key, value):
            self.values[node.start_mark.line, node.start_mark.column] = at


class _Loader(_Base):  # type: ignore[misc]  # which of the two it is shows at run time only
    """The safe loader, which also reports values that cannot be made, with their place."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            made = super().construct_object(node, deep)
            if isinstance(made, int) and abs(made) >= 10**MAX_DIGITS:
                raise ValueError
        except yaml.YAMLError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
            kind = node.tag.rpartition(":")[2]
            what = f"no {kind} that k2ctl can hold (got {brief(node.value)})"
            raise _NoValue(None, None, what, node.start_mark) from error
        return made


def brief(value: object) -> str:
    """A value as an error shows it."""
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def read_text(path: Path) -> str:
    """The text of a small file.

    Raises:
        ProfileError: it cannot be read, is no text, or is larger than a profile.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ProfileError(f"{path}: cannot be read: {reason}", "Name a readable YAML file.") from error
    if len(text) > MAX_BYTES:
        raise ProfileError(f"{path}: larger than {MAX_BYTES} bytes", "Profiles are small; is this the right file?")
    return text


def load(path: Path | str, text: str, *, plain: bool = True) -> tuple[Any, Lines]:
    """The content, and the line of every key in it. path: as errors name it.

    plain: without aliases, anchors, merges and tags, which can make a small file mean a large one.

    Raises:
        ProfileError: see above.
    """
    places = _Places()
    try:
        _check_tokens(path, text, plain)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is not None:
                _check_keys(path, node, plain, places)
            return None if node is None else loader.construct_document(node), places.lines
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = places.values.get((mark.line, mark.column), ()) if mark else ()
        what = f"{error.problem or error.context}"
        what = what if isinstance(error, _NoValue) else f"not YAML: {what}"
        raise _mistake(path, mark, f"{_dotted(at)}: {what}" if at else what) from error
    except yaml.YAMLError as error:
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        raise ProfileError(f"{path}:{line}: not YAML: {' '.join(str(error).split())}", "Name a YAML file.") from error
    except RecursionError as error:
        raise ProfileError(f"{path}: refers to itself without end", "Use fewer aliases.") from error


def _mistake(path: Path | str, mark: Any, what: str, hint: str = _CORRECT) -> ProfileError:
    return ProfileError(f"{path}:{mark.line + 1 if mark else 1}: {' '.join(what.split())}", hint)


def _check_tokens(path: Path | str, text: str, plain: bool) -> None:
    """Before anything is made of it: depth, and what a plain text does not have."""
    depth = 0
    for token in yaml.scan(text, Loader=_Base):
        depth += isinstance(token, _DEEPER)
        depth -= isinstance(token, _BACK)
        if depth > MAX_DEPTH:
            raise _mistake(path, token.start_mark, f"nested more than {MAX_DEPTH} deep")
        if plain and isinstance(token, yaml.AliasToken | yaml.AnchorToken):
            raise _mistake(path, token.start_mark, "YAML aliases are not used in profiles", "Write the value out.")
        if plain and isinstance(token, yaml.TagToken):
            tag = "".join(part or "" for part in token.value)
            what = f"YAML tags such as {brief(tag)[1:-1]} are not used in profiles"
            raise _mistake(path, token.start_mark, what, "Write the plain value, in quotes where it is a text.")


def _check_keys(path: Path | str, root: yaml.Node, plain: bool, places: _Places) -> None:
    """Note the line of every key; each stands once in its section. Nodes that aliases share are looked at once."""
    waiting: list[tuple[yaml.Node, tuple[Any, ...]]] = [(root, ())]
    seen: set[int] = set()
    while waiting:
        node, at = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            waiting += _keys_of(path, node, at, plain, places)
        elif isinstance(node, yaml.SequenceNode):
            for number, value in enumerate(node.value):
                places.note(value, value, (*at, number))
                waiting.append((value, (*at, number)))


def _keys_of(
    path: Path | str, node: yaml.MappingNode, at: tuple[Any, ...], plain: bool, places: _Places
) -> list[tuple[yaml.Node, tuple[Any, ...]]]:
    found: list[tuple[yaml.Node, tuple[Any, ...]]] = []
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _mistake(path, key.start_mark, f"{_dotted(at)}: a key is one word, not a list or a section")
        here, merge = (*at, key.value), key.tag == "tag:yaml.org,2002:merge"
        if merge and plain:
            raise _mistake(path, key.start_mark, f"{_dotted(here)}: YAML merges are not used in profiles")
        if here in places.lines:
            twice = f"{_dotted(here)}: this key stands in line {places.lines[here]} already"
            raise _mistake(path, key.start_mark, twice, "Remove one of the two.")
        places.note(key, value, here)
        found.append((value, here))
    return found


def _dotted(at: tuple[Any, ...]) -> str:
    return ".".join(str(part) if len(str(part)) <= 40 else f"{str(part)[:37]}..." for part in at) or "profile"
