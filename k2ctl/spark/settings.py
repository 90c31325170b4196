"""The settings of a Spark session: the master, the jars, and how to reach the table; secrets apart from the rest."""

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from k2ctl.domain.topics import TABLE
from k2ctl.endpoints import Endpoints, without_password
from k2ctl.errors import UsageError
from k2ctl.home import cache_dir

CATALOG: Final = "k2"
"""The name of the catalog in Spark. In a database it is the name under which our tables are filed."""

ICEBERG: Final = "org.apache.iceberg:iceberg-spark-runtime-4.0_2.13:1.10.1"
OF_S3: Final = "org.apache.iceberg:iceberg-aws-bundle:1.10.1"
OF_POSTGRES: Final = "org.postgresql:postgresql:42.7.8"
OF_SQLITE: Final = "org.xerial:sqlite-jdbc:3.50.3.0"
_COPY: Final = "mvn -q org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"

_OPTIONS: Final = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.runSQLOnFiles": "false",
    "spark.sql.catalogImplementation": "in-memory",
    "spark.scheduler.mode": "FAIR",
    "spark.redaction.regex": r"(?i)secret|password|token|access[.-]?key|credential",
}
_SECRET: Final = re.compile(r"(?i)(secret|password|token|credential|access[.-]?key|secret[.-]?key|key-id)$")
_ALONE: Final = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.shuffle.partitions": "16",
}
"""Where Spark is the driver alone: nobody connects from outside, and there is no cluster to fill."""


@dataclass(frozen=True)
class SparkPlace:
    """Where Spark runs, and what a person sets of it."""

    # local[*], spark://HOST:7077, yarn, k8s://…
    master: str = "local[*]"
    # Options of the session, by Spark's names.
    options: Mapping[str, str] = field(default_factory=dict)


def place_of(master: str, options: Sequence[str]) -> SparkPlace:
    """What --master and --conf ask for.

    Raises:
        UsageError: an option is not NAME=VALUE, or has a secret, which others could read on the command line.
    """
    found = {}
    for text in options:
        name, equals, value = text.partition("=")
        if not equals or not name.startswith("spark."):
            raise UsageError(f"--conf {text}: not an option of Spark.", "Write: --conf spark.executor.memory=4g")
        if _SECRET.search(name):
            raise UsageError(
                f"--conf {name}: a secret does not belong on a command line.", "Write it into spark-defaults.conf."
            )
        found[name] = value
    return SparkPlace(master, found)


def python_of_spark() -> str:
    """The Python that has PySpark: our own, or the one that `K2CTL_SPARK_PYTHON` names."""
    return os.environ.get("K2CTL_SPARK_PYTHON") or sys.executable


def require_java() -> None:
    """Raises: UsageError: there is no Java."""
    home = os.environ.get("JAVA_HOME")
    if shutil.which("java") is None and not (home and (Path(home) / "bin" / "java").exists()):
        raise UsageError("Spark needs Java 17, which is not here.", "sudo apt install openjdk-17-jre-headless")


def start_of(endpoints: Endpoints, place: SparkPlace, location: str) -> dict[str, Any]:
    """The first line for the driver. location: of the table, by which its store is known.

    Raises:
        UsageError: jars are missing, or Spark does not reach a catalog of this kind.
    """
    catalog = {f"spark.sql.catalog.{CATALOG}": "org.apache.iceberg.spark.SparkCatalog"}
    # A cached table would not have the snapshots of the last half minute.
    settings = {"cache-enabled": "false", **_catalog(endpoints), **_storage(endpoints)}
    catalog |= {f"spark.sql.catalog.{CATALOG}.{name}": value for name, value in settings.items()}
    alone = _ALONE if place.master.startswith("local") else {}
    jars = {} if "spark.jars" in place.options or "spark.jars.packages" in place.options else _jars(endpoints, location)
    return {
        "master": place.master,
        "options": {**_OPTIONS, **alone, **jars, **place.options},
        "catalog": catalog,
        "table": quoted_name(endpoints.table or TABLE),
    }


def quoted_name(name: str) -> str:
    """A table of the catalog as Spark's SQL has it."""
    return ".".join(f"`{part}`" for part in (CATALOG, *name.split(".")))


def _catalog(endpoints: Endpoints) -> dict[str, str]:
    uri = endpoints.catalog_uri
    if uri.startswith(("http://", "https://")):
        vended = {"header.X-Iceberg-Access-Delegation": "vended-credentials"}
        tokens = {"oauth2-server-uri": f"{uri.rstrip('/')}/v1/oauth/tokens"} if endpoints.catalog_access else {}
        access = {**vended, **tokens, **endpoints.catalog_access}
        return {"type": "rest", "uri": uri, "warehouse": endpoints.warehouse, **access}
    shared = {
        "type": "jdbc",
        "jdbc.schema-version": "V1",
        "warehouse": endpoints.warehouse,
        "io-impl": "org.apache.iceberg.io.ResolvingFileIO",
    }
    if uri.startswith("sqlite:///"):
        return {**shared, "uri": f"jdbc:sqlite:{uri.removeprefix('sqlite:///')}?busy_timeout=10000"}
    if uri.startswith("postgresql"):
        return {**shared, **_postgres(uri)}
    raise UsageError(
        f"Spark is not shown the way to the catalog {without_password(uri)}.",
        "It knows PostgreSQL, SQLite and REST. Without Spark: k2ctl lake compact",
    )


def _postgres(uri: str) -> dict[str, str]:
    parts = urlsplit(uri)
    query = dict(parse_qsl(parts.query))
    # psycopg takes the host and the user from here too.
    host = query.pop("host", parts.hostname or "localhost")
    port = query.pop("port", str(parts.port or 5432))
    user = query.pop("user", unquote(parts.username or ""))
    password = query.pop("password", unquote(parts.password or ""))
    login = {"jdbc.user": user, "jdbc.password": password}
    address = f"jdbc:postgresql://{host}:{port}{parts.path}" + (f"?{urlencode(query)}" if query else "")
    return {"uri": address, **{name: value for name, value in login.items() if value}}


_RENAMED: Final = {"s3.region": "client.region"}
_NOT_PASSED: Final = frozenset({"s3.force-virtual-addressing", "s3.resolve-region"})
_UNKNOWN: Final = frozenset({"s3.role-arn", "s3.role-session-name", "s3.anonymous", "s3.proxy-uri"})
"""Settings without which pyiceberg's client would not get in, and that Iceberg's Java client does not read."""


def _storage(endpoints: Endpoints) -> dict[str, str]:
    storage = endpoints.storage
    if not storage:
        return {}
    unknown = sorted(_UNKNOWN & storage.keys())
    if unknown:
        raise UsageError(
            f"Spark's S3 client does not know {', '.join(unknown)}.",
            "Give the machines of Spark a role of their own, and leave it out; without Spark: k2ctl lake compact",
        )
    found = {_RENAMED.get(name, name): value for name, value in storage.items() if name not in _NOT_PASSED}
    virtual = storage.get("s3.force-virtual-addressing", "false").lower() == "true"
    return {**found, "s3.path-style-access": str(not virtual and "s3.endpoint" in storage).lower()}


def _jars(endpoints: Endpoints, location: str) -> dict[str, str]:
    wanted = [ICEBERG]
    wanted += [OF_S3] if location.startswith("s3") else []
    wanted += [OF_POSTGRES] if endpoints.catalog_uri.startswith("postgresql") else []
    wanted += [OF_SQLITE] if endpoints.catalog_uri.startswith("sqlite") else []
    folder = Path(os.environ.get("K2CTL_SPARK_JARS") or cache_dir() / "spark-jars")
    missing = [jar for jar in wanted if not _file_of(folder, jar).exists()]
    if missing:
        fetch = " && ".join(f"{_COPY} -Dartifact={jar} -DoutputDirectory={folder}" for jar in missing)
        names = ", ".join(jar.split(":")[1] for jar in missing)
        raise UsageError(f"Spark needs jars that are not in {folder}: {names}.", fetch)
    return {"spark.jars": ",".join(str(_file_of(folder, jar)) for jar in wanted)}


def _file_of(folder: Path, jar: str) -> Path:
    _, name, version = jar.split(":")
    return folder / f"{name}-{version}.jar"
