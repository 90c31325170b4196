"""A real Kafka of three brokers, each on a host of its own, any of which is killed or restarted by itself."""

import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource

from k2ctl.errors import StackError
from k2ctl.home import shipped
from k2ctl.stack.kafka_jars import kafka_libraries
from tests.support.place import Place
from tests.support.polling import until
from tests.support.postgres_server import Missing

# `default.replication.factor` stays Kafka's own, which is 1.
_SETTINGS: Final = """\
node.id={number}
controller.quorum.voters={voters}
listeners=PLAINTEXT://{address}:9092,CONTROLLER://{address}:9093
advertised.listeners=PLAINTEXT://{address}:9092
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
offsets.topic.replication.factor={copies}
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={in_sync}
min.insync.replicas={in_sync}
log.dirs={data}
"""
_JAVA: Final = ("java", "-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class KafkaCluster:
    """As many Java processes as places, each broker and controller, by their numbers from 1 on."""

    def __init__(self, places: Mapping[int, Place]) -> None:
        try:
            libraries = kafka_libraries(lambda _: None)
        except StackError as error:
            raise Missing(f"no Kafka: {error}") from error
        self._folder = tempfile.TemporaryDirectory(prefix="k2ctl-cluster-", ignore_cleanup_errors=True)
        self._java = [*_JAVA, "-cp", f"{shipped('stack') / 'kafka'}:{libraries}/*"]
        self._places = dict(places)
        self.servers = ",".join(f"{place.address}:9092" for place in places.values())
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        cluster = uuid.uuid4().hex[:22]
        for number in places:
            configuration = self._configure(number)
            made = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", configuration]
            subprocess.run([*self._java, *made], check=True, capture_output=True, timeout=120)
        for number in places:
            self.start(number)
        self.until_whole()

    def _configure(self, number: int) -> str:
        folder = Path(self._folder.name) / str(number)
        folder.mkdir()
        voters = ",".join(f"{each}@{place.address}:9093" for each, place in self._places.items())
        copies = len(self._places)
        own = _SETTINGS.format(
            number=number,
            voters=voters,
            address=self._places[number].address,
            copies=copies,
            in_sync=min(2, copies),
            data=folder / "data",
        )
        configuration = folder / "server.properties"
        configuration.write_text((shipped("stack") / "kafka" / "server.properties").read_text() + own)
        return str(configuration)

    def start(self, number: int) -> None:
        """Start a broker, with what its folder holds."""
        folder = Path(self._folder.name) / str(number)
        command = [*self._places[number].command, *self._java, "kafka.Kafka", str(folder / "server.properties")]
        with (folder / "log").open("ab") as log:
            self._processes[number] = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self, number: int) -> None:
        """kill -9."""
        self._processes[number].kill()
        self._processes[number].wait()

    def stop(self, number: int) -> None:
        """SIGTERM: it hands its leaderships over first."""
        self._processes[number].terminate()
        self._processes[number].wait(60)

    def coordinator(self, group: str) -> int:
        """The number of the broker that a group's members speak to."""
        admin = self._admin()
        return int(admin.describe_consumer_groups([group])[group].result(20).coordinator.id)

    def leaders(self, topic: str) -> dict[int, int]:
        """The leader of each partition."""
        found = self._admin().list_topics(topic, 10).topics[topic]
        return {number: partition.leader for number, partition in found.partitions.items()}

    def copies(self) -> dict[str, set[int]]:
        """How many copies the partitions of each topic have, Kafka's own left out."""
        topics = self._admin().list_topics(timeout=10).topics
        return {
            name: {len(partition.replicas) for partition in topic.partitions.values()}
            for name, topic in topics.items()
            if not name.startswith("__")
        }

    def least_in_sync(self, topic: str) -> int:
        """`min.insync.replicas` of a topic."""
        admin, asked = self._admin(), ConfigResource(ConfigResource.Type.TOPIC, topic)
        return int(admin.describe_configs([asked])[asked].result(20)["min.insync.replicas"].value)

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.servers, "log_level": 0})

    def until_whole(self, within_s: float = 90.0) -> None:
        """Wait until every broker is there and every partition has all its copies in sync."""
        until(self._is_whole, within_s, self._said)

    def _is_whole(self) -> bool:
        try:
            found = self._admin().list_topics(timeout=2)
        except KafkaException:
            time.sleep(0.2)
            return False
        partitions = [each for topic in found.topics.values() for each in topic.partitions.values()]
        return len(found.brokers) == len(self._places) and all(len(p.isrs) == len(p.replicas) for p in partitions)

    def _said(self) -> str:
        return "\n".join(path.read_text()[-1000:] for path in Path(self._folder.name).glob("*/log"))

    def close(self) -> None:
        """End it and delete its data."""
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._folder.cleanup()
