"""What is wrong with a YAML text is named by file, line and key, whatever it is."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.cost.scenarios import with_settings
from k2ctl.errors import K2Error, ProfileError, UsageError
from k2ctl.home import shipped
from k2ctl.profiles import load_profile, strict_yaml
from k2ctl.stack.compose.reading import read_project

LAPTOP = (shipped("profiles") / "laptop.yaml").read_text()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("  symbols: !!timestamp x", "YAML tags such as"),
        ("  symbols: !!int x", "YAML tags such as"),
        ("  symbols: !!float x", "YAML tags such as"),
        ("  symbols: !!binary =", "YAML tags such as"),
        ("  symbols: !!set {a}", "YAML tags such as"),
        ("  symbols: !!python/object:os.system {}", "YAML tags such as"),
        ("  symbols: ! 3", "YAML tags such as"),
        ("  <<: {symbols: 3}", "market.<<: YAML merges are not used"),
        ("  symbols: &a 3", "YAML aliases are not used"),
        ("  symbols: *a", "YAML aliases are not used"),
        (f"  symbols: {'9' * 5000}", "market.symbols: no int that k2ctl can hold"),
        (f"  symbols: -{'9' * 19}", "market.symbols: no int that k2ctl can hold"),
        (f"  symbols: 0x{'f' * 5000}", "market.symbols: no int that k2ctl can hold"),
        ("  symbols: 2026-13-45", "market.symbols: no timestamp that k2ctl can hold"),
        ("  symbols: 2026-01-01T25:00:00Z", "market.symbols: no timestamp that k2ctl can hold"),
        ("  symbols: 0b", "market.symbols: a whole number is needed"),
        ("  symbols: .inf", "market.symbols: a finite number is needed"),
        ("  symbols: .nan", "market.symbols: a finite number is needed"),
        ("  symbols: 1000000000000000000000.0", "market.symbols: "),
        ("  symbols: =", "market.symbols: "),
        ("  ? [a, b]\n  : 3", "market: a key is one word"),
        ("  ? {a: b}\n  : 3", "market: a key is one word"),
        (f"  symbols: {'[' * 60}{']' * 60}", "nested more than 40 deep"),
        (f"  symbols: {'[' * 9_000}", " nest"),
        ("  symbols: [1", "not YAML: "),
        ("  symbols: 'a", "not YAML: "),
        ("  symbols: \x07", "not YAML: "),
        ("\tsymbols: 3", "not YAML: "),
        ("  symbols: @a", "not YAML: "),
        ("  symbols: 3\n--- \na: 3", "not YAML: "),
    ],
)
def test_a_mistake_is_named_by_file_line_and_key(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"base: laptop\nname: x\nmarket:\n{line}\n")
    with pytest.raises(ProfileError) as caught:
        load_profile(str(path))
    assert str(caught.value).startswith(f"{path}:")
    assert int(str(caught.value).removeprefix(f"{path}:").partition(":")[0]) in range(4, 8)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value) + caught.value.hint
    assert len(str(caught.value)) < 400
    assert caught.value.hint


@pytest.mark.parametrize("again", ["name: y", "'name': y", '"name": y', '"na\\x6de": y', "name: x"])
def test_a_key_that_stands_twice_is_named_with_both_lines(tmp_path: Path, again: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: x\nbase: laptop\n\n{again}\n")
    with pytest.raises(ProfileError, match=r"mine\.yaml:4: name: this key stands in line 1 already"):
        load_profile(str(path))


def test_the_same_key_in_two_sections_is_fine() -> None:
    content, lines = strict_yaml.load("x", "a: {n: 1}\nb:\n  n: 2\nc: [{n: 1}, {n: 2}]")
    assert content == {"a": {"n": 1}, "b": {"n": 2}, "c": [{"n": 1}, {"n": 2}]}
    assert lines[("b", "n")] == 3


def test_what_ships_is_read_as_before() -> None:
    for path in shipped("profiles").rglob("*.yaml"):
        assert strict_yaml.load(path, path.read_text())[0] == yaml.safe_load(path.read_text())


@pytest.mark.parametrize("name", ["~nobody-of-this-name/x.yaml", "x" * 300, "a\0b", "/dev/zero", ".", ""])
def test_a_name_that_is_no_file_is_no_profile(name: str) -> None:
    with pytest.raises(ProfileError, match="There is no profile"):
        load_profile(name)


def test_a_file_is_read_no_further_than_a_profile_goes() -> None:
    with pytest.raises(ProfileError, match="larger than"):
        strict_yaml.read_text(Path("/dev/zero"))


@pytest.mark.parametrize(
    "value",
    ["!!int x", "9" * 5000, "2026-13-45", "*a", "&a 1", "{a: 1, a: 2}", "[" * 10_000, "'", "\x00", "!!binary é"],
)
def test_a_what_if_that_is_no_value_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match="is not key=value: ") as caught:
        with_settings(load_profile("10K"), [f"retention.hot_days={value}"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("x: !!timestamp y", "compose.yaml:2: x: no timestamp"),
        ("x: !!int y", "compose.yaml:2: x: no int"),
        ("x: !!bool y", "compose.yaml:2: x: no bool"),
        ("x: !!float y", "compose.yaml:2: x: no float"),
        ("x: !!binary é", "compose.yaml:2: x: "),
        ("x: !!python/name:os.system y", "compose.yaml:2: x: "),
        (f"x: {'9' * 5000}", "compose.yaml:2: x: no int"),
        ("x: 2026-99-99", "compose.yaml:2: x: no timestamp"),
        ("name: z", "compose.yaml:2: name: this key stands in line 1 already"),
        ("x: &a [*a]", "unfolds to more than"),
        ("x: &a {<<: *a}", "compose.yaml"),
        ("<<: 3", "compose.yaml:2: "),
    ],
)
def test_a_compose_file_is_read_as_strictly(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text(f"name: k2\n{line}\nservices: {{}}\n")
    with pytest.raises(UsageError) as caught:
        read_project(path, {})
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


ODD = """9.5 .nan -.inf 1e999 0x_ 0b1 0o8 190:20:30.15 2026-01-01 2026-99-99 ~ yes = << !!int_x !!float !!timestamp_a
!!binary_a !!set_{a,_b} !!omap_[a:_1] !!pairs_[a] !!null_x !!bool_z !!python/tuple_[1] !_x !local_x *a &a_b 'a "\\x" [ ]
{ } ?_ :_ -_ --- ... # |_a >"""
SCALARS = st.sampled_from(
    [*(word.replace("_", " ") for word in ODD.split()), "9" * 5000, "\ufeff", "\x00", "\x85", "\t", "%YAML 9.9\n---"]
)
TEXTS = st.lists(st.one_of(SCALARS, st.text(max_size=5), st.sampled_from(["name", "market", "symbols"])), max_size=12)
JOINTS = st.sampled_from([": ", "\n", "\n  ", ", ", "\n- ", " ", "[", "{"])


def message_of(call: Callable[[], object]) -> str:
    """What our own error says; any other one fails the test."""
    try:
        call()
    except K2Error as error:
        return f"{error}|{error.hint}"
    return "any.yaml:"


@given(st.lists(st.tuples(TEXTS, JOINTS), max_size=6), st.booleans())
def test_nothing_but_our_own_error_leaves_the_loader(parts: list[tuple[list[str], str]], plain: bool) -> None:
    text = "".join(joint + joint.join(words) for words, joint in parts)
    said = message_of(lambda: strict_yaml.load("any.yaml", text, plain=plain))
    assert said.startswith("any.yaml:")
    assert "\n" not in said


@given(st.integers(0, len(LAPTOP) - 1), st.one_of(SCALARS, st.text(max_size=3)), st.integers(0, 40))
def test_nothing_but_our_own_error_leaves_a_damaged_profile(at: int, what: str, cut: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "any.yaml"
        path.write_bytes((LAPTOP[:at] + what + LAPTOP[at + cut :]).encode("utf-8", "surrogatepass"))
        assert "any.yaml:" in message_of(lambda: load_profile(str(path)))
