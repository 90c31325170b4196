"""A real REST catalog for tests: Iceberg's own servlet, fetched by Maven, over SQLite; stopped and brought back."""

import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from k2ctl.home import cache_dir
from k2ctl.stack.local import free_port
from tests.support.postgres_server import Missing
from tests.support.server_process import ServerProcess

_SOURCE: Final = Path(__file__).parent / "rest_catalog"
_VERSION: Final = "1.10.1"
FETCH_TIMEOUT_S: Final = 600
CREDENTIAL: Final = "k2:between-tests"
TOKEN: Final = "between-tests"  # noqa: S105 - of a server that lives as long as the test

_databases: dict[str, Path] = {}
"""Address → the file in which its catalog keeps the names of its tables."""


def rest_program() -> Path:
    """The folder with the servlet's jars and our class that mounts it, made once into the cache.

    Raises:
        Missing: there is no JDK, or Maven cannot fetch the jars.
    """
    for program in ("java", "javac", "mvn"):
        if shutil.which(program) is None:
            raise Missing(f"{program} is not installed (apt install openjdk-17-jdk-headless maven)")
    target = cache_dir() / f"iceberg-rest-{_VERSION}"
    newest = max(path.stat().st_mtime for path in _SOURCE.iterdir())
    if target.is_dir() and target.stat().st_mtime > newest:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / "made"
        _run("mvn", "-q", "-B", "-f", str(_SOURCE / "pom.xml"), "dependency:copy-dependencies",
             "-DincludeScope=runtime", f"-DoutputDirectory={made}/libs")  # fmt: skip
        _run("javac", "-d", str(made), "-cp", f"{made}/libs/*", str(_SOURCE / "RestCatalogs.java"))
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)
        os.utime(target)
    return target


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False)
    if done.returncode:
        raise Missing(f"{command[0]} failed: {(done.stdout + done.stderr)[-400:]}")


class RestServer(ServerProcess):
    """One Java process with many catalogs, on a port that stays the same across restarts."""

    def __init__(self) -> None:
        self._program = rest_program()
        self._folder = tempfile.TemporaryDirectory(prefix="k2ctl-rest-", ignore_cleanup_errors=True)
        self._log = Path(self._folder.name) / "server.log"
        self._catalogs = 0
        self.port = free_port()
        self.start()

    def start(self) -> None:
        """Start it, with what its catalogs hold."""
        command = ["java", "-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                   "-cp", f"{self._program}{os.pathsep}{self._program}/libs/*",
                   "org.apache.iceberg.rest.RestCatalogs", str(self.port), self._folder.name]  # fmt: skip
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        limit_s = time.monotonic() + 60
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()[-2000:]
            assert time.monotonic() < limit_s, self._log.read_text()[-2000:]
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=2).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def catalog(self, warehouse: str, **properties: str) -> str:
        """The address of a new, empty catalog, whose tables are in a warehouse."""
        self._catalogs += 1
        name = f"lake{self._catalogs}"
        uri = f"http://127.0.0.1:{self.port}/{name}"
        _databases[uri] = Path(self._folder.name) / f"{name}.db"
        settings = {
            # Two that write at once wait for each other.
            "uri": f"jdbc:sqlite:{_databases[uri]}?busy_timeout=10000",
            "warehouse": warehouse,
            "jdbc.schema-version": "V1",
            **properties,
        }
        text = "".join(f"{key}={value}\n" for key, value in settings.items())
        (Path(self._folder.name) / f"{name}.properties").write_text(text)
        return uri

    def catalog_with_keys(self, warehouse: str, storage: Mapping[str, str], **properties: str) -> str:
        """A catalog that hands the keys of an object store out."""
        return self.catalog(
            warehouse,
            **{
                "io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
                "include-credentials": "true",
                "s3.path-style-access": "true",
                "client.region": storage["s3.region"],
                **storage,
                **properties,
            },
        )

    @staticmethod
    def database_of(uri: str) -> Path:
        """Where a catalog keeps the names of its tables: for a test that turns it back."""
        return _databases[uri]

    def close(self) -> None:
        """End it and delete what it holds."""
        self.stop()
        self._folder.cleanup()
