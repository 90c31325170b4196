"""A real Kafka of somebody else's, for tests: it takes only who names himself (SASL/PLAIN), and heeds ACLs."""

import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import Final

from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, StackError
from k2ctl.home import shipped
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.stack.kafka_jars import kafka_libraries
from k2ctl.stack.local import free_port
from tests.support.postgres_server import Missing

ADMIN: Final = "admin"
USERS: Final = {ADMIN: "hush-admin", "k2": "hush-kafka", "guest": "hush-guest"}
_SETTINGS: Final = """\
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=SASL_PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=SASL_PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required username="admin" password="{password}" {users};
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin;User:k2;User:ANONYMOUS
log.dirs={data}
"""


class KafkaServer:
    """One Java process. `k2` may do everything, `guest` what an ACL says."""

    def __init__(self) -> None:
        try:
            libraries = kafka_libraries(lambda _: None)
        except StackError as error:
            raise Missing(f"no Kafka: {error}") from error
        self._folder = tempfile.TemporaryDirectory(prefix="k2ctl-kafka-", ignore_cleanup_errors=True)
        folder = Path(self._folder.name)
        self.port = free_port()
        users = " ".join(f'user_{name}="{password}"' for name, password in USERS.items())
        own = _SETTINGS.format(
            port=self.port, controller=free_port(), users=users, password=USERS[ADMIN], data=folder / "data"
        )
        configuration = folder / "server.properties"
        configuration.write_text((shipped("stack") / "kafka" / "server.properties").read_text() + own)
        java = ["java", "-Xmx512m", "-cp", f"{shipped('stack') / 'kafka'}:{libraries}/*"]
        made = ["kafka.tools.StorageTool", "format", "--standalone", "-t", uuid.uuid4().hex[:22], "-c", configuration]
        subprocess.run([*java, *made], check=True, capture_output=True, timeout=120)
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([*java, "kafka.Kafka", configuration], stdout=log, stderr=log)
        self._wait()

    def _wait(self) -> None:
        limit_s = time.monotonic() + 60
        while True:
            try:
                with BrokerAdmin(self.endpoints(ADMIN)) as admin:
                    admin.topics()
                return
            except BrokerError:
                assert time.monotonic() < limit_s, self._log.read_text()[-2000:]
                assert self._process.poll() is None, self._log.read_text()[-2000:]

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    def endpoints(self, user: str) -> Endpoints:
        """As a user reaches it; with no lake."""
        kafka = {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": user,
            "sasl.password": USERS[user],
        }
        return Endpoints("external", self.address, "sqlite://", "file:///nowhere", kafka=kafka)

    def pause(self) -> None:
        """It answers nobody until `resume`."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it and delete its data."""
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()
