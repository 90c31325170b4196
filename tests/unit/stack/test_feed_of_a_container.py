"""A consumer in a container reads shipped feeds only."""

import pytest

from k2ctl.errors import UsageError
from k2ctl.stack.fleet import _refuse_file


def test_a_file_of_this_machine_is_refused_with_what_works() -> None:
    with pytest.raises(UsageError, match=r"does not see /home/me/my\.yaml") as refused:
        _refuse_file(["--budget", "5", "--feed", "/home/me/my.yaml"])
    assert refused.value.hint == "In the foreground it does: k2ctl consume --feed /home/me/my.yaml"


def test_a_shipped_feed_is_taken() -> None:
    _refuse_file(["--feed", "binance-websocket", "--topic", "/no/path"])
