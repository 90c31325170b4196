"""What others run: the Iceberg sink of Kafka Connect, Spark's structured streaming, Quix Streams."""

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Final

from k2ctl.stack.kafka_jars import java_program
from k2ctl.stack.local import free_port
from tests.peers.fetched import jars, python
from tests.peers.peer import JOBS, Peer
from tests.peers.peer_table import Where, make_table
from tests.peers.process_tree import ProcessTree
from tests.peers.records import VENDOR_NAMES
from tests.peers.settings import SETTINGS

_WORKER: Final = """\
bootstrap.servers={kafka}
key.converter=org.apache.kafka.connect.storage.StringConverter
{converter}
offset.storage.file.filename={folder}/offsets
listeners=http://127.0.0.1:{port}
plugin.discovery=service_load
offset.flush.interval.ms={flush_ms}
"""
_FROM_JSON: Final = """\
value.converter=org.apache.kafka.connect.json.JsonConverter
value.converter.schemas.enable=false"""
_FROM_AVRO: Final = """\
value.converter=io.apicurio.registry.utils.converter.AvroConverter
value.converter.apicurio.registry.url={registry}
value.converter.apicurio.registry.headers.enabled=false
value.converter.apicurio.registry.as-confluent=true
value.converter.apicurio.registry.id-handler=io.apicurio.registry.serde.Legacy4ByteIdHandler"""
_SINK: Final = """\
name=peer-{control}
connector.class=org.apache.iceberg.connect.IcebergSinkConnector
tasks.max={tasks}
topics={topic}
consumer.override.max.poll.records={poll}
iceberg.tables={table}
iceberg.catalog={catalog}
iceberg.catalog.catalog-impl=org.apache.iceberg.jdbc.JdbcCatalog
iceberg.catalog.uri=jdbc:sqlite:{folder}/catalog.db?busy_timeout=10000
iceberg.catalog.jdbc.schema-version=V1
iceberg.catalog.warehouse={warehouse}
iceberg.control.topic={control}
iceberg.control.commit.interval-ms={commit_ms}
iceberg.kafka.bootstrap.servers={kafka}
"""
_RENAMED: Final = """\
transforms=names
transforms.names.type=org.apache.kafka.connect.transforms.ReplaceField$Value
transforms.names.exclude=e
transforms.names.renames={renames}
"""
_LOG: Final = """\
status=error
appender.o.type=Console
appender.o.name=o
appender.o.layout.type=PatternLayout
appender.o.layout.pattern=%d{UNIX_MILLIS} %p %c{1} %m%n
rootLogger.level=info
rootLogger.appenderRef.o.ref=o
"""
_KILLED: Final = "Task is being killed"
_CUT: Final = 1500


class Connect(Peer):
    """The sink in one standalone worker, whose tasks are woken as often as they commit."""

    def prepare(self) -> Where:
        """See `Peer`."""
        where, source = make_table(self.folder), self.source
        control = f"control-{uuid.uuid4().hex[:8]}"
        source.kafka.make_topic(control, 1)
        own = _FROM_AVRO.format(registry=source.registry.replace("ccompat/v7", "registry/v2"))
        worker = _WORKER.format(
            kafka=source.kafka.address,
            converter=own if self.form.name == "avro" else _FROM_JSON,
            folder=self.folder,
            port=free_port(),
            flush_ms=SETTINGS.connect_flush_ms or SETTINGS.commit_ms,
        )
        sink = _SINK.format(
            control=control,
            tasks=SETTINGS.connect_tasks,
            topic=source.topic,
            poll=SETTINGS.connect_poll,
            table=where.name,
            catalog=where.catalog,
            folder=self.folder,
            warehouse=where.warehouse,
            commit_ms=SETTINGS.commit_ms,
            kafka=source.kafka.address,
        )
        if self.form.name == "feed-json":
            sink += _RENAMED.format(renames=",".join(f"{vendor}:{name}" for name, vendor in VENDOR_NAMES.items()))
        for name, text in (("worker", worker), ("sink", sink), ("log4j2", _LOG)):
            (self.folder / f"{name}.properties").write_text(text)
        return where

    @property
    def drains(self) -> bool:
        """It never ends by itself."""
        return False

    def command(self, *, drain: bool) -> tuple[Sequence[str], Mapping[str, str]]:
        """See `Peer`."""
        java = [java_program(), "-Xms256m", f"-Xmx{SETTINGS.heap}", "-XX:+UseG1GC", "-cp", f"{jars('connect')}/*"]
        settings = [str(self.folder / f"{name}.properties") for name in ("log4j2", "worker", "sink")]
        worker = [f"-Dlog4j2.configurationFile={settings[0]}", "org.apache.kafka.connect.cli.ConnectStandalone"]
        return [*java, *worker, *settings[1:]], {}

    def ready_s(self, tree: ProcessTree) -> float | None:
        """When the first of its tasks had started."""
        found = re.search(r"^(\d{13}) .*finished initialization and start", tree.text(), re.MULTILINE)
        return int(found[1]) / 1000 - tree.started_s if found else None

    def broken(self, tree: ProcessTree) -> str:
        """A worker outlives its tasks."""
        text = tree.text()
        at = text.find(_KILLED)
        return text[at : at + _CUT] if at >= 0 else ""


class Spark(Peer):
    """One driver with all cores."""

    def command(self, *, drain: bool) -> tuple[Sequence[str], Mapping[str, str]]:
        """See `Peer`."""
        kafka, catalog = self.source.kafka.address, f"jdbc:sqlite:{self.folder}/catalog.db?busy_timeout=10000"
        trigger = "now" if drain else str(SETTINGS.commit_ms)
        job = [python("pyspark"), str(JOBS / "spark_job.py"), kafka, self.source.topic, catalog, self.where.warehouse]
        own = {"SPARK_LOCAL_IP": "127.0.0.1", "PEER_JARS": f"{jars('spark')}/*", "PEER_HEAP": SETTINGS.heap}
        return [*job, str(self.folder / "checkpoint"), trigger, str(SETTINGS.spark_batch)], own


class Quix(Peer):
    """Its sink makes a table of its own: texts stay texts."""

    def prepare(self) -> Where:
        """See `Peer`."""
        return make_table(self.folder, empty_catalog=True)

    @property
    def drains(self) -> bool:
        """It never ends by itself."""
        return False

    def command(self, *, drain: bool) -> tuple[Sequence[str], Mapping[str, str]]:
        """See `Peer`."""
        job = [python("quix"), str(JOBS / "quix_job.py"), self.source.kafka.address, self.source.topic]
        where = [self.where.uri, self.where.warehouse, str(self.folder / "state")]
        return [*job, *where, str(SETTINGS.commit_ms / 1000)], {}
