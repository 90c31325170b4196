"""The local engine: Apache Kafka as one Java process from its published jars, and Redis beside it."""

import os
import socket
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from k2ctl.endpoints import Endpoints
from k2ctl.errors import StackError
from k2ctl.home import shipped
from k2ctl.stack.kafka_jars import java_program, kafka_libraries
from k2ctl.stack.processes import end, last_lines, start_detached
from k2ctl.stack.redis_server import private_arguments, redis_answers, socket_url

FORMAT_TIMEOUT_S: Final = 120
HEAP: Final = "1g"
OWN_SETTINGS: Final = """\
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
"""


def start(base: Endpoints, say: Callable[[str], None]) -> Endpoints:
    """Start Kafka and Redis; their data stays in the state directory from one `up` to the next."""
    libraries = kafka_libraries(say)
    home = base.home
    folder = home.folder("kafka")
    configuration, port = _configure(folder)
    class_path = f"{shipped('stack') / 'kafka'}{os.pathsep}{libraries}/*"
    if not (folder / "data" / "meta.properties").exists():
        _format(class_path, configuration)
    # Libraries for compression are unpacked there and loaded: not among the temporary files of everybody.
    unpacked = folder / "unpacked"
    unpacked.mkdir(mode=0o700, exist_ok=True)
    options = [f"-Xmx{HEAP}", "-XX:+UseG1GC", f"-Djava.io.tmpdir={unpacked.absolute()}"]
    java = [java_program(), *options, "-cp", class_path, "kafka.Kafka", str(configuration)]
    kafka, _ = start_detached("kafka", java, home=home)
    try:
        redis_socket = home.socket("redis.sock")
        redis, _ = start_detached("redis", private_arguments(redis_socket, home.folder("redis")), home=home)
    except BaseException:
        end([kafka])
        raise
    return replace(
        base,
        engine="local",
        bootstrap_servers=f"127.0.0.1:{port}",
        state_url=socket_url(redis_socket),
        processes={"kafka": kafka, "redis": redis},
    )


def _configure(folder: Path) -> tuple[Path, int]:
    """Write server.properties for this start: ports are chosen again, data stays."""
    port, controller_port = free_port(), free_port()
    shared = (shipped("stack") / "kafka" / "server.properties").read_text()
    configuration = folder / "server.properties"
    own = OWN_SETTINGS.format(port=port, controller_port=controller_port, data=folder / "data")
    configuration.write_text(shared + own)
    return configuration, port


def _format(class_path: str, configuration: Path) -> None:
    cluster_id = uuid.uuid4().hex[:22]
    arguments = ["format", "--standalone", "-t", cluster_id, "-c", str(configuration)]
    try:
        done = subprocess.run(
            [java_program(), "-Xmx256m", "-cp", class_path, "kafka.tools.StorageTool", *arguments],
            capture_output=True,
            text=True,
            timeout=FORMAT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StackError(
            f"Kafka's storage was not formatted within {FORMAT_TIMEOUT_S} s.", "See: k2ctl doctor"
        ) from error
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines()
        raise StackError(f"Kafka's storage could not be formatted: {reason[-1] if reason else ''}", "See: k2ctl doctor")


def check_redis(endpoints: Endpoints) -> None:
    """Redis must answer; it starts in milliseconds, long before Kafka."""
    if not redis_answers(endpoints.state_url):
        why = last_lines("redis", endpoints.home)
        raise StackError(f"Redis did not start: {why}", "See: k2ctl stack logs redis")


def shut_down(endpoints: Endpoints) -> None:
    """End both."""
    end([process for service in ("kafka", "redis") if (process := endpoints.processes.get(service))])


def free_port() -> int:
    """A TCP port on the loopback interface that nobody holds right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
