"""The dashboards as files, as Grafana's provisioning reads them."""

import json
from typing import Final

from k2ctl.dashboards.degradation import DEGRADATION
from k2ctl.dashboards.lake import LAKE
from k2ctl.home import shipped

FOLDER: Final = shipped("stack") / "grafana" / "dashboards"
DASHBOARDS: Final = (DEGRADATION, LAKE)


def documents() -> dict[str, str]:
    """File name → JSON."""
    return {
        f"{board.uid}.json": json.dumps(board.document(), indent=2, ensure_ascii=False) + "\n" for board in DASHBOARDS
    }
