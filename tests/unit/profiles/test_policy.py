"""The policy has one definition; what the README shows of it is that definition."""

from pathlib import Path

from k2ctl.profiles import load_profile
from k2ctl.profiles.model import Level
from k2ctl.profiles.universe import PRIORITIES

README = Path(__file__).parent.parent.parent.parent / "README.md"


def markdown(levels: tuple[Level, ...]) -> str:
    """The policy as a table."""
    columns = ["level", "name", "enters at lag ≥", "or memory ≥", "enrich", *PRIORITIES, "intake"]
    rows = [
        [str(number), level.name, f"{level.lag:,}" if number else "", f"{level.memory:.0%}" if number else "",
         "yes" if level.enrich else "no", *(getattr(level, priority) for priority in PRIORITIES), level.intake]
        for number, level in enumerate(levels)
    ]  # fmt: skip
    return "\n".join("| " + " | ".join(row) + " |" for row in [columns, ["---"] * len(columns), *rows]) + "\n"


def test_the_readmes_table_is_the_shipped_policy() -> None:
    shown = README.read_text().split("<!-- policy:begin -->\n")[1].split("<!-- policy:end -->")[0]
    assert shown == markdown(load_profile("laptop").degradation.levels)
