"""A real schema registry for tests: Apicurio, which speaks Confluent's API. Maven fetches it once, as it does Kafka."""

import json
import os
import select
import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from k2ctl.home import cache_dir
from k2ctl.stack.local import free_port
from tests.support.postgres_server import Missing

VERSION: Final = "2.6.13.Final"  # the last that runs on Java 17 and is served
_POM: Final = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>io.k2ctl</groupId><artifactId>registry</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies><dependency>
    <groupId>io.apicurio</groupId><artifactId>apicurio-registry-app</artifactId><version>{version}</version>
    <classifier>all</classifier><type>tar.gz</type>
    <exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>
  </dependency></dependencies>
</project>
"""


def _application() -> Path:
    """The folder with its jars."""
    target = cache_dir() / f"apicurio-registry-{VERSION}"
    if not target.is_dir():
        if shutil.which("mvn") is None or shutil.which("java") is None:
            raise Missing("no schema registry: it needs Java and Maven")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            (Path(folder) / "pom.xml").write_text(_POM.format(version=VERSION))
            command = ["mvn", "-q", "-B", "dependency:unpack-dependencies", f"-DoutputDirectory={folder}/app"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
            if done.returncode:
                raise Missing(f"no schema registry: Maven could not fetch it: {done.stdout[:300]}")
            if not target.is_dir():
                (Path(folder) / "app").rename(target)
    return target


def address_at(port: int) -> str:
    """Of Confluent's API behind a port."""
    return f"http://127.0.0.1:{port}/apis/ccompat/v7"


class RegistryServer:
    """One Java process, which keeps its schemas in memory."""

    def __init__(self) -> None:
        self._folder = _application()
        self.port = free_port()
        self._start()

    @property
    def address(self) -> str:
        """Of Confluent's API."""
        return address_at(self.port)

    def _start(self) -> None:
        options = ["-Xmx300m", f"-Dquarkus.http.port={self.port}", "-Dquarkus.http.host=127.0.0.1"]
        jar = next(self._folder.glob("*-runner.jar"))
        self._process = subprocess.Popen(
            ["java", *options, "-jar", jar], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=os.sep
        )
        limit_s = time.monotonic() + 120
        while True:
            try:
                self._ask("/subjects")
                return
            except OSError:
                assert time.monotonic() < limit_s, "the registry did not start"
                assert self._process.poll() is None, "the registry ended"
                time.sleep(0.1)

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()

    def register(self, subject: str, schema: Any, kind: str = "AVRO", references: Any = ()) -> int:
        """Register a schema; returns its number."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        body = {"schema": text, "schemaType": kind, "references": list(references)}
        return int(self._ask(f"/subjects/{subject}/versions", body)["id"])

    def _ask(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.address + path, data, headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.loads(answer.read())


class Door:
    """Another port of a registry. While it is closed the registry is away, with its schemas."""

    def __init__(self, registry: RegistryServer) -> None:
        self._to = ("127.0.0.1", registry.port)
        self.port = free_port()
        self._server: socketserver.ThreadingTCPServer | None = None

    @property
    def address(self) -> str:
        """Of Confluent's API."""
        return address_at(self.port)

    def open(self) -> None:
        """Let connections through."""
        to = self._to

        class Through(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with socket.create_connection(to) as other:
                    ends = {self.request: other, other: self.request}
                    while True:
                        for end in select.select(list(ends), [], [])[0]:
                            part = end.recv(65536)
                            if not part:
                                return
                            ends[end].sendall(part)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", self.port), Through, bind_and_activate=False)
        self._server.allow_reuse_address = self._server.daemon_threads = True
        self._server.server_bind()
        self._server.server_activate()
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
