"""Spark for tests: the Python that has it, its jars, and a standalone cluster of one master and two workers.

PySpark is 430 MB, so it is not among the tests' dependencies: `K2CTL_SPARK_PYTHON` names a Python that has it (4.0),
and the jars come from Maven Central into the cache, once.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import psutil
import pytest

from k2ctl.home import cache_dir
from k2ctl.spark.settings import ICEBERG, OF_POSTGRES, OF_S3, OF_SQLITE
from k2ctl.stack.local import free_port

JARS: Final = (ICEBERG, OF_S3, OF_POSTGRES, OF_SQLITE)
SMALL: Final = {
    "spark.executor.memory": "512m",
    "spark.driver.memory": "512m",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.shuffle.partitions": "4",
}
"""Options for a cluster of two small workers on this machine."""


def require_spark() -> str:
    """A Python with PySpark, with Java and the jars there; skips with the reason where something is missing."""
    python = os.environ.get("K2CTL_SPARK_PYTHON", sys.executable)
    if subprocess.run([python, "-c", "import pyspark"], capture_output=True, check=False).returncode:
        pytest.skip("no PySpark: name a Python that has it, in K2CTL_SPARK_PYTHON")
    if shutil.which("java") is None:
        pytest.skip("no Java for Spark")
    folder = cache_dir() / "spark-jars"
    for jar in JARS:
        _, name, version = jar.split(":")
        if not (folder / f"{name}-{version}.jar").exists():
            if shutil.which("mvn") is None:
                pytest.skip(f"no Maven to fetch {name}")
            copy = ["org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy", f"-DoutputDirectory={folder}"]
            subprocess.run(
                ["mvn", "-q", "-B", *copy, f"-Dartifact={jar}"], check=True, capture_output=True, timeout=280
            )
    return python


class SparkCluster:
    """A standalone master with two workers of one core each, all on loopback."""

    def __init__(self, python: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="k2ctl-spark-", ignore_cleanup_errors=True)
        found = subprocess.run(
            [python, "-c", "import pyspark; print(pyspark.__path__[0])"], capture_output=True, text=True, check=True
        )
        self._spark = found.stdout.strip()
        self._processes: list[psutil.Popen] = []
        self.url = f"spark://127.0.0.1:{free_port()}"
        port = self.url.rpartition(":")[2]
        self._run("master.Master", "--host", "127.0.0.1", "--port", port, "--webui-port", str(free_port()))
        for number in (1, 2):
            self._run(
                "worker.Worker", "--host", "127.0.0.1", "--webui-port", str(free_port()), "--cores", "1",
                "--memory", "1g", "--work-dir", f"{self._folder.name}/work{number}", self.url,
            )  # fmt: skip
        limit_s = time.monotonic() + 90
        while len(re.findall("Registering worker", self.log())) < 2:
            assert time.monotonic() < limit_s, self.log()[-2000:]
            assert all(process.poll() is None for process in self._processes), self.log()[-2000:]
            time.sleep(0.1)

    def _run(self, what: str, *arguments: str) -> None:
        log = (Path(self._folder.name) / "log").open("ab")
        environment = {
            **os.environ,
            "SPARK_HOME": self._spark,
            "SPARK_SCALA_VERSION": "2.13",
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_PUBLIC_DNS": "127.0.0.1",
        }
        command = [
            "java",
            "-Xmx256m",
            *_OPENED,
            "-cp",
            f"{self._spark}/jars/*",
            f"org.apache.spark.deploy.{what}",
            *arguments,
        ]
        with log:
            self._processes.append(psutil.Popen(command, stdout=log, stderr=log, env=environment))

    def log(self) -> str:
        """What master and workers have said."""
        return (Path(self._folder.name) / "log").read_text(errors="replace")

    def cpu_s(self) -> float:
        """Processor time of the executors and all else below the workers so far."""
        found = [child for process in self._processes for child in process.children(recursive=True)]
        return sum(sum(child.cpu_times()[:2]) for child in found)

    def close(self) -> None:
        """End workers, executors and master."""
        for process in reversed(self._processes):
            below = process.children(recursive=True)
            process.kill()
            process.wait()
            for child in below:
                if child.is_running():
                    child.kill()
        self._folder.cleanup()


_OPENED: Final = [
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in ("java.lang", "java.nio", "java.net", "java.util", "sun.nio.ch", "sun.security.action")
]
