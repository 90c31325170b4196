"""The glossary of `k2ctl/README.md` is binding: one class to a name, and none of the words that it replaces."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent.parent / "k2ctl"
MODULES = {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
GLOSSARY = (PACKAGE / "README.md").read_text().partition("\n## Glossary\n")[2].partition("\n## ")[0]


def replaced() -> set[str]:
    """The words of the glossary's middle column, as an identifier spells them."""
    rows = [line.split("|")[2] for line in GLOSSARY.splitlines() if line.startswith("| ")][1:]
    words = (re.sub(r"\(.*?\)", "", word).strip() for row in rows for word in row.split(","))
    return {word.replace(" ", "_") for word in words if word}


def names() -> Iterator[tuple[str, str]]:
    """Every name that a module gives to something, in small letters with underscores, and where."""
    for path, module in MODULES.items():
        yield path.stem, str(path.relative_to(PACKAGE))
        for node in ast.walk(module):
            name = node.id if isinstance(node, ast.Name) else node.arg if isinstance(node, ast.arg) else ""
            name = getattr(node, "name", "") or name
            if name and isinstance(name, str):
                snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
                yield snake, f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)}"


def test_the_glossary_is_short() -> None:
    assert 15 <= len(GLOSSARY.strip().splitlines()) <= 40


def test_no_two_classes_have_the_same_name() -> None:
    classes = Counter(
        node.name for module in MODULES.values() for node in ast.walk(module) if isinstance(node, ast.ClassDef)
    )
    assert [name for name, number in classes.items() if number > 1] == []


def test_no_name_has_a_word_that_the_glossary_replaces() -> None:
    words = replaced()
    assert {"owed", "upkeep", "give_back"} <= words
    pattern = re.compile(rf"(?:^|_)(?:{'|'.join(sorted(words))})s?(?:_|$)")
    assert sorted({f"{where}: {name}" for name, where in names() if pattern.search(name)}) == []
