"""A Spark cluster for the tests of this folder, and an empty lake of each kind."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from k2ctl.endpoints import Endpoints
from k2ctl.home import Home
from tests.support.object_store import ObjectStore
from tests.support.postgres_server import PostgresServer
from tests.support.rest_server import CREDENTIAL, RestServer
from tests.support.spark import SparkCluster, require_spark


@pytest.fixture(scope="session")
def spark_python() -> str:
    return require_spark()


@pytest.fixture(scope="session")
def spark_cluster(spark_python: str) -> Iterator[SparkCluster]:
    cluster = SparkCluster(spark_python)
    yield cluster
    cluster.close()


@pytest.fixture
def on_postgres(spark_python: str, postgres_server: PostgresServer, object_store: ObjectStore) -> Endpoints:
    uri, warehouse = postgres_server.database(), object_store.folder()
    return Endpoints("embedded", "", uri, warehouse, storage=object_store.storage, home=Home.of_user())


@pytest.fixture
def on_rest(spark_python: str, rest_server: RestServer, object_store: ObjectStore) -> Endpoints:
    """The catalog asks for a credential, and hands the keys of the store out."""
    storage = object_store.storage
    uri = rest_server.catalog_with_keys(object_store.folder(), storage, credential=CREDENTIAL, tokens="many")
    found = Endpoints("embedded", "", uri, "prod", catalog_access={"credential": CREDENTIAL}, home=Home.of_user())
    return replace(found, storage={name: storage[name] for name in ("s3.endpoint", "s3.region")})


@pytest.fixture
def on_disk(spark_python: str, home: object) -> Endpoints:
    folder = Home.of_user().folder("lake")
    return Endpoints("embedded", "", f"sqlite:///{folder}/catalog.db", f"file://{folder}/files", home=Home.of_user())
