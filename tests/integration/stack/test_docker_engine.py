"""The docker engine on a real Docker: it changes what has to change, and touches nothing that is not its own."""

import gc
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from k2ctl.cli import main
from k2ctl.endpoints import load_endpoints
from k2ctl.errors import StackError, UsageError
from k2ctl.home import Home
from k2ctl.stack import lifecycle
from k2ctl.stack.docker.instance import free_port, load_instance, secrets_dir
from k2ctl.stack.engine import Event, Phase, Up, Wanted
from tests.support import docker_engine
from tests.support.docker_engine import DockerProxy
from tests.support.polling import until

FOREIGN = "io.k2ctl.test=foreign"
UP = [sys.executable, "-m", "k2ctl", "stack", "up", "--engine", "docker"]


@pytest.fixture(scope="module")
def client() -> docker.DockerClient:
    return docker_engine.connect()


@pytest.fixture(autouse=True)
def file(client: docker.DockerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small stack on a port of its own, gone afterwards."""
    path = docker_engine.small_stack(tmp_path)
    monkeypatch.setenv("K2CTL_COMPOSE_FILE", str(path))
    monkeypatch.setenv("K2_WEB_PORT", str(free_port()))
    yield path
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    instance = load_instance(Home.of_user())
    if instance is not None:
        docker_engine.remove_all(client, f"io.k2ctl.instance={instance.id}")


def up(**options: object) -> Up:
    return lifecycle.up("docker", "laptop", lambda _: None, Wanted(timeout_s=60, **options), home=Home.of_user())  # type: ignore[arg-type]


def containers(client: docker.DockerClient) -> dict[str, str]:
    """service → container's id"""
    instance = load_instance(Home.of_user())
    return {service: one.id for service, one in docker_engine.ours(client, instance.id).items()} if instance else {}


def test_a_second_up_changes_nothing_and_takes_less_than_two_seconds(client: docker.DockerClient) -> None:
    first = up()
    assert not first.already_running
    assert set(first.changed) == {"prepare", "web", "other"}
    before = containers(client)
    started_s = time.monotonic()
    second = up()
    assert time.monotonic() - started_s < 2
    assert second.already_running
    assert second.changed == ()
    assert containers(client) == before


def test_only_what_changed_is_made_again(client: docker.DockerClient, monkeypatch: pytest.MonkeyPatch) -> None:
    up()
    before = containers(client)
    monkeypatch.setenv("COLOUR", "blue")
    assert up().changed == ("web",)
    after = containers(client)
    assert {service for service in before if before[service] != after[service]} == {"web"}


def test_a_changed_secret_is_a_changed_service(client: docker.DockerClient) -> None:
    up()
    (secrets_dir(Home.of_user()) / "word").write_text("another")
    assert up().changed == ("web",)


def test_a_service_that_is_no_longer_in_the_file_goes(client: docker.DockerClient, file: Path) -> None:
    up()
    text = file.read_text()
    start, end = text.index("  other:"), text.index("volumes: {data")
    file.write_text(text[:start] + text[end:])
    up()
    assert set(containers(client)) == {"prepare", "web"}


def test_what_was_stopped_or_paused_runs_again(client: docker.DockerClient) -> None:
    up()
    found = docker_engine.ours(client, load_instance(Home.of_user()).id)  # type: ignore[union-attr]
    found["other"].stop(timeout=0)
    found["web"].pause()
    before = containers(client)
    assert set(up().changed) == {"web", "other"}
    assert containers(client) == before
    assert all(service.fine for service in lifecycle.status(home=Home.of_user()))


def test_down_keeps_the_data_and_volumes_deletes_it(client: docker.DockerClient) -> None:
    up()
    instance = load_instance(Home.of_user())
    assert instance is not None
    word = (secrets_dir(Home.of_user()) / "word").read_text()
    lifecycle.down(volumes=False, home=Home.of_user())
    assert containers(client) == {}
    assert client.networks.list(filters={"label": f"io.k2ctl.instance={instance.id}"}) == []
    assert client.volumes.get(f"{instance.project}_data")
    assert load_endpoints(Home.of_user()) is None
    up()
    assert (secrets_dir(Home.of_user()) / "word").read_text() == word
    lifecycle.down(volumes=True, home=Home.of_user())
    assert client.volumes.list(filters={"label": f"io.k2ctl.instance={instance.id}"}) == []
    assert not (Path(os.environ["K2CTL_HOME"]) / "docker").exists()


def test_what_others_made_survives_under_the_same_project_and_look_alike_names(client: docker.DockerClient) -> None:
    up()
    project = load_instance(Home.of_user()).project  # type: ignore[union-attr]
    labels = {
        "com.docker.compose.project": project,
        "com.docker.compose.service": "web",
        "com.docker.compose.container-number": "2",
        "com.docker.compose.oneoff": "False",
        "io.k2ctl.instance": "another",
        **dict([FOREIGN.split("=")]),
    }
    decoys = [
        client.containers.run(
            docker_engine.IMAGE, ["sleep", "1000"], entrypoint=[], name=name, labels=labels, detach=True
        )
        for name in (f"{project}-web-2", f"{project}-other-11", f"x{project}-web-1")
    ]
    network = client.networks.create(f"{project}_more", labels=labels)
    volume = client.volumes.create(f"{project}_more", labels=labels)
    try:
        up()
        lifecycle.down(volumes=True, home=Home.of_user())
        for decoy in decoys:
            decoy.reload()
            assert decoy.status == "running"
        network.reload()
        volume.reload()
    finally:
        docker_engine.remove_all(client, FOREIGN)


def test_a_taken_project_name_is_left_to_who_has_it(client: docker.DockerClient, file: Path) -> None:
    name = file.read_text().split()[1]
    volume = client.volumes.create(f"{name}_data", labels=dict([FOREIGN.split("=")]))
    try:
        up()
        project = load_instance(Home.of_user()).project  # type: ignore[union-attr]
        assert project.startswith(f"{name}-")
        lifecycle.down(volumes=True, home=Home.of_user())
        volume.reload()
    finally:
        docker_engine.remove_all(client, FOREIGN)


def test_a_volume_of_our_name_that_is_not_ours_is_refused(client: docker.DockerClient) -> None:
    up()
    project = load_instance(Home.of_user()).project  # type: ignore[union-attr]
    lifecycle.down(volumes=False, home=Home.of_user())
    client.volumes.get(f"{project}_data").remove()
    client.volumes.create(f"{project}_data", labels=dict([FOREIGN.split("=")]))
    try:
        with pytest.raises(StackError, match="did not make"):
            up()
    finally:
        docker_engine.remove_all(client, FOREIGN)


def test_two_ups_at_once_make_one_stack(client: docker.DockerClient) -> None:
    both = [subprocess.Popen(UP, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=90) for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes[0] == 0, outputs
    assert codes[1] in (0, 3), outputs
    assert len(containers(client)) == 3
    instance = load_instance(Home.of_user())
    assert instance is not None
    everything = client.containers.list(all=True, filters={"label": f"com.docker.compose.project={instance.project}"})
    assert len(everything) == 3


def is_held(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


MOMENTS = {
    "who it is is written down": lambda _: load_instance(Home.of_user()) is not None,
    "a container is there": lambda client: bool(containers(client)),
    "Docker listens for a container": lambda _: is_held(int(os.environ["K2_WEB_PORT"])),
    "all are there": lambda client: len(containers(client)) == 3,
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_up_that_is_killed_in_the_middle_is_put_right(client: docker.DockerClient, moment: str) -> None:
    with subprocess.Popen(UP, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until(lambda: MOMENTS[moment](client), every_s=0.002)
        process.kill()
    if moment == "a container is there":
        lifecycle.down(volumes=False, home=Home.of_user())
        assert containers(client) == {}
    up()
    assert len(containers(client)) == 3
    assert all(service.fine for service in lifecycle.status(home=Home.of_user()))


def test_a_port_that_a_process_holds_is_named_with_the_command_that_helps() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", int(os.environ["K2_WEB_PORT"])))
        holder.listen()
        with pytest.raises(StackError) as raised:
            up()
    assert f"process {os.getpid()}" in str(raised.value)
    assert "--port web=" in str(raised.value)
    assert load_instance(Home.of_user()) is None


def test_a_port_that_a_container_holds_is_named_and_another_can_be_chosen(client: docker.DockerClient) -> None:
    port = int(os.environ["K2_WEB_PORT"])
    holder = client.containers.run(
        docker_engine.IMAGE, ["sleep", "1000"], entrypoint=[], ports={"80/tcp": ("127.0.0.1", port)}, detach=True,
        labels=dict([FOREIGN.split("=")]),
    )  # fmt: skip
    try:
        with pytest.raises(StackError, match=f"docker stop {holder.name}"):
            up()
        up(ports={"web": None})
        chosen = next(service.endpoint for service in lifecycle.status(home=Home.of_user()) if service.service == "web")
        assert chosen != f"127.0.0.1:{port}"
        assert up().already_running
    finally:
        docker_engine.remove_all(client, FOREIGN)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_without_docker_it_says_so_and_how_to_start_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    started_s = time.monotonic()
    assert main(["stack", "up", "--engine", "docker"]) == 3
    assert time.monotonic() - started_s < 2
    said = capsys.readouterr().err
    assert "Docker does not answer at unix:///nowhere/docker.sock: No such file or directory" in said
    assert "sudo systemctl start docker" in said
    gc.collect()  # the SDK leaves the socket open that it could not connect: here, not in the middle of another test


@pytest.mark.parametrize("moment", [b"/networks/create", b"/containers/create", b"/start"])
def test_an_engine_that_dies_in_the_middle_is_reported_and_the_next_up_goes_on(
    client: docker.DockerClient, monkeypatch: pytest.MonkeyPatch, moment: bytes
) -> None:
    with docker_engine.short_folder() as folder:
        proxy = DockerProxy(folder / "docker.sock", moment)
        monkeypatch.setenv("DOCKER_HOST", proxy.address)
        with pytest.raises(StackError, match="stopped answering"):
            up()
        assert proxy.was_cut.is_set()
    monkeypatch.delenv("DOCKER_HOST")
    up()
    assert len(containers(client)) == 3


def test_a_one_shot_that_fails_shows_its_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREPARE", "echo the disk is gone; exit 7")
    assert main(["stack", "up", "--engine", "docker"]) == 3
    said = capsys.readouterr().err
    for words in ("prepare ended with exit code 7", "log: the disk is gone", "k2ctl stack logs prepare"):
        assert words in said


def test_a_service_that_is_not_healthy_shows_the_test_and_the_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEALTH", "echo no disk; exit 9")
    assert main(["stack", "up", "--engine", "docker"]) == 3
    said = capsys.readouterr().err
    for words in ("web is not healthy", "health test, exit code 9: no disk", "Ready to accept connections"):
        assert words in said
    monkeypatch.delenv("HEALTH")
    assert main(["stack", "up", "--engine", "docker"]) == 0


def test_what_takes_too_long_is_reported_after_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREPARE", "sleep 100")
    with pytest.raises(StackError, match="prepare was not ready within 2 s"):
        lifecycle.up("docker", "laptop", lambda _: None, Wanted(timeout_s=2), home=Home.of_user())


def test_an_image_that_cannot_be_had_is_reported_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_IMAGE", "127.0.0.1:1/nothing:1")
    with pytest.raises(StackError, match=r"127\.0\.0\.1:1/nothing:1 is not here and cannot be pulled") as raised:
        up()
    assert "--without other" in raised.value.hint
    assert set(up(without=("other",)).changed) == {"prepare", "web"}


def test_one_service_comes_with_what_it_needs_and_unknown_ones_are_refused(client: docker.DockerClient) -> None:
    up(services=("web",))
    assert set(containers(client)) == {"prepare", "web"}
    with pytest.raises(UsageError, match="no service 'nobody'"):
        up(services=("nobody",))
    with pytest.raises(UsageError, match="web cannot be left out"):
        up(without=("web",))


def test_what_is_left_out_stays_out_until_it_is_named() -> None:
    assert up(without=("other",)).left_out == ("other",)
    again = up()
    assert (again.changed, again.left_out) == ((), ("other",))
    back = up(services=("other",))
    assert (back.changed, back.left_out) == (("other",), ())
    assert up().changed == ()


def test_what_is_left_out_while_it_runs_goes(client: docker.DockerClient) -> None:
    up()
    assert "other" in containers(client)
    assert up(without=("other",)).left_out == ("other",)
    assert "other" not in containers(client)
    assert "web" in containers(client)


def test_no_secret_is_seen_in_inspect_and_its_file_is_ours_alone(client: docker.DockerClient) -> None:
    up()
    path = secrets_dir(Home.of_user()) / "word"
    word = path.read_text()
    assert len(word) >= 32
    assert path.stat().st_mode & 0o777 == 0o600
    for one in docker_engine.ours(client, load_instance(Home.of_user()).id).values():  # type: ignore[union-attr]
        assert word not in json.dumps(client.api.inspect_container(one.id))


def test_every_service_is_reported_on_its_way() -> None:
    received: list[Event] = []
    lifecycle.up("docker", "laptop", received.append, Wanted(timeout_s=60), home=Home.of_user())
    for service, last in (("prepare", Phase.DONE), ("web", Phase.HEALTHY), ("other", Phase.RUNNING)):
        phases = list(dict.fromkeys(event.phase for event in received if event.service == service))
        assert phases[:3] == [Phase.WAITING, Phase.CREATE, Phase.START]
        assert phases[-1] is last


def test_logs_and_status_are_of_the_containers(capsys: pytest.CaptureFixture[str]) -> None:
    up()
    assert main(["stack", "logs", "web"]) == 0
    assert "Ready to accept connections" in capsys.readouterr().out
    assert main(["stack", "status", "--json"]) == 0
    services = {entry["service"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert services["prepare"]["health"] == "done"
    assert services["web"]["endpoint"] == f"127.0.0.1:{os.environ['K2_WEB_PORT']}"
    assert services["web"]["memory_bytes"] > 500_000
    assert services["web"]["cpu_share"] >= 0
    assert services["web"]["uptime_s"] > 0
    with pytest.raises(UsageError, match="no service 'nobody'"):
        list(lifecycle.log_lines("nobody", follow=False, home=Home.of_user()))


def test_another_engine_is_refused_while_this_one_is_up() -> None:
    up()
    with pytest.raises(StackError, match="The docker engine runs already"):
        lifecycle.up("embedded", "laptop", lambda _: None, home=Home.of_user())
