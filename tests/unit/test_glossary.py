"""The glossary of `k2ctl/README.md` is binding: one class to a name, and none of the words that it replaces."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "k2ctl"
SOURCES = sorted((*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")))
MODULES = {path: ast.parse(path.read_text()) for path in SOURCES}
DOCUMENT = (PACKAGE / "README.md").read_text()
GLOSSARY = DOCUMENT.partition("\n## Glossary\n")[2].partition("\n## ")[0]

ALLOWED = re.compile(r"dead[ _-]letter|price[ _-]book|truth value|priority[ _]lane|lane_bytes", re.IGNORECASE)
"""Where a word of the middle column has another sense."""

MANY_SENSES = {"lane", "letter", "holding", "firm"}
"""Words that are refused as names and that prose may need."""


def replaced() -> set[str]:
    """The words of the glossary's middle column."""
    rows = [line.split("|")[2] for line in GLOSSARY.splitlines() if line.startswith("| ")][1:]
    return {word.strip() for row in rows for word in row.split(",")} - {""}


def names() -> Iterator[tuple[str, str]]:
    """Every name that a module has, in small letters with underscores, and where."""
    for path, module in MODULES.items():
        where = path.relative_to(ROOT)
        yield path.stem, str(where)
        for node in ast.walk(module):
            for field in ("id", "arg", "name", "attr", "asname"):
                name = getattr(node, field, None)
                if isinstance(name, str):
                    yield re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower(), f"{where}:{getattr(node, 'lineno', 0)}"


def prose() -> Iterator[tuple[str, str]]:
    """Every line of sources and documents, and where."""
    folders = (ROOT / name for name in ("k2ctl", "tests", "profiles", "stack"))
    documents = [path for folder in folders for kind in ("*.md", "*.y*ml") for path in folder.rglob(kind)]
    for path in (ROOT / "README.md", *documents, *SOURCES):
        if path != Path(__file__):
            text = path.read_text().replace(GLOSSARY, "")
            yield from ((line, f"{path.relative_to(ROOT)}:{at}") for at, line in enumerate(text.splitlines(), 1))


def test_the_glossary_is_short() -> None:
    assert 15 <= len(GLOSSARY.strip().splitlines()) <= 40


def test_no_two_classes_have_the_same_name() -> None:
    ours = (module for path, module in MODULES.items() if path.is_relative_to(PACKAGE))
    classes = Counter(node.name for module in ours for node in ast.walk(module) if isinstance(node, ast.ClassDef))
    assert [name for name, number in classes.items() if number > 1] == []


def test_no_name_of_code_or_tests_has_a_word_that_the_glossary_replaces() -> None:
    words = {word.replace(" ", "_") for word in replaced()}
    assert {"owed", "upkeep", "give_back"} <= words
    pattern = re.compile(rf"(?:^|_)(?:{'|'.join(sorted(words))})s?(?:_|$)")
    found = {f"{where}: {name}" for name, where in names() if pattern.search(ALLOWED.sub("", name))}
    assert sorted(found) == []


def test_no_prose_has_a_word_that_the_glossary_replaces() -> None:
    words = replaced() - MANY_SENSES | {"put aside", "giv(?:es|en|ing) back", "gave back", "anew"}
    pattern = re.compile(rf"\b(?:{'|'.join(sorted(words))})s?\b", re.IGNORECASE)
    assert [f"{where}: {line}" for line, where in prose() if pattern.search(ALLOWED.sub("", line))] == []
