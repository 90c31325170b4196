"""What `k2ctl doctor` and the Helm chart say of a profile whose consumers do not fit."""

from pathlib import Path

import pytest

from k2ctl.checks.doctor.stack import profile_fit
from k2ctl.cli import main
from k2ctl.profiles import load_profile, profile_names
from k2ctl.profiles.fleet import fleet_of
from k2ctl.stack.kubernetes import consumers_of
from k2ctl.stack.preflight import Verdict


@pytest.fixture
def unfit(tmp_path: Path) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text("base: 1M\nname: mine\nconsumer:\n  commit_interval_s: 60.0\n")
    return str(path)


@pytest.mark.parametrize("name", profile_names())
def test_a_shipped_profile_is_fine(name: str) -> None:
    assert [check.verdict for check in profile_fit(name)] == [Verdict.OK]


def test_what_does_not_fit_is_wrong_with_place_and_what_helps(unfit: str) -> None:
    (check,) = profile_fit(unfit)
    assert check.verdict is Verdict.WRONG
    assert check.found.startswith(f"{unfit}:4: consumer.commit_interval_s: commits every 60 s leave")
    assert check.help.startswith("At most ")


def test_a_profile_that_is_gone_is_wrong_too() -> None:
    assert [check.verdict for check in profile_fit("./gone.yaml")] == [Verdict.WRONG]


def test_a_chart_of_a_profile_that_cannot_work_is_not_rendered(unfit: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stack", "render", "--kubernetes", "--profile", unfit]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "mine.yaml:4: consumer.commit_interval_s" in " ".join(said.err.split())


def test_a_chart_has_the_consumers_that_are_priced() -> None:
    for name in ("10K", "1M", "10M"):
        profile = load_profile(name)
        assert profile.scale is not None
        assert consumers_of(profile) == fleet_of(profile, profile.scale).count
