"""librdkafka's in-process Kafka cluster, called through ctypes on the library that confluent-kafka ships.

It exists for librdkafka's own tests: it speaks the Kafka protocol to librdkafka clients, keeps at most 5 MiB and
100,000 message sets per partition in memory and drops older data silently, does not deduplicate retries and
forgets everything when it ends. That is enough to try K2 and to test it, and no more.
"""

import ctypes
import json
import logging
import os
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import confluent_kafka

from k2ctl.errors import BrokerError, StackError
from k2ctl.log import configure_from_environment

RETENTION_BYTES: Final = 5 * 1024 * 1024
"""What a partition keeps, compressed; hard-coded in librdkafka (rdkafka_mock.c, topic defaults)."""

_PRODUCER: Final = 0
_GROUP_SESSION_MS: Final = 3000
_GROUP_HEARTBEAT_MS: Final = 200


def library_path() -> Path:
    """The librdkafka that the confluent-kafka wheel carries.

    Raises:
        StackError: it is not where wheels put it.
    """
    package = Path(confluent_kafka.__file__).parent
    folders = [package.parent / "confluent_kafka.libs", package / ".dylibs", package]
    for folder in folders:
        for pattern in ("librdkafka-*.so*", "librdkafka*.so*", "librdkafka*.dylib"):
            for found in sorted(folder.glob(pattern)):
                if "++" not in found.name:
                    return found
    raise StackError(
        "The embedded engine needs the librdkafka of the confluent-kafka wheel, and it is not there.",
        "Install the wheel: pip install --force-reinstall --only-binary :all: confluent-kafka",
    )


class MockCluster:
    """One broker, its topics and groups. Lives as long as this object's process, or until `close`."""

    def __init__(self) -> None:
        self._library = _declared(ctypes.CDLL(str(library_path())))
        reason = ctypes.create_string_buffer(512)
        self._handle = self._library.rd_kafka_new(_PRODUCER, None, reason, len(reason))
        if not self._handle:
            raise StackError(f"librdkafka did not start: {reason.value.decode()}", "See: k2ctl doctor")
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._handle, 1)
        # Without a controller every admin request times out; without the rest, groups take seconds to form.
        self._library.rd_kafka_mock_set_controller_id(self._cluster, 1)
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self._library.rd_kafka_mock_set_group_consumer_session_timeout_ms(self._cluster, _GROUP_SESSION_MS)
        self._library.rd_kafka_mock_set_group_consumer_heartbeat_interval_ms(self._cluster, _GROUP_HEARTBEAT_MS)

    @property
    def bootstrap_servers(self) -> str:
        """host:port of the broker, on the loopback interface."""
        servers: bytes = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster)
        return servers.decode()

    def create_topic(self, name: str, partitions: int) -> bool:
        """Make a topic; False when there is one already, as after a producer that wrote to it before.

        Raises:
            OSError: it cannot be made; with librdkafka's error number.
        """
        code = self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)
        if code == confluent_kafka.KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        self._check(code)
        return True

    def delete_topic(self, name: str) -> None:
        """Remove a topic and its records."""
        self._check(self._library.rd_kafka_mock_topic_delete(self._cluster, name.encode()))

    def delete_records(self, topic: str, partition: int, before_offset: int) -> None:
        """Drop the records before an offset, as retention does."""
        self._check(
            self._library.rd_kafka_mock_partition_delete_records(
                self._cluster, topic.encode(), partition, before_offset
            )
        )

    def close(self) -> None:
        """End the cluster; everything in it is gone."""
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._handle)

    def _check(self, code: int) -> None:
        if code:
            text: bytes = self._library.rd_kafka_err2str(code)
            raise OSError(code, text.decode())


def _declared(library: Any) -> Any:
    """The functions' types: ctypes would cut pointers to 32 bits without them."""
    pointer, text, number, wide = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int64
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "rd_kafka_new": (pointer, [number, pointer, text, ctypes.c_size_t]),
        "rd_kafka_destroy": (None, [pointer]),
        "rd_kafka_err2str": (text, [number]),
        "rd_kafka_mock_cluster_new": (pointer, [pointer, number]),
        "rd_kafka_mock_cluster_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_bootstraps": (text, [pointer]),
        "rd_kafka_mock_set_controller_id": (None, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_set_group_consumer_session_timeout_ms": (None, [pointer, number]),
        "rd_kafka_mock_set_group_consumer_heartbeat_interval_ms": (None, [pointer, number]),
        "rd_kafka_mock_topic_create": (number, [pointer, text, number, number]),
        "rd_kafka_mock_topic_delete": (number, [pointer, text]),
        "rd_kafka_mock_partition_delete_records": (number, [pointer, text, ctypes.c_int32, wide]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


LOGGER: Final = logging.getLogger("k2ctl.kafka.embedded")
CONTROL_TIMEOUT_S: Final = 5.0


class ControlServer:
    """Answers control requests, one connection at a time: they are rare and quick."""

    def __init__(self, path: Path, cluster: MockCluster) -> None:
        self._cluster = cluster
        self._stopped = threading.Event()
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)  # a socket that is closed to others only afterwards is open for a moment
        try:
            self._socket.bind(str(path))
        finally:
            os.umask(before)
        self._socket.listen()
        self._path = path
        self._actions: dict[str, Callable[[dict[str, Any]], object]] = {
            "create_topic": self._create_topic,
            "delete_topic": self._delete_topic,
            "delete_records": self._delete_records,
            "shutdown": self._shutdown,
        }

    def serve(self) -> None:
        """Answer until `shutdown` is asked for or `stop` is called."""
        self._socket.settimeout(0.5)
        while not self._stopped.is_set():
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(CONTROL_TIMEOUT_S)
                self._answer(connection)
        self._path.unlink(missing_ok=True)

    def stop(self, *_: object) -> None:
        """End `serve` within half a second."""
        self._stopped.set()

    def _answer(self, connection: socket.socket) -> None:
        try:
            with connection.makefile("rw") as stream:
                request = json.loads(stream.readline(65_536))
                try:
                    answer = {"ok": self._actions[request["do"]](request)}
                except (KeyError, TypeError, OSError) as error:
                    answer = {"error": str(error)}
                stream.write(json.dumps(answer) + "\n")
        except (OSError, ValueError) as error:  # the caller has gone, or is no k2ctl; the server goes on
            LOGGER.warning("a control request cannot be answered: %s", error)

    def _create_topic(self, request: dict[str, Any]) -> bool:
        return self._cluster.create_topic(str(request["name"]), int(request["partitions"]))

    def _delete_topic(self, request: dict[str, Any]) -> None:
        self._cluster.delete_topic(str(request["name"]))

    def _delete_records(self, request: dict[str, Any]) -> None:
        for partition, before in request["offsets"].items():
            self._cluster.delete_records(str(request["name"]), int(partition), int(before))

    def _shutdown(self, _: dict[str, Any]) -> None:
        self.stop()


def control(path: str, do: str, **arguments: object) -> Any:
    """Ask the embedded broker's process for something.

    Raises:
        BrokerError: it does not answer, or refuses.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(CONTROL_TIMEOUT_S)
            connection.connect(path)
            with connection.makefile("rw") as stream:
                stream.write(json.dumps({"do": do, **arguments}) + "\n")
                stream.flush()
                answer = json.loads(stream.readline())
    except (OSError, ValueError) as error:
        raise BrokerError(f"The embedded Kafka does not answer: {error}", "Start it again: k2ctl stack up") from error
    if "error" in answer:
        raise BrokerError(f"The embedded Kafka refused to {do}: {answer['error']}", "See: k2ctl stack logs kafka")
    return answer["ok"]


def main(socket_path: str) -> None:
    """Run the broker until it is stopped."""
    configure_from_environment()
    cluster = MockCluster()
    epoch = str(uuid.uuid4())
    server = ControlServer(Path(socket_path), cluster)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.stop)
    ready = {"bootstrap_servers": cluster.bootstrap_servers, "epoch": epoch}
    LOGGER.info("serving", extra=ready)
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    server.serve()
    LOGGER.info("stopping")
    cluster.close()


if __name__ == "__main__":
    main(sys.argv[1])
