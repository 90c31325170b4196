"""The Helm chart as Helm renders it, for tests: a profile with everything that others run, and what comes of it."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from kubernetes_validate import utils

from k2ctl.home import shipped
from tests.images.programs import CannotBuild, kubernetes_client, module
from tests.support.postgres_server import Missing

utils.schema_contents, utils.all_versions = cache(utils.schema_contents), cache(utils.all_versions)
"""For each resource it reads a schema, and all definitions of that version of Kubernetes, again."""

CHART: Final = shipped("stack") / "kubernetes"
RELEASE: Final = "k2"
NAMESPACE: Final = "market"
KEDA: Final = ("github.com/kedacore/keda/v2", "v2.18.0", "config/crd/bases/keda.sh_{}.yaml")
OPERATOR: Final = (
    "github.com/prometheus-operator/prometheus-operator", "v0.92.0",
    "example/prometheus-operator-crd/monitoring.coreos.com_{}.yaml",
)  # fmt: skip
CUSTOM: Final = {"scaledobjects": KEDA, "podmonitors": OPERATOR, "prometheusrules": OPERATOR}
"""Custom resources → the Go module, its version and the file in it that defines them."""

EXTERNAL: Final = """\
external:
  kafka:
    bootstrap_servers: kafka-1.kafka:9093,kafka-2.kafka:9094
    properties:
      security.protocol: SASL_SSL
      sasl.mechanism: SCRAM-SHA-512
      sasl.username: k2
      sasl.password: ${file:/run/secrets/kafka_password}
  state: rediss://:${env:REDIS_PASSWORD}@redis.state/0
  catalog: postgresql+psycopg://k2:${env:CATALOG_PASSWORD}@db.catalog:5433/k2
  warehouse: s3://lakehouse/k2
  storage:
    s3.endpoint: http://objects.store:9000
    s3.access-key-id: ${env:AWS_ACCESS_KEY_ID}
    s3.secret-access-key: ${env:AWS_SECRET_ACCESS_KEY}
"""
EVERYTHING: Final = (
    "monitoring.podMonitor=true", "monitoring.rules=true", "monitoring.dashboards=true", "autoscaling.enabled=true",
    "autoscaling.prometheus=http://prometheus.monitoring:9090",
)  # fmt: skip
"""Options that are off by themselves."""

Resource = dict[str, Any]


def client(name: str) -> Path:
    """`helm` or `kubectl`.

    Raises:
        Missing: it is neither in the cache nor to be had.
    """
    try:
        return kubernetes_client(name, lambda _: None)
    except CannotBuild as error:
        raise Missing(str(error)) from error


def profile_of(base: str, folder: Path) -> Path:
    """A profile upon a shipped one that says where everything is."""
    path = folder / f"{base}-of-others.yaml"
    path.write_text(f"base: {base}\nname: others\n{EXTERNAL}")
    return path


def helm(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [client("helm"), *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "HOME": "/nonexistent"},
    )  # fmt: skip


def text_of(values: Path, *options: str, chart: Path = CHART) -> str:
    """What Helm sends to Kubernetes; fails with what it said."""
    done = helm("template", RELEASE, chart, "-n", NAMESPACE, "-f", values, *(f"--set={one}" for one in options))
    assert done.returncode == 0, done.stderr
    return done.stdout


def resources_of(values: Path, *options: str, chart: Path = CHART) -> list[Resource]:
    return [one for one in yaml.load_all(text_of(values, *options, chart=chart), yaml.CSafeLoader) if one]


def of_kind(resources: list[Resource], kind: str, name: str = "") -> Resource:
    """The only one of a kind, or the one of a name."""
    found = [one for one in resources if one["kind"] == kind and name in ("", one["metadata"]["name"])]
    assert len(found) == 1, [one["metadata"]["name"] for one in found]
    return found[0]


def pods_of(resources: list[Resource]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, spec) of every pod that the resources make."""
    for one in resources:
        spec = one["spec"]["jobTemplate"]["spec"] if one["kind"] == "CronJob" else one.get("spec", {})
        if "template" in spec:
            yield one["metadata"]["name"], spec["template"]["spec"]


def definition_files() -> list[Path]:
    """The definitions of the custom resources, as their projects publish them.

    Raises:
        Missing: Go cannot fetch the modules that have them.
    """
    try:
        return [module(name, version) / file.format(kind) for kind, (name, version, file) in CUSTOM.items()]
    except CannotBuild as error:
        raise Missing(str(error)) from error


@cache
def definitions() -> Mapping[tuple[str, str], dict[str, Any]]:
    """(API version, kind) → the schema of a custom resource."""
    found = {}
    for path in definition_files():
        spec = yaml.load(path.read_text(), yaml.CSafeLoader)["spec"]
        for served in spec["versions"]:
            found[f"{spec['group']}/{served['name']}", spec["names"]["kind"]] = served["schema"]["openAPIV3Schema"]
    return found


def closed(schema: Any) -> Any:
    """The schema as the API server applies it to fields that it does not know: they are mistakes."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    if (
        "properties" in made
        and "additionalProperties" not in made
        and not made.get("x-kubernetes-preserve-unknown-fields")
    ):
        made["additionalProperties"] = False
    return made
