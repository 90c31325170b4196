"""Runbooks: every alert has its section."""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
RUNBOOKS = dict(re.findall(r"### (K2\w+)\n(.*?)(?=\n### |\Z)", (ROOT / "stack" / "RUNBOOKS.md").read_text(), re.S))


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((ROOT / "stack" / "prometheus" / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def test_every_alert_leads_to_a_runbook_and_every_runbook_belongs_to_an_alert() -> None:
    assert list(RUNBOOKS) == [rule["alert"] for rule in alerts()]
    for rule in alerts():
        assert rule["annotations"]["runbook_url"] == f"stack/RUNBOOKS.md#{rule['alert'].lower()}"


def test_every_runbook_says_what_to_type_in_a_few_lines() -> None:
    for name, text in RUNBOOKS.items():
        assert "`k2ctl " in text, name
        assert 2 <= len(text.strip().splitlines()) <= 4, name
