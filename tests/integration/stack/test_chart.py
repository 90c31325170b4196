"""The Helm chart: valid for every version of Kubernetes it is for, with each option, and as careful as it says."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import jsonschema
import kubernetes_validate
import pytest
import yaml

from k2ctl.dashboards.boards import DASHBOARDS
from k2ctl.errors import ProfileError, UsageError
from k2ctl.home import shipped
from k2ctl.profiles import profile_names
from k2ctl.stack.kubernetes import VALUES, render_values, write_chart
from tests.support import chart
from tests.support.chart import EVERYTHING, Resource, of_kind, pods_of, resources_of
from tests.support.cli import called

VERSIONS: Final = [f"1.{minor}" for minor in range(30, 38)]
ALL_PROFILES: Final = profile_names()
Custom = Mapping[tuple[str, str], dict[str, Any]]


@pytest.fixture(autouse=True)
def _helm(helm_program: Path) -> None:
    """Skips where there is no Helm, or fails where CI demands it."""


@pytest.fixture
def values(tmp_path: Path) -> Path:
    """Of the profile 1M with everything that others run."""
    return values_of("1M", tmp_path)


def values_of(base: str, folder: Path) -> Path:
    path = folder / f"{base}-values.yaml"
    path.write_text(render_values(str(chart.profile_of(base, folder))).text)
    return path


def test_helm_finds_no_fault_in_the_chart(values: Path) -> None:
    for arguments in ((), ("-f", values), ("-f", values, *(f"--set={one}" for one in EVERYTHING))):
        done = chart.helm("lint", "--strict", chart.CHART, *arguments)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("profile", ALL_PROFILES)
def test_the_values_of_each_profile_make_a_chart_that_every_version_of_kubernetes_takes(
    profile: str, tmp_path: Path, custom_resources: Custom
) -> None:
    resources = resources_of(values_of(profile, tmp_path), *EVERYTHING)
    own = [one for one in resources if (one["apiVersion"], one["kind"]) not in custom_resources]
    assert len(resources) - len(own) == 4  # two PodMonitors, the PrometheusRule, the ScaledObject
    for version in VERSIONS if profile == "1M" else VERSIONS[::7]:
        for one in own:
            kubernetes_validate.validate(one, version, strict=True)


def test_custom_resources_are_as_their_projects_define_them(values: Path, custom_resources: Custom) -> None:
    for one in resources_of(values, *EVERYTHING):
        schema = custom_resources.get((one["apiVersion"], one["kind"]))
        if schema is not None:
            jsonschema.Draft7Validator(chart.closed(schema)).validate(one)


def consumer(resources: list[Resource]) -> dict[str, Any]:
    spec: dict[str, Any] = of_kind(resources, "StatefulSet")["spec"]
    return spec


def container(resources: list[Resource]) -> dict[str, Any]:
    found: dict[str, Any] = consumer(resources)["template"]["spec"]["containers"][0]
    return found


def kinds(resources: list[Resource]) -> set[str]:
    return {one["kind"] for one in resources}


BY_SPARK: Final = "maintenance.spark.schedule=5 * * * *,maintenance.spark.image=k2-spark:1"

OPTIONS: Final[dict[str, tuple[Callable[[list[Resource]], object], object]]] = {
    "image.repository=r.example/k2": (lambda found: container(found)["image"], "r.example/k2:0.1.0"),
    "image.tag=v7": (lambda found: container(found)["image"], "k2ctl:v7"),
    "consumer.replicas=3": (lambda found: consumer(found)["replicas"], 3),
    "consumer.metricsPort=9999": (lambda found: container(found)["ports"][0]["containerPort"], 9999),
    "consumer.patience=3m": (lambda found: container(found)["args"][-1], "3m"),
    "consumer.arguments={--budget,9k}": (lambda found: container(found)["args"][-2:], ["--budget", "9k"]),
    "consumer.environment.REQUESTS_CA_BUNDLE=/ca": (
        lambda found: container(found)["env"][-1], {"name": "REQUESTS_CA_BUNDLE", "value": "/ca"},
    ),
    "consumer.stateSize=9Gi": (
        lambda found: [one["emptyDir"]["sizeLimit"] for one in consumer(found)["template"]["spec"]["volumes"][2:4]],
        ["9Gi", "9Gi"],
    ),
    "consumer.graceSeconds=99": (
        lambda found: consumer(found)["template"]["spec"]["terminationGracePeriodSeconds"], 99,
    ),
    "consumer.maxUnavailable=2": (
        lambda found: of_kind(found, "PodDisruptionBudget", "k2-consumer")["spec"]["maxUnavailable"], 2,
    ),
    "consumer.spread.zones=DoNotSchedule": (
        lambda found: {
            one["topologyKey"]: one["whenUnsatisfiable"]
            for one in consumer(found)["template"]["spec"]["topologySpreadConstraints"]
        },
        {"topology.kubernetes.io/zone": "DoNotSchedule", "kubernetes.io/hostname": "ScheduleAnyway"},
    ),
    "consumer.nodeSelector.kind=fast": (
        lambda found: consumer(found)["template"]["spec"]["nodeSelector"], {"kind": "fast"},
    ),
    "secrets.name=ours": (
        lambda found: secrets(consumer(found)["template"]["spec"])["REDIS_PASSWORD"], ("ours", "REDIS_PASSWORD"),
    ),
    "secrets.elsewhere.REDIS_PASSWORD.name=r,secrets.elsewhere.REDIS_PASSWORD.key=k": (
        lambda found: secrets(consumer(found)["template"]["spec"])["REDIS_PASSWORD"], ("r", "k"),
    ),
    "api.enabled=false": (lambda found: "Deployment" in kinds(found), False),
    "api.replicas=5": (lambda found: of_kind(found, "Deployment")["spec"]["replicas"], 5),
    "api.names={trades.example}": (
        lambda found: "trades.example" in dict(pods_of(found))["k2-api"]["containers"][0]["args"], True,
    ),
    "maintenance.enabled=false": (lambda found: "CronJob" in kinds(found), False),
    "maintenance.expire.schedule=": (lambda found: of_kind(found, "CronJob")["metadata"]["name"], "k2-compact"),
    "maintenance.compact.schedule=5 * * * *": (
        lambda found: of_kind(found, "CronJob", "k2-compact")["spec"]["schedule"], "5 * * * *",
    ),
    f"{BY_SPARK},maintenance.spark.conf.spark\\.executor\\.memory=4g": (
        lambda found: spark(found), ("k2-spark:1", "spark.executor.memory=4g"),
    ),
    f"{BY_SPARK},maintenance.spark.workers[0].podSelector.matchLabels.a=b": (
        lambda found: of_kind(found, "NetworkPolicy", "k2-spark")["spec"]["egress"],
        [{"to": [{"podSelector": {"matchLabels": {"a": "b"}}}]}],
    ),
    "monitoring.podMonitor=true": (lambda found: "PodMonitor" in kinds(found), True),
    "monitoring.rules=true,monitoring.labels.release=p": (
        lambda found: of_kind(found, "PrometheusRule")["metadata"]["labels"]["release"], "p",
    ),
    "networkPolicy.enabled=false": (lambda found: "NetworkPolicy" in kinds(found), False),
    "networkPolicy.ports={19092}": (lambda found: 19092 in ports_out(found), True),
}  # fmt: skip
"""An option → what it changes, and what that is then."""


def spark(resources: list[Resource]) -> tuple[str, str]:
    """The image of Spark's driver, and its last argument."""
    (container,) = dict(pods_of(resources))["k2-spark"]["containers"]
    return container["image"], container["args"][-1]


def secrets(pod: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Variable → the Secret and its key, of the container that reads them."""
    found = [one for one in pod["initContainers"][0]["env"] if "valueFrom" in one]
    keys = {one["name"]: one["valueFrom"]["secretKeyRef"] for one in found}
    return {name: (key["name"], key["key"]) for name, key in keys.items()}


def ports_out(resources: list[Resource]) -> list[int]:
    egress = of_kind(resources, "NetworkPolicy", "k2-services")["spec"]["egress"]
    return [one["port"] for one in egress[1]["ports"]]


@pytest.mark.parametrize("option", OPTIONS)
def test_each_option_does_what_it_says(option: str, values: Path) -> None:
    look, expected = OPTIONS[option]
    resources = resources_of(values, option)
    assert look(resources) == expected
    for one in resources:
        if "." not in one["apiVersion"].partition("/")[0] or one["apiVersion"].startswith("networking"):
            kubernetes_validate.validate(one, VERSIONS[0], strict=True)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("consumer.replicas=97", "the topic has 96 partitions"),
        ("autoscaling.enabled=true", "autoscaling.prometheus is empty"),
        ("autoscaling.enabled=true,autoscaling.prometheus=http://p,autoscaling.maxReplicas=97", "has 96 partitions"),
        ("autoscaling.stabilizationSeconds=60", "stabilizationSeconds"),
        ("consumer.replica=2", "replica"),
        ("maintenance.spark.schedule=5 * * * *", "maintenance.spark.image is empty"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("profile.external.kafka=null", "does not say where kafka, state, catalog and warehouse are"),
        ("profile.external.state=redis://:${file:pw}@r/0", "a pod has no such file"),
    ],
)
def test_a_wrong_option_is_refused_by_its_name(option: str, said: str, values: Path) -> None:
    done = chart.helm("template", "k2", chart.CHART, "-f", values, f"--set={option}")
    assert done.returncode != 0
    assert said in done.stderr


def test_pods_run_as_nobody_in_particular_on_file_systems_they_cannot_write_to(values: Path) -> None:
    found = dict(pods_of(resources_of(values, *EVERYTHING)))
    assert set(found) == {"k2-consumer", "k2-api", "k2-compact", "k2-expire"}
    for pod in found.values():
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"] == {
            "runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001,
            "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
        }  # fmt: skip
        for one in (*pod["initContainers"], *pod["containers"]):
            assert one["securityContext"] == {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
            }  # fmt: skip
            assert one["resources"]["limits"]["memory"]
            assert one["resources"]["requests"].keys() == {"cpu", "memory"}


def test_secrets_are_references_and_reach_only_the_container_that_reads_them(values: Path) -> None:
    resources = resources_of(values, *EVERYTHING)
    assert "Secret" not in kinds(resources)
    for name, pod in pods_of(resources):
        assert secrets(pod) == {
            key: ("k2", key)
            for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "CATALOG_PASSWORD", "REDIS_PASSWORD")
        }
        reader, (container,) = pod["initContainers"][0], pod["containers"]
        assert {"name": "secrets", "mountPath": "/run/secrets/kafka_password", "subPath": "kafka_password",
                "readOnly": True} in reader["volumeMounts"]  # fmt: skip
        assert [one["name"] for one in container["volumeMounts"]] == ["profile", "endpoints", "state", "tmp"]
        by_reference = [one["name"] for one in container["env"] if "secretKeyRef" in one.get("valueFrom", {})]
        assert by_reference == (["K2CTL_API_KEY"] if name == "k2-api" else [])
        memory = next(one for one in pod["volumes"] if one["name"] == "endpoints")
        assert memory["emptyDir"]["medium"] == "Memory"


def test_the_profile_arrives_as_it_was_written(values: Path, tmp_path: Path) -> None:
    arrived = of_kind(resources_of(values), "ConfigMap", "k2-profile")["data"]["profile.yaml"]
    assert yaml.safe_load(arrived) == yaml.safe_load((tmp_path / "1M-of-others.yaml").read_text())


def test_only_named_ports_are_open_and_everything_else_is_denied(values: Path) -> None:
    resources = resources_of(values)
    deny = of_kind(resources, "NetworkPolicy", "k2-deny")["spec"]
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert deny.keys() == {"podSelector", "policyTypes"}
    assert ports_out(resources) == [9093, 9094, 6379, 5433, 9000]
    rest = "profile.external.catalog=https://catalog.example/api,profile.external.storage=null"
    assert ports_out(resources_of(values, rest)) == [9093, 9094, 6379, 443]


def test_consumers_are_scaled_up_by_seconds_of_lag_and_never_down(values: Path) -> None:
    resources = resources_of(values, *EVERYTHING)
    spec = of_kind(resources, "ScaledObject")["spec"]
    behaviour = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behaviour["scaleDown"] == {"selectPolicy": "Disabled"}
    assert behaviour["scaleUp"]["stabilizationWindowSeconds"] >= 600
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (
        yaml.safe_load(values.read_text())["consumer"]["replicas"],
        96,
    )
    assert "k2_consumer_lag_seconds" in spec["triggers"][0]["metadata"]["query"]
    assert "replicas" not in consumer(resources), "a new release would take away what was scaled up"


def test_rules_and_dashboards_are_those_of_one_machine(values: Path, tmp_path: Path) -> None:
    write_chart(tmp_path / "written", values.read_text())
    rules = yaml.safe_load((shipped("stack") / "prometheus/rules.yml").read_text())
    jobs = set(re.findall(r'job="([a-z0-9-]+)"', json.dumps(rules).replace('\\"', '"')))
    for source in (chart.CHART, tmp_path / "written"):
        resources = resources_of(values, *EVERYTHING, chart=source)
        assert of_kind(resources, "PrometheusRule")["spec"] == rules
        boards = [one for one in resources if one["metadata"]["labels"].get("grafana_dashboard")]
        shown = {name: json.loads(text) for one in boards for name, text in one["data"].items()}
        assert shown == {f"{one.uid}.json": one.document() for one in DASHBOARDS}
        named = {
            label["replacement"]
            for one in resources
            if one["kind"] == "PodMonitor"
            for label in one["spec"]["podMetricsEndpoints"][0]["relabelings"]
            if label["targetLabel"] == "job"
        }
        assert jobs == named


def test_the_chart_is_written_with_the_values_of_the_profile_and_over_nothing(values: Path, tmp_path: Path) -> None:
    folder = tmp_path / "written"
    write_chart(folder, values.read_text())
    assert (folder / VALUES).read_text() == values.read_text()
    assert chart.text_of(folder / VALUES, chart=folder) == chart.text_of(values)
    with pytest.raises(UsageError, match="not empty"):
        write_chart(folder, "")


def test_a_feed_of_ones_own_goes_with_the_profile(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text((shipped("profiles") / "feeds" / "k2-json.yaml").read_text())
    profile = tmp_path / "prod.yaml"
    profile.write_text(f"base: laptop\nname: p\ntopic: {{feed: my.yaml, name: trades.raw}}\n{chart.EXTERNAL}")
    path = tmp_path / "values.yaml"
    path.write_text(render_values(str(profile)).text)
    data = of_kind(resources_of(path), "ConfigMap", "k2-profile")["data"]
    assert data["my.yaml"] == (tmp_path / "my.yaml").read_text()
    assert yaml.safe_load(data["profile.yaml"])["topic"]["feed"] == "my.yaml"


@pytest.mark.parametrize(
    ("external", "said", "hint"),
    [
        (
            ("name: others", "name: others\ntopic: {name: ^trades.*, feed: k2-json}"),
            "reads one topic",
            "for each topic",
        ),
        (("s3://lakehouse/k2", "file:///data"), "on the disk of one machine", "s3://BUCKET/PATH"),
        (("${file:/run/secrets/kafka_password}", "${file:pw}"), "no pod has it there", "${file:/run/secrets/pw}"),
    ],
)
def test_what_no_pod_can_reach_is_refused_with_what_to_write(
    external: tuple[str, str], said: str, hint: str, tmp_path: Path
) -> None:
    profile = chart.profile_of("laptop", tmp_path)
    profile.write_text(profile.read_text().replace(*external).partition("  storage:")[0])
    with pytest.raises(ProfileError, match=re.escape(said)) as refused:
        render_values(str(profile))
    assert hint in refused.value.hint


def test_the_notes_say_which_secrets_are_read_and_what_to_type_next(values: Path) -> None:
    done = chart.helm("install", "k2", chart.CHART, "--dry-run=client", "-n", "market", "-f", values)
    notes = done.stdout.partition("NOTES:")[2]
    assert "Secret k2, key REDIS_PASSWORD" in notes, done.stderr
    assert "Secret k2, key kafka_password" in notes
    assert "kubectl -n market rollout status statefulset/k2-consumer" in notes


def test_the_command_writes_values_to_stdout_or_a_file_and_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text, said = called(capsys, "stack", "render", "--kubernetes", "--profile", "1M")
    assert (code, yaml.safe_load(text)["profile"]) == (0, {"base": "1M", "name": "1M"})
    assert "does not say where Kafka, state, catalog and warehouse are" in said
    profile, values, folder = chart.profile_of("1M", tmp_path), tmp_path / "values.yaml", tmp_path / "chart"
    arguments = ("--profile", str(profile), "--output", str(values), "--chart", str(folder))
    code, text, said = called(capsys, "stack", "render", "--kubernetes", *arguments)
    assert (code, text) == (0, "")
    assert f"helm install k2 {folder} -f {folder / VALUES}" in said.replace("\n", " ")
    assert chart.text_of(values, chart=folder) == chart.text_of(values)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--profile", "1M"), "k2ctl stack render --kubernetes --profile 1M"),
        (("--kubernetes", "--profile", "2M"), "Shipped profiles: 10K, 10M, 1M, laptop"),
        (("--kubernetes", "--profile", "1M", "--output", "/nowhere/values.yaml"), "--output FILE"),
        (("--kubernetes", "--profile", "1M", "--chart", "/"), "--chart ./k2-chart"),
    ],
)
def test_a_command_that_cannot_be_carried_out_says_what_to_type(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text, error = called(capsys, "stack", "render", *arguments)
    assert (code, text) == (2, "")
    assert said in error
