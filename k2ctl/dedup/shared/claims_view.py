"""The claims of a scope, shown to people: how many, their memory beside the plan, and what of the table they cover."""

from contextlib import closing
from dataclasses import dataclass
from typing import Literal

from k2ctl.clock import SystemClock
from k2ctl.dedup.shared.claim_stores import open_claims
from k2ctl.dedup.shared.claims import ClaimStore
from k2ctl.dedup.shared.coverage import uncovered
from k2ctl.dedup.shared.plan import SharedPlan, planned_claims
from k2ctl.endpoints import Endpoints
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.profiles import Profile


@dataclass(frozen=True)
class ClaimsView:
    """The claims of a topic, or of all."""

    store: str
    scope: Literal["topic", "feeds"]
    namespace: str
    generation: str
    ids: int
    # Memory that they take in the store, and by plan may take.
    bytes: int
    bytes_per_id: float
    planned_bytes: int
    # Commits that are remembered.
    batches: int
    # Partitions in the table, and those of them of which a row may be stored and not claimed.
    partitions: int
    uncovered: tuple[str, ...]
    # Keys that another program has written, each with what is wrong.
    damaged: tuple[str, ...] = ()


def view_claims(endpoints: Endpoints, profile: Profile, url: str = "", topic: str = "") -> ClaimsView | None:
    """None where consumers share none. url: another store than the stack's. topic: by default the profile's.

    Raises:
        StateError: it does not answer. LakeError: there is no table, whose uuid the keys begin with.
    """
    plan = planned_claims(profile.consumer.dedup)
    if plan is None:
        return None
    among = (topic or profile.trades_topic) if plan.scope == "topic" else None
    with Lake.at(endpoints) as lake:
        platform, where = str(lake.table().metadata.table_uuid), url or endpoints.state_url
        with closing(open_claims(where, platform, among, plan.window_s, SystemClock())) as store:
            return claims_of(lake, store, plan, among)


def claims_of(lake: Lake, store: ClaimStore, plan: SharedPlan, topic: str | None) -> ClaimsView:
    """What a store has of a table. topic: None for all."""
    found, table = store.statistics(), checkpoints_of(lake.table())
    in_scope = [at for at in table.by_partition if topic in (None, at.topic)]
    missing = tuple(f"{at.topic}, partition {at.partition}" for at in uncovered(found.covered, table, topic))
    return ClaimsView(
        store=found.kind,
        scope=plan.scope,
        namespace=found.namespace,
        generation=found.generation,
        ids=found.ids,
        bytes=found.bytes,
        bytes_per_id=found.bytes_per_id,
        planned_bytes=plan.bytes,
        batches=found.batches,
        partitions=len(in_scope),
        uncovered=missing,
        damaged=found.damaged,
    )
