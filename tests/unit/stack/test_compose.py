"""The Compose subset: what it means is what is started, and what it does not know it refuses."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.errors import UsageError
from k2ctl.home import shipped
from k2ctl.stack.compose.model import Project
from k2ctl.stack.compose.reading import escape, interpolate, read_project
from k2ctl.stack.compose.render import config_hash, render

SMALL = """
name: small
x-base: &base
  restart: unless-stopped
services:
  one:
    <<: *base
    image: "busybox:${TAG:-1}"
    command: sh -c 'echo "$$HOME"'
    environment: {A: "${A:-x}", COUNT: 3}
    ports: ["127.0.0.1:${PORT:-9092}:9092"]
    volumes: ["data:/data", "./conf:/etc/conf:ro"]
    healthcheck: {test: "true", interval: 1m30s}
    mem_limit: 512m
    secrets: [word]
  two:
    image: busybox:1
    depends_on: {one: {condition: service_healthy}}
    profiles: [more]
volumes: {data: {}}
secrets: {word: {file: "./word"}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "a").write_text("1")
    (tmp_path / "word").write_text("secret")
    return tmp_path


def read(folder: Path, text: str = SMALL, **variables: str) -> Project:
    path = folder / "compose.yaml"
    path.write_text(text)
    return read_project(path, variables)


def test_values_are_resolved_and_paths_are_absolute(folder: Path) -> None:
    one = read(folder, PORT="19092").services["one"]
    assert one.image == "busybox:1"
    assert one.command == ("sh", "-c", 'echo "$HOME"')
    assert one.environment == {"A": "x", "COUNT": "3"}
    assert (one.ports[0].address, one.ports[0].host, one.ports[0].container) == ("127.0.0.1", 19092, 9092)
    assert [mount.source for mount in one.volumes] == ["data", str(folder / "conf")]
    assert one.healthcheck is not None
    assert (one.healthcheck.test, one.healthcheck.interval) == (("CMD-SHELL", "true"), 90.0)
    assert (one.mem_limit, one.restart) == (512 << 20, "unless-stopped")


def test_what_is_rendered_is_the_same_project(folder: Path) -> None:
    project = read(folder)
    again = read(folder, render(project))
    assert again == project
    assert render(again) == render(project)


def test_the_shipped_file_is_understood_and_rendered_the_same(tmp_path: Path) -> None:
    file = shipped("stack") / "compose.yaml"
    if not file.exists():
        pytest.skip("no compose.yaml yet")
    project = read_project(file, {"K2_SECRETS_DIR": str(tmp_path)})
    assert read(tmp_path, render(project)) == project
    for name, service in project.services.items():
        for port in service.ports:
            assert port.address == "127.0.0.1", f"{name} is published beyond this machine"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("mem_limit: 512m", "privileged: true"), "service one, key privileged: k2ctl does not implement"),
        (("interval: 1m30s", "start_interval: 1s"), "service one, key healthcheck.start_interval"),
        (("name: small", "name: small\nconfigs: {}"), "key configs: k2ctl does not implement"),
        (("127.0.0.1:${PORT:-9092}:9092", "9092:9092"), "service one, key ports.0: '9092:9092' is not ADDRESS"),
        (("./conf:/etc/conf:ro", "./conf:/etc/conf"), "add :ro"),
        (("./conf:/etc/conf:ro", "/:/host"), "add :ro"),
        (("512m", "lots"), "key mem_limit: 'lots' is not a size"),
        (("1m30s", "soon"), "'soon' is not a duration"),
        (("data:/data", "other:/data"), "service one: there is no volume 'other'"),
        (("secrets: [word]", "secrets: [sesame]"), "there is no secret 'sesame'"),
        (("secrets: [word]", "networks: [lan]"), "there is no network 'lan'"),
        (("secrets: [word]", "depends_on: [two]"), "wait for each other: one, two"),
        (('healthcheck: {test: "true", interval: 1m30s}', ""), "service two: waits for one to be healthy, which"),
        (("service_healthy", "service_fine"), "service two, key depends_on.one"),
        (("{A: ", "{B: true, A: "), "B needs a value; quote true"),
        (("${TAG:-1}", "${TAG:?say which}"), "the variable TAG is not set: say which"),
        (("${TAG:-1}", "${TAG}"), "services.one.image: the variable TAG is not set"),
        (("${TAG:-1}", "${TAG/x}"), "has a $ that is no variable"),
        (("image: busybox:1", "build: {context: .}"), "service two, key image: this is missing"),
    ],
)
def test_a_mistake_names_file_service_and_key(folder: Path, change: tuple[str, str], words: str) -> None:
    with pytest.raises(UsageError) as raised:
        read(folder, SMALL.replace(*change))
    assert words in str(raised.value)
    assert "compose.yaml" in str(raised.value)
    assert raised.value.hint


def test_yaml_runs_no_code_and_does_not_explode(folder: Path) -> None:
    with pytest.raises(UsageError, match="not YAML"):
        read(folder, "name: !!python/object/apply:os.system ['true']")
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "\n".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)
    )
    with pytest.raises(UsageError, match="unfolds to more than"):
        read(folder, f"x-bomb:\n  {bomb.replace(chr(10), chr(10) + '  ')}\nname: x\nservices: {{}}")


def test_the_hash_changes_with_what_the_container_gets_and_with_nothing_else(folder: Path) -> None:
    before = config_hash(read(folder), "one")
    assert config_hash(read(folder), "one") == before
    assert config_hash(read(folder, SMALL.replace("profiles: [more]", "profiles: [less]")), "one") == before
    assert config_hash(read(folder, A="y"), "one") != before
    (folder / "conf" / "a").write_text("2")
    changed = config_hash(read(folder), "one")
    assert changed != before
    (folder / "word").write_text("another")
    assert config_hash(read(folder), "one") != changed


def test_services_come_after_what_they_need(folder: Path) -> None:
    project = read(folder)
    assert project.waves(set(project.services)) == [["one"], ["two"]]
    assert list(project.chosen()) == ["one"]
    assert list(project.chosen(("two",))) == ["one", "two"]


@given(st.text())
def test_an_escaped_text_means_itself(text: str) -> None:
    assert interpolate(escape(text), {}, "here") == text


@given(st.text(alphabet="${}:-?AB ", max_size=30))
def test_interpolation_ends_with_a_text_or_a_clear_refusal(text: str) -> None:
    try:
        assert isinstance(interpolate(text, {"A": "1"}, "here"), str)
    except UsageError as error:
        raised = str(error)
    else:
        raised = "here"
    assert "here" in raised
