"""What the shipped Compose file must hold, whoever edits it."""

import re

import pytest

from k2ctl.home import shipped
from k2ctl.stack.compose.model import Project, Service
from k2ctl.stack.compose.reading import read_project

PROJECT: Project = read_project(shipped("stack") / "compose.yaml", {})
SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|KEY", re.IGNORECASE)
SERVICES = pytest.mark.parametrize("name", list(PROJECT.services))
SERVERS = pytest.mark.parametrize("name", [name for name in PROJECT.services if name != "prepare"])


def service(name: str) -> Service:
    return PROJECT.services[name]


@SERVICES
def test_ports_are_published_on_loopback_only(name: str) -> None:
    assert {port.address for port in service(name).ports} <= {"127.0.0.1"}


@SERVICES
def test_an_image_is_pinned_to_one_release(name: str) -> None:
    tag = service(name).image.partition(":")[2]
    assert re.fullmatch(r"v?\d+\.\d+(\.\d+)?", tag), service(name).image


@SERVICES
def test_no_secret_stands_in_an_environment(name: str) -> None:
    for variable, value in service(name).environment.items():
        assert not SECRET_NAME.search(variable) or value.startswith("/run/secrets/"), variable


@SERVICES
def test_what_is_mounted_from_the_package_is_there_and_read_only(name: str) -> None:
    for mount in service(name).volumes:
        if not mount.named:
            assert mount.read_only
            assert any((shipped("stack") / mount.source).rglob("*")), mount.source


@SERVERS
def test_a_server_is_no_root_bounded_and_reports_its_health(name: str) -> None:
    one = service(name)
    assert one.user == "1000:1000"
    assert one.cap_drop == ("ALL",)
    assert one.read_only
    assert one.mem_limit is not None
    assert one.healthcheck is not None or name == "consumer"
    assert one.restart == "unless-stopped"


def test_every_secret_is_used_and_every_volume_is_prepared() -> None:
    assert {secret for one in PROJECT.services.values() for secret in one.secrets} == set(PROJECT.secrets)
    assert {mount.source for mount in service("prepare").volumes} == set(PROJECT.volumes)
