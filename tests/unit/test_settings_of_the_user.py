"""What is set once: a flag comes first, then the environment, then the file, then the default."""

import json
from pathlib import Path

import pytest

import k2ctl.client as k2
from k2ctl import settings
from k2ctl.checks.doctor.examination import configuration
from k2ctl.cli import COMMANDS, main
from k2ctl.errors import K2Error
from k2ctl.settings import SETTINGS
from k2ctl.stack.preflight import Verdict
from tests.support.cli import called


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for one in SETTINGS.values():
        monkeypatch.delenv(one.variable, raising=False)


def engine_asked_for(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Which engine `stack up` wants; the option is refused before anything starts."""
    return called(capsys, "stack", "up", "--build", *arguments)[2]


def test_a_flag_comes_before_the_environment_and_that_before_the_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "to the embedded engine" in engine_asked_for(capsys)
    assert main(["config", "set", "engine", "local"]) == 0
    assert "to the local engine" in engine_asked_for(capsys)
    monkeypatch.setenv("K2CTL_ENGINE", "embedded")
    assert "to the embedded engine" in engine_asked_for(capsys)
    assert "to the local engine" in engine_asked_for(capsys, "--engine", "local")


def test_show_says_where_each_value_comes_from(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["config", "set", "profile", "1M"])
    monkeypatch.setenv("K2CTL_FORMAT", "json")
    found = {one["name"]: one for one in json.loads(called(capsys, "config", "show", "--json")[1])}
    assert (found["engine"]["value"], found["engine"]["source"]) == ("embedded", "default")
    assert (found["profile"]["value"], found["profile"]["source"]) == ("1M", str(settings.path()))
    assert (found["format"]["value"], found["format"]["source"]) == ("json", "K2CTL_FORMAT")
    assert "K2CTL_FORMAT" in called(capsys, "config", "show")[1]


def test_help_shows_the_default_that_holds_and_its_variable(capsys: pytest.CaptureFixture[str]) -> None:
    main(["config", "set", "format", "csv"])
    said = " ".join(called(capsys, "query", "recent", "--help")[1].split())
    assert "[env var: K2CTL_FORMAT; default: csv]" in said


def test_json_comes_before_a_format_that_is_set_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["config", "set", "format", "csv"])
    assert "No K2 stack" in called(capsys, "query", "recent", "BHP", "--json")[2]
    assert "exclude each other" in called(capsys, "query", "recent", "BHP", "--json", "--format", "csv")[2]
    monkeypatch.setenv("K2CTL_FORMAT", "xml")
    assert "K2CTL_FORMAT" in called(capsys, "query", "recent", "BHP")[2]


def test_what_is_unset_has_its_default_again(capsys: pytest.CaptureFixture[str]) -> None:
    main(["config", "set", "engine", "local"])
    main(["config", "set", "format", "json"])
    assert called(capsys, "config", "unset", "engine")[0] == 0
    assert settings.in_file().values == {"format": "json"}
    assert "does not set engine" in called(capsys, "config", "unset", "engine")[2]


def test_a_profile_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'my "own".yaml').write_text("base: laptop\nname: own\n")
    monkeypatch.chdir(tmp_path)
    assert main(["config", "set", "profile", './my "own".yaml']) == 0
    assert settings.in_file().values == {"profile": str(tmp_path / 'my "own".yaml')}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["set", "engine", "toaster"], "there is no engine 'toaster'"),
        (["set", "colour", "red"], "no setting 'colour'"),
        (["set", "format", "parquet"], "there is no format 'parquet'"),
        (["set", "profile", "nowhere"], "no profile 'nowhere'"),
        (["unset", "colour"], "no setting 'colour'"),
    ],
)
def test_what_cannot_be_set_is_refused(capsys: pytest.CaptureFixture[str], arguments: list[str], word: str) -> None:
    code, _, said = called(capsys, "config", *arguments)
    assert code == 2
    assert word in " ".join(said.split())
    assert not settings.path().exists()


BROKEN = [
    ("engine = 5", "engine is a text, in quotes", "config unset engine"),
    ("engine = ''", "engine is a text, in quotes", "config unset engine"),
    ("engine = 'toaster'", "there is no engine 'toaster'", "config unset engine"),
    ("[engine]\nname = 'local'", "engine is a text", "config unset engine"),
    ("engine", "not TOML", "config set engine embedded"),
    ("engine = 'local'\nengine = 'local'", "not TOML", "config set engine embedded"),
    ("\xff", "it is no text", "config set engine embedded"),
    ("colour = 'red'", "no setting 'colour'", "config unset colour"),
]


def write(text: str) -> None:
    settings.path().write_bytes(text.encode("latin-1"))


@pytest.mark.parametrize(("text", "word", "next_step"), BROKEN)
def test_a_broken_file_is_named_where_it_is_needed_and_what_is_typed_next_mends_it(
    capsys: pytest.CaptureFixture[str], text: str, word: str, next_step: str
) -> None:
    write(text)
    code, _, said = called(capsys, "stack", "up", "--build")
    assert code == 2
    assert f"{settings.path()}: " in said
    assert word in said
    assert f"k2ctl {next_step}" in said
    assert called(capsys, *next_step.split())[0] == 0
    assert "to the embedded engine" in engine_asked_for(capsys)


@pytest.mark.parametrize(("text", "word", "next_step"), BROKEN)
def test_who_does_not_need_a_broken_value_goes_on(
    capsys: pytest.CaptureFixture[str], text: str, word: str, next_step: str
) -> None:
    write(text)
    assert main(["--help"]) == 0
    assert main(["stack", "up", "--help"]) == 0
    assert "to the local engine" in engine_asked_for(capsys, "--engine", "local", "--profile", "laptop")
    for arguments in (["stack", "status"], ["query", "explain", "BHP"], ["query", "recent", "BHP", "--format", "csv"]):
        assert "No K2 stack is running" in "".join(called(capsys, *arguments)[1:])
    for arguments in (["query", "recent", "BHP", "--json"], ["query", "follow", "--json"]):
        assert "No K2 stack is running" in "".join(called(capsys, *arguments)[1:])
    assert called(capsys, "config", "path") == (0, f"{settings.path()}\n", "")


def test_a_fault_of_one_setting_stops_nobody_who_needs_another(capsys: pytest.CaptureFixture[str]) -> None:
    write("engine = 'toaster'\nformat = 'csv'")
    assert "No K2 stack is running" in called(capsys, "query", "recent", "BHP")[2]
    write("colour = 'red'\nengine = 'local'")
    assert "to the local engine" in engine_asked_for(capsys, "--profile", "laptop")


def test_doctor_names_what_is_set_and_what_is_wrong_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert configuration().verdict is Verdict.OK
    main(["config", "set", "engine", "local"])
    assert configuration().found == f"engine local by {settings.path()}"
    write("engine = 'toaster'")
    assert configuration().verdict is Verdict.WRONG
    assert configuration().help == "Take it out: k2ctl config unset engine"


def test_show_shows_what_holds_and_names_what_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    write("engine = 'toaster'\nformat = 'csv'")
    code, shown, said = called(capsys, "config", "show", "--json")
    found = {one["name"]: one["value"] for one in json.loads(shown)}
    assert (code, found) == (2, {"engine": None, "profile": "laptop", "format": "csv", "api_url": ""})
    assert "there is no engine 'toaster'" in said
    assert "csv" in called(capsys, "config", "show")[1]


def test_what_k2ctl_did_not_write_is_kept_when_it_writes_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    write("# mine\nengine = 'local'  # for Kafka\n")
    kept = settings.path().with_name(f"{settings.path().name}.before")
    assert str(kept) in called(capsys, "config", "set", "format", "csv")[2].replace("\n", "")
    assert kept.read_text() == "# mine\nengine = 'local'  # for Kafka\n"
    assert settings.in_file().values == {"engine": "local", "format": "csv"}
    kept.unlink()
    assert called(capsys, "config", "set", "format", "json")[0] == 0
    assert not kept.exists()


def test_a_folder_that_cannot_be_made_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K2CTL_CONFIG", "/dev/null/config.toml")
    assert "cannot be written" in called(capsys, "config", "set", "engine", "local")[2]


def test_the_file_is_where_other_programs_have_theirs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("K2CTL_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert settings.path() == tmp_path / "k2ctl" / "config.toml"


def test_notebooks_ask_the_service_that_is_set_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.value_of("api_url") == ""
    assert main(["config", "set", "api_url", "http://127.0.0.1:1"]) == 0
    with pytest.raises(K2Error, match=r"127\.0\.0\.1:1"):
        k2.recent("BHP")
    monkeypatch.setenv("K2CTL_API_URL", "http://127.0.0.1:2")
    with pytest.raises(K2Error, match=r"127\.0\.0\.1:2"):
        k2.recent("BHP")
    monkeypatch.delenv("K2CTL_API_URL")
    write("api_url = 5")
    with pytest.raises(K2Error, match="api_url is a text"):
        k2.recent("BHP")


@pytest.mark.parametrize("command", ["recent", "follow", "ohlcv", "sql", "shell"])
def test_every_query_takes_the_format_that_is_set_once(
    capsys: pytest.CaptureFixture[str], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["config", "set", "format", "csv"])
    assert "K2CTL_FORMAT; default: csv" in " ".join(called(capsys, "query", command, "--help")[1].split())
    monkeypatch.setenv("K2CTL_FORMAT", "xml")
    assert "K2CTL_FORMAT" in called(capsys, "query", command, "X")[2] if command != "shell" else True


@pytest.mark.parametrize("place", [place for one in SETTINGS.values() for place in one.places], ids=str)
def test_a_setting_is_the_default_of_an_option_that_there_is(place: settings.OptionPlace) -> None:
    command = COMMANDS[place.group].load().commands[place.command]
    assert [one.envvar for one in command.params if one.name == place.parameter] != [None]
