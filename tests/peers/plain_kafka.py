"""One Apache Kafka for all peers of a run: the jars and settings of k2ctl's local engine, on loopback."""

import re
import subprocess
import uuid
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from k2ctl.home import shipped
from k2ctl.stack.kafka_jars import java_program, kafka_libraries
from k2ctl.stack.local import free_port
from tests.peers.process_tree import ProcessTree
from tests.peers.settings import PARTITIONS, say
from tests.support.polling import until

_SETTINGS: Final = """
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={folder}/data
"""


class PlainKafka:
    """One Java process with a heap of 1 GB."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._libraries, stack = kafka_libraries(say), shipped("stack") / "kafka"
        port, controller = free_port(), free_port()
        self.address = f"127.0.0.1:{port}"
        configuration = folder / "server.properties"
        own = _SETTINGS.format(port=port, controller=controller, folder=folder)
        configuration.write_text((stack / "server.properties").read_text() + own)
        path = ["-cp", f"{stack}:{self._libraries}/*"]
        made = ["kafka.tools.StorageTool", "format", "--standalone", "-t", uuid.uuid4().hex[:22]]
        java = java_program()
        subprocess.run([java, "-Xmx256m", *path, *made, "-c", configuration], check=True, capture_output=True)
        command = [java, "-Xmx1g", "-XX:+UseG1GC", *path, "kafka.Kafka", str(configuration)]
        self.tree = ProcessTree(command, folder / "log.txt")
        self._admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        until(self._answers, 120, self.tree.text)

    def _answers(self) -> bool:
        assert self.tree.is_alive(), self.tree.text()[-2000:]
        try:
            self._admin.list_topics(timeout=2)
        except KafkaException:
            return False
        return True

    def make_topic(self, name: str, partitions: int = PARTITIONS) -> None:
        """Make a topic."""
        self._admin.create_topics([NewTopic(name, num_partitions=partitions, replication_factor=1)])[name].result(30)

    def consumed_per_s(self, topic: str, records: int) -> float | None:
        """Records a second of Kafka's own tool, which reads and drops them; None where it did not end."""
        command = ["--topic", topic, "--num-records", str(records), "--timeout", "60000"]
        text = self._tool("ConsumerPerformance", *command, "--bootstrap-server", self.address)
        lines = [line.split(", ") for line in text.splitlines() if ", " in line]
        head = next((line for line in lines if "fetch.nMsg.sec" in line), None)
        return float(lines[-1][head.index("fetch.nMsg.sec")]) if head else None

    def produced_per_s(self, records: int, size: int) -> float | None:
        """Records a second of Kafka's own tool, which sends zeros."""
        topic = f"produced-{uuid.uuid4().hex[:8]}"
        self.make_topic(topic)
        settings = ["acks=all", "linger.ms=20", "batch.size=1000000", "buffer.memory=268435456"]
        sizes = ["--num-records", str(records), "--record-size", str(size), "--throughput", "-1"]
        server = ["--bootstrap-server", self.address, "--command-property", *settings]
        text = self._tool("ProducerPerformance", "--topic", topic, *sizes, *server)
        found = re.findall(r"^\d+ records sent, ([\d.]+) records/sec", text, re.MULTILINE)
        self._admin.delete_topics([topic])[topic].result(30)
        return float(found[-1]) if found else None

    def _tool(self, name: str, *arguments: str) -> str:
        command = [java_program(), "-Xmx1g", "-cp", f"{self._libraries}/*", f"org.apache.kafka.tools.{name}"]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=600, check=False)
        return done.stdout + done.stderr
