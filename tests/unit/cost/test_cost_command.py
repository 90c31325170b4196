"""`k2ctl cost` as people and scripts meet it."""

import json
import re
from pathlib import Path

import pytest

from k2ctl.cli import main
from k2ctl.cost import measured
from k2ctl.home import Home

ROOT = Path(__file__).parent.parent.parent.parent


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def shown(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(["cost", *arguments]) == code
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.err


def test_an_estimate_fits_a_small_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for scale in ("10K", "1M", "10M", "250k"):
        lines = shown(capsys, "--scale", scale).splitlines()
        assert len(lines) <= 24
        assert max(map(len, lines)) <= 80


def test_an_estimate_has_shares_unit_costs_months_range_and_levers(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(shown(capsys, "--scale", "1M").split())
    for words in (
        "Kafka 18 × express.m7g.large",
        "45%",
        "per million messages",
        "per GB",
        "per symbol",
        "Month 1 $",
        "month 12 $",
        "between $",
        "3:1 compression on the wire --set workload.wire_ratio=3",
        "rack-aware reads save $6,984",
    ):
        assert words in text


def test_json_has_the_names_that_scripts_rely_on(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(shown(capsys, "--scale", "1M", "--json"))
    assert document["total_monthly_usd"] == pytest.approx(sum(line["monthly_usd"] for line in document["lines"]))
    assert document["usd_per_million_messages"] == pytest.approx(document["total_monthly_usd"] / 2_628_000)
    assert document["month_1_usd"] <= document["month_12_usd"] <= document["total_monthly_usd"] + 1e-6
    assert document["lower_bound"] is False
    assert len(document["levers"]) > 3


@pytest.mark.parametrize(
    "view",
    [
        (),
        ("--lines",),
        ("--compare", "10K,250k"),
        ("--diff", "10K", "1M"),
        ("--sensitivity",),
        ("--explain", "kafka"),
        ("--months", "24"),
        ("--policy",),
        ("--set", "retention.hot_days=90"),
    ],
)
def test_every_view_comes_in_every_form(capsys: pytest.CaptureFixture[str], view: tuple[str, ...]) -> None:
    assert shown(capsys, *view)
    assert json.loads(shown(capsys, *view, "--json"))
    header, *rows = shown(capsys, *view, "--csv").splitlines()
    assert rows
    assert not any("**" in row for row in rows), "a sign of Markdown"
    assert header.count(",")
    markdown = shown(capsys, *view, "--markdown").splitlines()
    assert set(markdown[1]) <= set("|-: ")
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in markdown}) == 1


def test_a_what_if_shows_what_it_changes(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--set", "retention.hot_days=90")
    assert re.search(r"~  lake\.hot .*\+2,", text)
    assert json.loads(shown(capsys, "--set", "retention.hot_days=90", "--json"))["what_if_usd"] == pytest.approx(
        2_276, rel=0.01
    )


def test_a_line_is_explained_with_formula_source_and_date(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--explain", "brokers")
    assert "brokers × hours a month × price of a broker-hour" in " ".join(text.split())
    assert "18 brokers × 730 h × $0.408 = $5,361.12 a month" in text
    assert "of 2026-09-11, confidence high" in text
    assert "no line 'nothing'" in shown(capsys, "--explain", "nothing", code=2)


def test_a_saved_estimate_is_a_side_of_a_difference(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    saved = tmp_path / "last.json"
    saved.write_text(shown(capsys, "--scale", "10K", "--json"))
    assert json.loads(shown(capsys, "--diff", str(saved), "10K", "--json"))["usd"] == 0
    saved.write_text("{}")
    assert "Not an estimate" in shown(capsys, "--diff", str(saved), "10K", code=2)


def test_what_cannot_work_ends_with_its_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--scale", "1M", "--set", "consumer.commit_interval_s=0.5")
    text = " ".join(shown(capsys, *arguments, code=3).split())
    assert "1M cannot work: - --set consumer.commit_interval_s: 8 consumers would each commit every 0.5 s" in text
    assert main(["cost", *arguments, "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    assert document["feasible"] is False
    assert (document["total_monthly_usd"], document["lines"]) == (None, [])
    assert len(document["infeasible"]) == 1
    compared = shown(capsys, "--compare", "10K,1M", "--set", "consumer.commit_interval_s=0.5")
    assert "infeasible" in compared
    assert "1M cannot work" in compared


def test_unknown_prices_are_shown_as_not_found(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(shown(capsys, "--region", "ap-southeast-2").split())
    assert "Total at least $" in text
    assert "kafka.brokers" in text
    assert "not found" in text
    document = json.loads(shown(capsys, "--region", "ap-southeast-2", "--json"))
    assert document["lower_bound"] is True
    assert document["high_usd"] is None
    assert document["lines"][0]["monthly_usd"] is None


def test_measured_figures_are_used_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Nothing was measured yet" in shown(capsys, "--measured", code=2)
    measured.record(wire_bytes_per_trade=132.0, cpu_s_per_million_trades=2.5, home=Home.of_user())
    text = shown(capsys, "--measured")
    assert re.search(r"bytes on the wire per trade +100 +132 +\+\d", text)
    assert re.search(r"CPU-seconds per million trades +2\.24 +2\.5 +\+?\d", text)
    document = json.loads(shown(capsys, "--measured", "--json"))
    assert [each["figure"] for each in document["measured"]] == ["wire_bytes_per_trade", "cpu_s_per_million_trades"]


def test_an_old_price_book_warns_on_stderr(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from k2ctl.clock import SystemClock

    monkeypatch.setattr(SystemClock, "now_us", lambda _: 1_900_000_000_000_000)
    assert main(["cost", "--json"]) == 0
    captured = capsys.readouterr()
    assert "days old" in captured.err
    assert json.loads(captured.out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--json", "--csv"), "exclude each other"),
        (("--policy", "--sensitivity"), "exclude each other"),
        (("--scale", "20M"), "at most at 10,000,000"),
        (("--scale", "laptop"), "no section 'scale'"),
        (("--region", "moon"), "no price book"),
        (("--set", "nonsense=1"), "no key 'nonsense'"),
    ],
)
def test_a_mistake_is_a_line_and_a_next_step(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    assert words in " ".join(shown(capsys, *arguments, code=2).split())


def test_a_mistake_in_a_profile_names_file_line_and_key(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text((ROOT / "profiles" / "1M.yaml").read_text().replace("rack_aware: true", "rack_aware: perhaps"))
    text = " ".join(shown(capsys, "--scale", str(path), code=2).split())
    assert re.search(r"mine\.yaml:\d+: scale\.topology\.rack_aware: .*'perhaps'", text)


@pytest.mark.parametrize(("mark", "compared"), [("cost", "10K,1M,10M"), ("projection", "100k,250k,1M,2500k,5M,10M")])
def test_the_readmes_tables_are_the_commands(capsys: pytest.CaptureFixture[str], mark: str, compared: str) -> None:
    readme = (ROOT / "profiles" / "README.md").read_text()
    table = readme.split(f"<!-- {mark}:begin -->\n")[1].split(f"<!-- {mark}:end -->")[0]
    assert table.strip() == shown(capsys, "--compare", compared, "--markdown").strip()
