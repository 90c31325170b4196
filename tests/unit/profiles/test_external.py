"""The section `external`, and profiles that say only what differs: mistakes by line and key, secrets by reference."""

from pathlib import Path

import pyiceberg.io
import pytest

from k2ctl.errors import ProfileError, UsageError
from k2ctl.home import Home
from k2ctl.profiles import load_external, load_profile
from k2ctl.profiles.external import EXAMPLE, STORAGE, state_address, without_written_password
from k2ctl.stack.external import ExternalEngine

README = Path(__file__).parent.parent.parent.parent / "stack" / "README.md"
VALUES = {"REDIS_PASSWORD": "a/b@c", "CATALOG_PASSWORD": "hush-db", "AWS_ACCESS_KEY_ID": "hush-id"}


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example, with every secret in its place."""
    for name, value in VALUES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-key")
    (tmp_path / "kafka_password").write_text("hush kafka\n")
    path = tmp_path / "prod.yaml"
    path.write_text(EXAMPLE.replace("/run/secrets/", ""))
    return path


def test_the_readme_of_the_engines_shows_the_example() -> None:
    assert f"```yaml\n{EXAMPLE}```\n" in README.read_text()


def test_secrets_are_looked_up_for_the_engine_and_stay_references_elsewhere(profile: Path) -> None:
    found = load_external(str(profile))
    assert found.kafka.properties["sasl.password"] == "hush kafka"
    assert found.state == "redis://:a%2Fb%40c@redis:6379/0"
    assert found.catalog == "postgresql+psycopg://k2:hush-db@db:5432/k2"
    assert found.storage["s3.secret-access-key"] == "hush-key"
    assert "hush" not in repr(found)
    plain = load_profile(str(profile)).external
    assert plain is not None
    assert plain.kafka.properties["sasl.password"] == "${file:kafka_password}"


@pytest.mark.parametrize(
    ("was", "written", "line", "named"),
    [
        (
            "${file:kafka_password}",
            "hush",
            10,
            "external.kafka.properties.sasl.password: a secret stands in no profile",
        ),
        ("${env:AWS_ACCESS_KEY_ID}", "hush", 16, "external.storage.s3.access-key-id: a secret stands in no profile"),
        ("${env:REDIS_PASSWORD}", "hush", 11, "external.state: .*a password stands in no profile"),
        ("${env:REDIS_PASSWORD}", "hush${env:X}", 11, "external.state: .*a password stands in no profile"),
        ("@db:5432/k2", "@db/k2?sslpassword=hush", 12, "external.catalog: .*a password stands in no profile"),
        ("env:REDIS_PASSWORD", "env:REDIS_HUSH", 11, "external.state: .*the environment has no REDIS_HUSH"),
        (
            "file:kafka_password",
            "file:gone",
            10,
            "external.kafka.properties.sasl.password: .*/gone cannot be read: No such file",
        ),
        ("env:REDIS_PASSWORD", "vault:hush", 11, "external.state: .*write"),
        (
            "k2\n      sasl.pass",
            "${vault:hush}\n      sasl.pass",
            9,
            "external.kafka.properties.sasl.username: .*this is no reference",
        ),
        ("sasl.username", "acks", 9, "external.kafka.properties.acks: .*k2ctl decides on this itself"),
        ("s3.region", "s3.regio", 15, "external.storage.s3.regio: .*no such property; there are .*s3.region"),
        ("postgresql+psycopg:", "postgresql:", 12, "external.catalog: .*write postgresql.psycopg://"),
        ("s3://lakehouse", "gs://lakehouse", 13, "external.warehouse: .*write s3://"),
        ("s3://lakehouse", "file:///lakehouse", 3, "external: .*means nothing to local files"),
        ("kafka-1:9093,", "kafka-1,", 5, "external.kafka.bootstrap_servers: .*write HOST:PORT"),
        ("  warehouse:", "  warehose:", 13, "external.warehose: unknown key"),
        ("base: laptop", "base: desktop", 1, "base: not a shipped profile .got 'desktop'."),
        (
            "name: prod",
            "topic: {partitions: 2, critical_partitions: 2}",
            2,
            "topic: .*must leave at least one partition",
        ),
    ],
)
def test_a_mistake_is_named_by_line_and_key_and_shows_no_secret(
    profile: Path, was: str, written: str, line: int, named: str
) -> None:
    text = profile.read_text()
    assert was in text
    profile.write_text(text.replace(was, written, 1))
    with pytest.raises(ProfileError, match=rf"prod\.yaml:{line}: {named}") as caught:
        load_external(str(profile))
    shown = str(caught.value)
    assert "hush" not in shown.replace("REDIS_HUSH", "")
    assert not any(value in shown for value in VALUES.values())


def test_without_the_section_the_error_shows_one() -> None:
    with pytest.raises(ProfileError, match="no section `external`") as caught:
        load_external("laptop")
    assert EXAMPLE in str(caught.value)


def test_a_profile_upon_a_base_says_only_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: laptop\nname: mine\nmarket: {exchange: NYSE}\n")
    mine, base = load_profile(str(path)), load_profile("laptop")
    assert (mine.name, mine.market.exchange, mine.market.symbols) == ("mine", "NYSE", base.market.symbols)
    assert mine.degradation == base.degradation


def test_every_storage_property_is_one_of_pyicebergs() -> None:
    assert {value for name, value in vars(pyiceberg.io).items() if name.startswith("S3_")} >= STORAGE


def test_the_endpoints_show_no_secret_and_find_the_profile_from_everywhere(
    profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from k2ctl.stack import external

    monkeypatch.setattr(external, "try_for_real", lambda *_: None)
    monkeypatch.chdir(profile.parent)
    made = ExternalEngine(Home.of_user()).up("prod.yaml", external.Wanted(), lambda _: None).endpoints
    assert made.kafka["sasl.password"] == "hush kafka"
    assert made.profile == str(profile)
    assert made.catalog_uri.endswith("/k2?connect_timeout=10")
    for text in (repr(made), str(vars(made.shown()))):
        assert "hush" not in text
        assert "a%2Fb" not in text


def test_an_option_names_a_password_and_does_not_hold_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("p@ss/word\n")
    monkeypatch.setenv("K2_TEST_SECRET", "hush")
    assert state_address("memory") == "memory"
    assert state_address(f"redis://:${{file:{tmp_path}/secret}}@h:1/0") == "redis://:p%40ss%2Fword@h:1/0"
    assert state_address("redis://:${env:K2_TEST_SECRET}@h:1/0") == "redis://:hush@h:1/0"
    for gone in ("${file:/nowhere}", "${file:~nobody-of-this-name/x}", "${env:K2_TEST_NOTHING}"):
        with pytest.raises(UsageError, match="--state: "):
            state_address(f"redis://:{gone}@h:1/0")


@pytest.mark.parametrize("url", ["redis://:hush@h:1/0", "rediss://me:hush@h/0", "unix:///x?db=0&password=hush"])
def test_a_password_is_not_put_into_the_command_line_of_a_consumer_that_stays(url: str) -> None:
    with pytest.raises(UsageError, match="list of processes") as refused:
        without_written_password(url)
    assert "hush" not in f"{refused.value}{refused.value.hint}"
    for fine in ("", "memory", "redis://h:1/0", url.replace("hush", "${env:NAME}")):
        assert without_written_password(fine) == fine


REST = """\
base: laptop
external:
  kafka: {bootstrap_servers: "kafka-1:9092"}
  state: memory
  catalog: https://catalog:8181/api/catalog
  catalog_access:
    credential: k2:${env:CATALOG_PASSWORD}
    scope: PRINCIPAL_ROLE:k2
  warehouse: prod
"""


def test_a_rest_catalog_is_named_by_its_address_and_lets_in_by_a_reference(profile: Path) -> None:
    profile.write_text(REST)
    found = load_external(str(profile))
    assert (found.catalog, found.warehouse) == ("https://catalog:8181/api/catalog", "prod")
    assert found.catalog_access == {"credential": "k2:hush-db", "scope": "PRINCIPAL_ROLE:k2"}
    assert "hush" not in repr(found)
    profile.write_text(REST.replace("credential: k2:${env:CATALOG_PASSWORD}", "token: ${file:kafka_password}"))
    assert load_external(str(profile)).catalog_access == {"token": "hush kafka", "scope": "PRINCIPAL_ROLE:k2"}


@pytest.mark.parametrize(
    ("was", "written", "said"),
    [
        ("k2:${env:CATALOG_PASSWORD}", "k2:hush", "catalog_access.credential: a secret stands in no profile"),
        ("k2:${env:CATALOG_PASSWORD}", "k2:hush${env:X}", "catalog_access.credential: a secret stands in no profile"),
        ("credential: k2:${env:CATALOG_PASSWORD}", "token: hush", "catalog_access.token: a secret stands in no"),
        ("scope: PRIN", "scopes: PRIN", "catalog_access.scopes: .*no such property; there are .*scope"),
        ("scope: PRINCIPAL_ROLE:k2", "token: ${env:CATALOG_PASSWORD}", "a token or a credential, not both"),
        ("https://catalog:8181/api/catalog", "https://k2@catalog", "external.catalog: .*write postgresql"),
        ("https://catalog:8181/api/catalog", "sqlite:////data/k2.db", "write s3://BUCKET/PATH or file:///FOLDER"),
        ("prod\n", "'the lake'\n", "write the name by which the catalog knows the warehouse"),
    ],
)
def test_a_mistake_about_a_rest_catalog_is_named_and_shows_no_secret(
    profile: Path, was: str, written: str, said: str
) -> None:
    profile.write_text(REST.replace(was, written, 1))
    with pytest.raises(ProfileError, match=said) as raised:
        load_external(str(profile))
    assert "hush" not in str(raised.value)


def test_a_database_takes_its_user_in_the_address_alone(profile: Path) -> None:
    text = REST.replace("https://catalog:8181/api/catalog", "sqlite:////data/k2.db")
    profile.write_text(text.replace("warehouse: prod", "warehouse: file:///data"))
    with pytest.raises(ProfileError, match="catalog_access is for a REST catalog"):
        load_external(str(profile))
