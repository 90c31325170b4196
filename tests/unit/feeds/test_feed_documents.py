"""What the feeds' README says: its example is a feed, and every shipped feed is in its table."""

import re
from pathlib import Path

from k2ctl.feeds.mapping.bound import MACROS
from k2ctl.profiles.feed import feed_names
from tests.support.foreign_trades import decoded, lines

README = (Path(__file__).parents[3] / "k2ctl" / "feeds" / "README.md").read_text(encoding="utf-8")


def test_the_example_is_a_feed_that_reads_what_it_says(tmp_path: Path) -> None:
    found = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert found is not None
    file = tmp_path / "mine.yaml"
    file.write_text(found[1], encoding="utf-8")
    message = '{"e":"trade","s":"ABCUSDT","t":7,"p":"0.5","q":"3","T":1735689600010,"m":false}'
    assert lines(decoded(str(file), [message]).trades) == [
        "ABCUSDT BINANCE USDT crypto BUY 3 @ 0.5 at 2025-01-01T00:00:00.010000Z #7 seq 7"
    ]


def test_every_shipped_feed_and_macro_is_named() -> None:
    macros = [macro.partition("(")[0].strip() for macro in MACROS]
    assert [name for name in (*feed_names(), *macros) if name not in README] == []
