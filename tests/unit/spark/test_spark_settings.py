"""What Spark gets: the way to the catalog and the store, and no secret where others can read it."""

from pathlib import Path

import pytest

from k2ctl.endpoints import Endpoints
from k2ctl.errors import UsageError
from k2ctl.spark.settings import ICEBERG, OF_POSTGRES, OF_S3, SparkPlace, place_of, quoted_name, start_of

POSTGRES = "postgresql+psycopg://k2:p%40ss@db:5433/lake?sslmode=require"


def endpoints(catalog: str, **more: object) -> Endpoints:
    return Endpoints("external", "kafka:9092", catalog, "s3://bucket/k2", **more)  # type: ignore[arg-type]


@pytest.fixture
def jars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for jar in (ICEBERG, OF_S3, OF_POSTGRES):
        _, name, version = jar.split(":")
        (tmp_path / f"{name}-{version}.jar").touch()
    monkeypatch.setenv("K2CTL_SPARK_JARS", str(tmp_path))
    return tmp_path


def test_what_goes_to_the_command_line_of_the_jvm_has_no_secret(jars: Path) -> None:
    storage = {"s3.access-key-id": "AKIA", "s3.secret-access-key": "hush", "s3.region": "eu", "s3.endpoint": "http://s"}
    start = start_of(endpoints(POSTGRES, storage=storage), SparkPlace("spark://h:7077"), "s3://bucket/k2/t")
    assert not {"p@ss", "hush", "AKIA"} & set(start["options"].values())
    catalog = {name.removeprefix("spark.sql.catalog.k2."): value for name, value in start["catalog"].items()}
    assert catalog["uri"] == "jdbc:postgresql://db:5433/lake?sslmode=require"
    assert (catalog["jdbc.user"], catalog["jdbc.password"]) == ("k2", "p@ss")
    assert (catalog["client.region"], catalog["s3.path-style-access"]) == ("eu", "true")


def test_a_rest_catalog_gets_the_same_credentials(jars: Path) -> None:
    at = endpoints("https://cat/ice", catalog_access={"credential": "id:hush", "scope": "all"})
    catalog = start_of(at, SparkPlace(), "s3://bucket/k2/t")["catalog"]
    assert catalog["spark.sql.catalog.k2.credential"] == "id:hush"
    assert catalog["spark.sql.catalog.k2.oauth2-server-uri"] == "https://cat/ice/v1/oauth/tokens"
    assert catalog["spark.sql.catalog.k2.header.X-Iceberg-Access-Delegation"] == "vended-credentials"


def test_missing_jars_come_with_the_command_that_fetches_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K2CTL_SPARK_JARS", str(tmp_path))
    with pytest.raises(UsageError, match=r"iceberg-spark-runtime.*iceberg-aws-bundle.*postgresql") as refused:
        start_of(endpoints(POSTGRES), SparkPlace(), "s3://bucket/k2/t")
    assert f"-Dartifact={ICEBERG} -DoutputDirectory={tmp_path}" in refused.value.hint


def test_jars_that_a_person_names_are_not_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K2CTL_SPARK_JARS", str(tmp_path))
    place = place_of("yarn", ["spark.jars.packages=a:b:1", "spark.executor.memory=4g"])
    assert start_of(endpoints(POSTGRES), place, "s3://x")["options"]["spark.jars.packages"] == "a:b:1"


@pytest.mark.parametrize("text", ["executor.memory=4g", "spark.executor.memory"])
def test_an_option_that_is_none_of_spark_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not an option of Spark"):
        place_of("yarn", [text])


@pytest.mark.parametrize("name", ["spark.sql.catalog.k2.jdbc.password", "spark.ssl.keyPassword", "spark.x.token"])
def test_a_secret_on_the_command_line_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="secret"):
        place_of("yarn", [f"{name}=hush"])


def test_a_catalog_that_spark_is_not_shown_is_refused_without_its_password(jars: Path) -> None:
    with pytest.raises(UsageError, match="glue://eu"):
        start_of(endpoints("glue://eu"), SparkPlace(), "s3://x")


def test_a_local_session_listens_on_loopback_alone(jars: Path) -> None:
    options = start_of(endpoints(POSTGRES), SparkPlace("local[2]"), "s3://x")["options"]
    assert options["spark.driver.bindAddress"] == "127.0.0.1"
    assert "spark.driver.bindAddress" not in start_of(endpoints(POSTGRES), SparkPlace("yarn"), "s3://x")["options"]


def test_a_table_is_named_as_sql_has_it() -> None:
    assert quoted_name("desk-1.trades") == "`k2`.`desk-1`.`trades`"


def test_an_option_about_secrets_is_not_one() -> None:
    names = ("spark.hadoop.fs.s3a.aws.credentials.provider", "spark.kubernetes.authenticate.oauthTokenFile")
    assert set(place_of("yarn", [f"{name}=x" for name in names]).options) == set(names)


def test_a_setting_of_the_store_that_spark_would_ignore_is_refused(jars: Path) -> None:
    with pytest.raises(UsageError, match=r"s3\.role-arn"):
        start_of(endpoints(POSTGRES, storage={"s3.role-arn": "arn:x"}), SparkPlace(), "s3://x")
