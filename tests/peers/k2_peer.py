"""k2ctl as a peer: its command line on the engine `external`, with a state directory and a profile of a run's own."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

import yaml

from k2ctl.demo.pacing import OUT_OF_REACH
from k2ctl.lake.catalog import CATALOG_NAME
from k2ctl.profiles import load_profile
from tests.peers.peer import JOBS, Peer
from tests.peers.peer_table import Where
from tests.peers.records import Form
from tests.peers.settings import PARTITIONS, SETTINGS


def profile_text(topic: str, form: Form, *, feed: str | None = None, ladder: bool = False) -> str:
    """A profile: symbols equally likely, so that partitions are equally full. ladder: with the shipped thresholds."""
    levels = [level.model_dump(mode="json") for level in load_profile("laptop").degradation.levels]
    for level in levels:
        level["lag"] *= 1 if ladder else OUT_OF_REACH
        level |= level.pop("actions", {})
    topic_settings = {"partitions": PARTITIONS, "critical_partitions": 0}
    if form.name == "json":
        topic_settings |= {"format": "json"}
    profile = {
        "base": "laptop",
        "name": "peers",
        "market": {"zipf_exponent": 0.0, "exchange": topic.rpartition(".")[2].upper()},
        "topic": topic_settings | ({} if feed is None else {"feed": feed}),
        "consumer": {"commit_interval_s": SETTINGS.commit_ms / 1000},
        "degradation": {"levels": levels},
    }
    return yaml.safe_dump(profile, sort_keys=False)


class K2Peer(Peer):
    """`k2ctl consume`; on a ladder out of reach, unless its name ends with `-ladder`."""

    def prepare(self) -> Where:
        """See `Peer`; the stack is checked with `stack up`, which makes the table."""
        for name in ("home", "warehouse"):
            (self.folder / name).mkdir()
        feed = None
        if self.form.feed is not None:
            path = self.folder / "feed.yaml"
            path.write_text(self.form.feed.replace("{registry}", self.source.registry))
            feed = str(path)
        where = Where(self.folder, CATALOG_NAME, "market_data.trades")
        text = profile_text(self.source.topic, self.form, feed=feed, ladder=self.name.endswith("-ladder"))
        external = {
            "kafka": {"bootstrap_servers": self.source.kafka.address},
            "state": "memory",
            "catalog": where.uri,
            "warehouse": where.warehouse,
        }
        profile = self.folder / "profile.yaml"
        profile.write_text(text + yaml.safe_dump({"external": external}))
        up = ["stack", "up", "--engine", "external", "--profile", str(profile)]
        done = subprocess.run(
            [*_K2CTL, *up], env={**os.environ, **self._home()}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"k2ctl stack up: {done.stdout}{done.stderr}"
        return where

    def _home(self) -> dict[str, str]:
        return {"K2CTL_HOME": str(self.folder / "home")}

    def command(self, *, drain: bool) -> tuple[Sequence[str], Mapping[str, str]]:
        """See `Peer`."""
        consume = ["consume", "--json", *(["--until-caught-up"] if drain else [])]
        return [sys.executable, str(JOBS / "k2_job.py"), *consume], self._home()


_K2CTL: Final = (sys.executable, "-m", "k2ctl")
