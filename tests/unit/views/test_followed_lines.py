"""Trades as they arrive, as lines."""

import numpy as np

from k2ctl.domain.decimals import DECIMAL_ONE, of_int
from k2ctl.domain.trade import ACTIONS
from k2ctl.views.follow import HEADING, trade_lines
from tests.made_trades import make_rows, make_trades


def test_columns_stay_where_they_are_and_points_stand_below_each_other() -> None:
    made = make_trades(4)
    made["price"] = np.array(
        [of_int(part) for part in (DECIMAL_ONE, DECIMAL_ONE * 3 // 2, DECIMAL_ONE * 98_765 // 8, 0)]
    )
    made["action"][3] = ACTIONS.index("CANCEL")
    lines = [line.plain for line in trade_lines(make_rows(made).to_arrow())]
    price_at = HEADING.index("price")
    assert len({line.index(" ", 30) for line in lines}) == 1
    points = {line.index(".", price_at - 10) for line in lines[1:3]}
    assert len(points) == 1
    assert max(map(len, lines)) <= 84
    assert "CANCEL" in lines[3]
    assert all("NEW" not in line for line in lines)
