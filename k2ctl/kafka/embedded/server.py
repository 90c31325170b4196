"""The embedded broker's process: the mock cluster, and a control socket for what its wire protocol lacks.

    python -m k2ctl.kafka.embedded.server SOCKET

prints one line of JSON (bootstrap servers, epoch) when it is ready, and serves until it is asked to shut down.
A request on the socket is one line of JSON, `{"do": "create_topic", …}`; so is the answer, `{"ok": …}` or
`{"error": …}`.
"""

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

from k2ctl.errors import BrokerError
from k2ctl.kafka.embedded.cluster import RETENTION_BYTES, MockCluster
from k2ctl.log import configure_from_environment

LOGGER: Final = logging.getLogger("k2ctl.kafka.embedded")
CONTROL_TIMEOUT_S: Final = 5.0


class ControlServer:
    """Answers control requests, one connection at a time: they are rare and quick."""

    def __init__(self, path: Path, cluster: MockCluster, epoch: str) -> None:
        self._cluster = cluster
        self._epoch = epoch
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
            "describe": self._describe,
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

    def _describe(self, _: dict[str, Any]) -> object:
        return {
            "bootstrap_servers": self._cluster.bootstrap_servers,
            "epoch": self._epoch,
            "retention_bytes": RETENTION_BYTES,
        }

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
    server = ControlServer(Path(socket_path), cluster, epoch)
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
