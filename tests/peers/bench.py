"""A run: one Kafka, topics with trades in the forms that the peers read, and a folder for each peer."""

from pathlib import Path
from typing import Final

from tests.peers.k2_peer import K2Peer, profile_text
from tests.peers.other_peers import Connect, Quix, Spark
from tests.peers.peer import Peer, Source, form_of
from tests.peers.plain_kafka import PlainKafka
from tests.peers.records import AVRO_SCHEMA, FORMS, Form
from tests.peers.sending import Sender, Sent
from tests.peers.settings import say
from tests.support.registry_server import RegistryServer

PEERS: Final[dict[str, type[Peer]]] = {
    **dict.fromkeys(("k2-json", "k2-feed-json", "k2-avro", "k2-sbe", "k2-sbe100"), K2Peer),
    **dict.fromkeys(("k2-json-ladder", "k2-sbe-ladder"), K2Peer),
    **dict.fromkeys(("connect", "connect-feed-json", "connect-avro"), Connect),
    "spark": Spark,
    "quix": Quix,
}
_SENT_AT_ONCE: Final = 100_000


class Bench:
    """What the tests of a run share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kafka = PlainKafka(folder / "kafka")
        self._registry: RegistryServer | None = None
        self._number = 0
        self.backlogs: dict[str, tuple[Source, Sent]] = {}

    def source(self, form: Form) -> Source:
        """A new topic."""
        self._number += 1
        topic = f"market.equities.trades.p{self._number}"
        self.kafka.make_topic(topic)
        profile = self.folder / f"p{self._number}.yaml"
        profile.write_text(profile_text(topic, form))
        return Source(self.kafka, topic, profile, self._registry_for(form))

    def _registry_for(self, form: Form) -> str:
        if form.name != "avro":
            return ""
        if self._registry is None:
            self._registry = RegistryServer()
        number = self._registry.register("trades-value", AVRO_SCHEMA)
        assert number == 1, f"the schema has the number {number}"
        return self._registry.address

    def backlog(self, form: Form, count: int) -> tuple[Source, Sent]:
        """A topic with so many trades; all peers of a form drain the same one."""
        if form.name not in self.backlogs:
            source = self.source(form)
            say(f"a backlog of {count:,} trades as {form.name} in {source.topic}")
            sender = Sender(self.kafka.address, source.topic, source.profile, form)
            for done in range(0, count, _SENT_AT_ONCE):
                sender.send(min(_SENT_AT_ONCE, count - done), now=False)
            sent = sender.finish()
            say(f"  {sent.records:,} records, {sent.bytes / sent.trades:.0f} bytes a trade")
            # Once through, unmeasured: the first peer is not to pay for a Kafka that is cold.
            self.kafka.consumed_per_s(source.topic, sent.records)
            self.backlogs[form.name] = source, sent
        return self.backlogs[form.name]

    def peer(self, test: str, name: str, source: Source) -> Peer:
        """A peer with a folder of its own."""
        self._number += 1
        return PEERS[name](name, form_of(name), self.folder / f"{test}-{name}-{self._number}", source)

    def tools(self, count: int) -> dict[str, float | None]:
        """Trades a second of Kafka's own tools, by what they do."""
        _, sent = self.backlog(FORMS["json"], count)
        found = {"produce": self.kafka.produced_per_s(count, sent.bytes // sent.records)}
        for form, (source, drained) in self.backlogs.items():
            rate = self.kafka.consumed_per_s(source.topic, drained.records)
            found[f"consume, {form}"] = None if rate is None else rate * drained.trades / drained.records
        return found

    def close(self) -> None:
        """End the registry; what else runs, `end_all` ends."""
        if self._registry is not None:
            self._registry.stop()
