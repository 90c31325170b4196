"""What `k2ctl state stats` shows of deduplication."""

import io

import pytest
from rich.console import Console

from k2ctl.dedup.report import DedupFigures, DedupReport
from k2ctl.domain.dedup_status import DedupStatus, TierStatus, all_dedup
from k2ctl.domain.figure import Durations
from k2ctl.views.dedup import dedup_panel

BUSY = DedupStatus(
    checked=123_456_789, suspects=1_234_567, within=10, pending=20, stored=70_000, cleared=1_164_547,
    ids_tested=100_000_000, chunk_tests=250_000_000, hits_confirmed=70_020, hits_false=300_000, hits_reread=864_547,
    beyond_memory=12, lookups=Durations().plus(0.5).plus(1.5), other_ids=99_999_999, chunks=200,
    chunks_forgotten_early=3, planned_error_rate=0.001, bytes=198_000_000, planned_bytes=256_000_000,
    tier=TierStatus(ids=1_000_000, hits=5_000, waiting=17, guarantee="REDUCED", why="Redis is away", round_trips=2_000),
)  # fmt: skip
IDLE = DedupStatus(checked=5, planned_error_rate=0.001, planned_bytes=256_000_000)


def shown(*counts: DedupStatus, unknown: str = "") -> list[str]:
    figures = {f"consumer-{number}": DedupFigures.of(one) for number, one in enumerate(counts, 1)}
    report = DedupReport("market.equities.asx.trades", figures, DedupFigures.of(all_dedup(counts)), unknown)
    canvas = Console(width=80, file=io.StringIO())
    with canvas.capture() as captured:
        canvas.print(dedup_panel(report))
    return captured.get().splitlines()


@pytest.mark.parametrize("counts", [[], [IDLE], [BUSY], [BUSY, IDLE, BUSY]])
def test_it_fits_into_eighty_columns(counts: list[DedupStatus]) -> None:
    assert max(map(len, shown(*counts))) <= 80


def test_what_was_measured_stands_beside_what_was_planned() -> None:
    text = " ".join(" ".join(shown(BUSY)).split())
    assert "0.303% of new ids; planned 0.10%" in text
    assert "100,000,000, against 2.5 chunks each" in text
    assert "1,234,567: 70,020 confirmed, 300,000 false, 864,547 reread" in text
    assert "2, 1.0 s each, 2.0 s in all" in text
    assert "3 forgotten early" in text
    assert "198 MB of 256 MB planned" in text
    assert "17 waiting" in text
    assert "REDUCED: copies" in text
    assert "Redis is away" in text


def test_several_consumers_are_shown_one_by_one_and_added_up() -> None:
    lines = shown(BUSY, IDLE)
    assert any(line.startswith("consumer-1") and "0.303%" in line for line in lines)
    assert any(line.startswith("consumer-2") and "none yet" in line for line in lines)
    assert "by 2 consumers" in lines[0]
    assert any("454 MB" in line or "512 MB" in line for line in lines)


def test_why_nothing_is_known_is_said() -> None:
    assert "no consumer" in shown()[0]
    assert "k2ctl consume" in " ".join(shown())
    assert "Kafka is away" in " ".join(shown(unknown="Kafka is away"))
