"""`k2ctl config`: show, set, unset, path."""

from typing import TYPE_CHECKING, Annotated

import typer

from k2ctl import known_names
from k2ctl.options import JsonOption, group

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k2ctl.settings import Setting

app = group(
    no_args_is_help=True,
    help="What is set once: engine, profile, format and service. A flag comes first, then the environment, then the "
    "file.\n\n"
    "Example:  k2ctl config set engine local",
)

NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="engine|profile|format|api_url",
        help="The setting.",
        autocompletion=known_names.settings,
    ),
]


@app.command(short_help="Each setting, and where it comes from.")
def show(as_json: JsonOption = False) -> None:
    """Each setting as it holds now, and where it comes from: the environment, the file, or the default. A file that is
    not as it should be is named, with the command that mends it.

    Example:  k2ctl config show
    """
    from k2ctl import settings
    from k2ctl.console import out, print_json
    from k2ctl.views.style import listing

    found = settings.values()
    if as_json:
        print_json([value._asdict() for value in found])
    else:
        columns = (
            ("=setting", lambda one: one.name),
            ("value", lambda one: "?" if one.value is None else one.value),
            ("comes from", lambda one: one.source),
            ("is the default of", lambda one: ", ".join(one.used_by)),
        )
        out().print(listing(found, *columns))
    fault = settings.in_file().first_fault
    if fault:
        raise fault


@app.command("set", short_help="Write a setting to the file.")
def set_(
    name: NameArgument,
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="What it shall be.", autocompletion=known_names.values_of_setting)
    ],
) -> None:
    """Write a setting to the file: engine and profile are those of k2ctl stack up, format is that of queries, and
    api_url the service that notebooks ask.

    Example:  k2ctl config set engine local
    """
    from k2ctl import settings
    from k2ctl.console import say

    one = _setting(name)
    one.check(value, f"config set {name}")
    if name == "profile":
        from k2ctl.profiles import lasting_name, load_profile

        load_profile(value)
        value = lasting_name(value)
    _save({**settings.in_file().values, name: value})
    say(f"{name} is {value}, in {settings.path()}.")
    _say_overruled(name)


@app.command(short_help="Take a setting out of the file.")
def unset(name: NameArgument) -> None:
    """Take a setting out of the file, so that its default holds.

    Example:  k2ctl config unset engine
    """
    from k2ctl import settings
    from k2ctl.console import say

    written = settings.in_file()
    if name in written.unknown:
        _save(written.values)
        say(f"{settings.path()} does not say {name} any more.")
        return
    one = _setting(name)
    if name not in written.values and written.fault_of(name) is None:
        say(f"{settings.path()} does not set {name}; its default is {one.default or 'none'}.")
        return
    _save({other: value for other, value in written.values.items() if other != name})
    say(f"{name} is {one.default or 'not set'} again, the default.")
    _say_overruled(name)


@app.command(short_help="Where the file is.")
def path() -> None:
    """Where the file is, whether it exists or not.

    Example:  k2ctl config path
    """
    from k2ctl import settings
    from k2ctl.console import out

    out().print(str(settings.path()), soft_wrap=True)


def _setting(name: str) -> "Setting":
    """Raises:
    UsageError: there is no such setting.
    """
    from k2ctl import settings
    from k2ctl.errors import UsageError

    if name not in settings.SETTINGS:
        raise UsageError(f"There is no setting '{name[:40]}'.", f"There are: {', '.join(settings.SETTINGS)}")
    return settings.SETTINGS[name]


def _save(values: "Mapping[str, str]") -> None:
    from k2ctl import settings
    from k2ctl.console import say

    kept = settings.save(values)
    if kept is not None:
        say(f"What the file said before is kept: {kept}")


def _say_overruled(name: str) -> None:
    import os

    from k2ctl import settings
    from k2ctl.console import say

    variable = settings.SETTINGS[name].variable
    if os.environ.get(variable):
        say(f"In this shell {variable}={os.environ[variable]} comes before it.")
