"""librdkafka's in-process Kafka cluster, called through ctypes on the library that confluent-kafka ships.

It exists for librdkafka's own tests: it speaks the Kafka protocol to librdkafka clients, keeps at most 5 MiB and
100,000 message sets per partition in memory and drops older data silently, does not deduplicate retries and
forgets everything when it ends. That is enough to try K2 and to test it, and no more.
"""

import ctypes
from pathlib import Path
from typing import Any, Final

import confluent_kafka

from k2ctl.errors import StackError

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
