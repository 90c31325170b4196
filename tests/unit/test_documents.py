"""The documents: short where they begin, linked so that every link leads somewhere, with commands that exist."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from k2ctl.cli import COMMANDS

ROOT = Path(__file__).parent.parent.parent
README = ROOT / "README.md"
DOCUMENTS = sorted(path for folder in ("k2ctl", "profiles", "stack", "tests") for path in (ROOT / folder).rglob("*.md"))
LINKS = sorted(
    {
        (str(path.relative_to(ROOT)), target)
        for path in (README, *DOCUMENTS)
        for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text())
        if "://" not in target
    }
)
COMMAND_LINES = sorted(
    {line for path in (README, *DOCUMENTS) for line in re.findall(r"`(k2ctl [^`\n]+)`", path.read_text())}
)


def anchors(path: Path) -> Counter[str]:
    """The headings of a document as the anchors that a browser makes of them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", path.read_text(), flags=re.S), re.M)
    return Counter(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 250


@pytest.mark.parametrize(("document", "target"), LINKS)
def test_a_link_leads_to_a_file_and_a_heading(document: str, target: str) -> None:
    name, _, anchor = target.partition("#")
    file = ROOT / document if not name else (ROOT / document).parent / name
    assert file.exists(), f"{document}: {target}"
    assert not anchor or anchors(file)[anchor] == 1, f"{document}: {target}"


@pytest.mark.parametrize(
    ("name", "file"), re.findall(r"`(\w+)` in\s+\[[^\]]+\]\(([^)#]+\.py)\)", (ROOT / "k2ctl" / "README.md").read_text())
)
def test_a_name_that_a_document_places_in_a_file_is_defined_there(name: str, file: str) -> None:
    assert re.search(rf"^\s*(class|def) {name}\b", (ROOT / "k2ctl" / file).read_text(), re.M), f"{name} in {file}"


def test_every_document_is_reached_from_the_readme_in_two_steps() -> None:
    reached = {README}
    for _ in range(2):
        for document in list(reached):
            targets = re.findall(r"\]\(([^)\s#]+)", document.read_text())
            files = {(document.parent / target).resolve() for target in targets if "://" not in target}
            reached |= {file for file in files if file.suffix == ".md"}
    assert sorted(set(DOCUMENTS) - reached) == []


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_a_command_in_a_document_exists_with_its_options(line: str) -> None:
    name, *words = line.removeprefix("k2ctl ").replace("=", " ").split()
    if name.startswith("-") or not re.match(r"[a-z]", name):
        return
    command: Any = COMMANDS[name].load()
    if words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    assert getattr(command, "invoke_without_command", True), "it wants a subcommand"
    known = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("-")} <= known
