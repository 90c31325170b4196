"""What `k2ctl state` shows of a store."""

import io

from rich.console import Console

from k2ctl.sequence.store_view import PartitionView, StoreView
from k2ctl.views.lake import store_panel


def text_of(view: StoreView) -> str:
    canvas = Console(width=100, file=io.StringIO())
    with canvas.capture() as captured:
        canvas.print(store_panel(view))
    return captured.get()


def test_a_store_in_memory_says_that_there_is_nothing_to_see() -> None:
    assert "each consumer's memory" in text_of(StoreView("memory", "k2:{x:t}", "t", 0, 0, 0.0, (), {}))


def test_partitions_are_shown_with_what_they_lack() -> None:
    parts = (PartitionView(0, 80, 10_184, 604_800.0, 123_456, 0, 789), PartitionView(7, 2, 150, None, 5, 0, 0))
    shown = text_of(StoreView("redis", "k2:{x:t}", "t", 82, 10_334, 126.0, parts, {"redis_version": "6.2.14"}))
    assert "82 symbols in 2 partitions" in shown
    assert "123,456" in shown
    assert "789" in shown
    assert "never" in shown
    assert "6.2.14" in shown
