"""The image in containers as locked up as the chart's pods: no root, nothing to write to but what is mounted."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import docker
import pytest
from docker.models.containers import Container

from k2ctl.stack.kubernetes import render_values
from k2ctl.stack.local import free_port
from tests.images.build import pinned
from tests.support import chart, docker_engine
from tests.support.polling import until

SECRETS: Final = {
    "REDIS_PASSWORD": "hush-redis", "CATALOG_PASSWORD": "hush-catalog", "AWS_ACCESS_KEY_ID": "id",
    "AWS_SECRET_ACCESS_KEY": "hush-store",
}  # fmt: skip


class LockedUp:
    """The containers of a consumer's pod, one after the other, with its security context and volumes."""

    def __init__(self, client: docker.DockerClient, resources: list[chart.Resource], folder: Path) -> None:
        self._client, self._spec = client, dict(chart.pods_of(resources))["k2-consumer"]
        self._binds: dict[str, tuple[Path, str]] = {}
        profile = chart.of_kind(resources, "ConfigMap", "k2-profile")["data"]["profile.yaml"]
        for name in ("etc/k2", "run/k2", "var/lib/k2", "tmp", "run/secrets"):
            here = folder / name
            here.mkdir(parents=True)
            here.chmod(0o777)  # as kubelet makes an emptyDir
            self._binds[f"/{name}"] = (here, "ro" if name in ("etc/k2", "run/secrets") else "rw")
        (folder / "etc/k2/profile.yaml").write_text(profile)
        (folder / "run/secrets/kafka_password").write_text("hush-kafka")
        self.made: list[Container] = []

    def run(self, container: dict[str, Any]) -> Container:
        """Start a container as its rendered YAML says; on this machine's network, so that it finds nothing there."""
        mounted = [one["mountPath"].removesuffix("/kafka_password") for one in container["volumeMounts"]]
        pod, own = self._spec["securityContext"], container["securityContext"]
        environment = {
            one["name"]: one.get("value", SECRETS.get(one["name"], "k2-consumer-0")) for one in container["env"]
        }
        started = self._client.containers.run(
            pinned()["consumer"],
            [one.replace("$(POD_NAME)", "k2-consumer-0").replace("0.0.0.0", "127.0.0.1") for one in container["args"]],  # noqa: S104
            detach=True,
            network_mode="host",
            user=f"{pod['runAsUser']}:{pod['runAsGroup']}",
            read_only=own["readOnlyRootFilesystem"],
            cap_drop=own["capabilities"]["drop"],
            security_opt=["no-new-privileges:true"],
            environment=environment,
            volumes={str(self._binds[path][0]): {"bind": path, "mode": self._binds[path][1]} for path in mounted},
        )
        self.made.append(started)
        return started

    def initial(self) -> Container:
        return self.run(self._spec["initContainers"][0])

    def consumer(self) -> Container:
        return self.run(self._spec["containers"][0])


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def pod(helm_program: Path, tmp_path: Path, port: int) -> Iterator[LockedUp]:
    client, values = docker_engine.connect(), tmp_path / "values.yaml"
    values.write_text(render_values(str(chart.profile_of("laptop", tmp_path))).text)
    made = LockedUp(client, chart.resources_of(values, f"consumer.metricsPort={port}"), tmp_path / "pod")
    yield made
    for one in made.made:
        one.remove(force=True)


def probed(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def test_the_image_runs_in_a_pod_of_the_chart_waits_and_ends_by_sigterm(
    pod: LockedUp, port: int, tmp_path: Path
) -> None:
    reader = pod.initial()
    assert reader.wait(timeout=60)["StatusCode"] == 0, reader.logs().decode()
    written = tmp_path / "pod/run/k2/endpoints.json"
    assert (written.stat().st_uid, written.stat().st_mode & 0o777) == (10001, 0o600)
    assert "hush" not in reader.logs().decode()
    consumer = pod.consumer()
    until(lambda: probed(port, "livez")[0] == 200, 60, lambda: consumer.logs().decode())
    until(lambda: "waiting" in probed(port, "readyz")[1], 60, lambda: consumer.logs().decode())
    assert (probed(port, "livez")[0], probed(port, "readyz")[0]) == (200, 503)
    consumer.kill("SIGTERM")  # it is process 1 there, which a signal without a handler does not end
    assert consumer.wait(timeout=10)["StatusCode"] == 130
    assert "Read-only file system" not in consumer.logs().decode()
