"""The chart before a real API server of Kubernetes: what it admits, and what stays after an upgrade."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from k2ctl.stack.kubernetes import render_values
from tests.support import chart
from tests.support.api_server import ApiServer
from tests.support.chart import EVERYTHING, NAMESPACE, pods_of
from tests.support.polling import until

pytestmark = [pytest.mark.slow, pytest.mark.by_hand]
RESTRICTED = tuple(f"pod-security.kubernetes.io/{what}=restricted" for what in ("enforce", "warn"))


@pytest.fixture(scope="module")
def server(helm_program: Path) -> Iterator[ApiServer]:
    """Knows the custom resources, and a namespace that admits only restricted pods."""
    running = ApiServer()
    try:
        for file in chart.definition_files():
            succeed(running.kubectl("apply", "--server-side", "-f", file))
        succeed(running.kubectl("create", "namespace", NAMESPACE))
        succeed(running.kubectl("label", "namespace", NAMESPACE, *RESTRICTED))
        kinds = "podmonitors,prometheusrules,scaledobjects"
        until(lambda: running.kubectl("get", kinds, "-n", NAMESPACE).returncode == 0, 30)
        yield running
    finally:
        running.close()


@pytest.fixture
def values(tmp_path: Path) -> Path:
    path = tmp_path / "values.yaml"
    path.write_text(render_values(str(chart.profile_of("1M", tmp_path))).text)
    return path


def succeed(done: Any) -> str:
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


@pytest.mark.parametrize("how", [("--dry-run=client",), ("--dry-run=server",), ("--dry-run=server", "--server-side")])
def test_every_resource_is_admitted_without_a_warning(how: tuple[str, ...], server: ApiServer, values: Path) -> None:
    text = chart.text_of(values, *EVERYTHING)
    done = server.kubectl("apply", "-n", NAMESPACE, "--validate=strict", *how, "-f", "-", stdin=text)
    assert len(succeed(done).splitlines()) == len(chart.resources_of(values, *EVERYTHING))
    assert done.stderr == ""


def test_every_pod_is_admitted_where_only_restricted_ones_are(server: ApiServer, values: Path) -> None:
    for name, spec in pods_of(chart.resources_of(values)):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        create = ("create", "-n", NAMESPACE, "--dry-run=server", "-f", "-")
        succeed(server.kubectl(*create, stdin=yaml.safe_dump(pod)))
        refused = server.kubectl(*create, stdin=yaml.safe_dump({**pod, "spec": {**spec, "hostNetwork": True}}))
        assert "violates PodSecurity" in refused.stderr


def test_a_field_that_kubernetes_does_not_know_is_refused(server: ApiServer, values: Path) -> None:
    text = chart.text_of(values, *EVERYTHING)
    for known, unknown in (("podManagementPolicy", "podManagment"), ("pollingInterval", "pollingEvery")):
        wrong = re.sub(rf"\b{known}:", f"{unknown}:", text)
        done = server.kubectl("apply", "-n", NAMESPACE, "--dry-run=server", "-f", "-", stdin=wrong)
        assert unknown in done.stderr


def test_an_upgrade_leaves_the_consumers_that_were_added_for_the_lag(server: ApiServer, values: Path) -> None:
    release = ("k2", chart.CHART, "-n", NAMESPACE, "-f", values, *(f"--set={one}" for one in EVERYTHING))
    succeed(server.helm("install", *release))
    succeed(server.kubectl("scale", "-n", NAMESPACE, "statefulset/k2-consumer", "--replicas=30"))
    succeed(server.helm("upgrade", *release, "--set=image.tag=v2"))
    shown = ("-o", "jsonpath={.spec.replicas} {.spec.template.spec.containers[0].image}")
    found = server.kubectl("get", "-n", NAMESPACE, "statefulset/k2-consumer", *shown)
    assert succeed(found) == "30 k2ctl:v2"
    succeed(server.helm("uninstall", "k2", "-n", NAMESPACE))
