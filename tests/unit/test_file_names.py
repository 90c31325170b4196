"""Test files are collected by their names alone: two of one name, in whatever rooms, stop the whole suite."""

import re
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parent.parent


def test_no_two_test_files_have_the_same_name() -> None:
    names = Counter(path.name for path in TESTS.rglob("test_*.py"))
    assert [name for name, number in names.items() if number > 1] == []


def test_no_test_imports_from_another_test_or_a_conftest() -> None:
    """What tests share is in `support`."""
    imports = re.compile(r"^\s*(?:from|import) tests\.\S*(?:test_|conftest)", re.MULTILINE)
    assert [str(path) for path in TESTS.rglob("*.py") if imports.search(path.read_text())] == []
