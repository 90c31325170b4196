"""The dashboards. `python -m k2ctl.dashboards.boards` writes them; a test compares them to those committed.

What a panel asks, its unit and its description come from the figure, unless they stand there.
"""

import json
from typing import Final

from k2ctl.dashboards.dedup_board import DEDUPLICATION
from k2ctl.dashboards.lake_board import LAKE
from k2ctl.dashboards.pressure_board import PRESSURE
from k2ctl.home import shipped

FOLDER: Final = shipped("stack") / "grafana" / "dashboards"
DASHBOARDS: Final = (PRESSURE, DEDUPLICATION, LAKE)


def documents() -> dict[str, str]:
    """File name → JSON, as Grafana's provisioning reads it."""
    return {
        f"{board.uid}.json": json.dumps(board.document(), indent=2, ensure_ascii=False) + "\n" for board in DASHBOARDS
    }


if __name__ == "__main__":
    for name, text in documents().items():
        (FOLDER / name).write_text(text)
