"""`k2ctl config`: show, set, unset, path."""

from typing import TYPE_CHECKING, Annotated

import typer

from k2ctl import known_names
from k2ctl.options import JsonOption, group

if TYPE_CHECKING:
    from k2ctl.settings import Setting

app = group(
    no_args_is_help=True,
    help="What is set once: engine, profile and format. A flag comes first, then the environment, then the file.\n\n"
    "Example:  k2ctl config set engine local",
)

NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="engine|profile|format",
        help="The setting.",
        autocompletion=known_names.one_of("engine", "profile", "format"),
    ),
]


@app.command(short_help="Each setting, and where it comes from.")
def show(as_json: JsonOption = False) -> None:
    """Each setting as it holds now, and where it comes from: the environment, the file, or the default.

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
            ("value", lambda one: one.value),
            ("comes from", lambda one: one.source),
            ("is the default of", lambda one: ", ".join(one.used_by)),
        )
        out().print(listing(found, *columns))


@app.command("set", short_help="Write a setting to the file.")
def set_(
    name: NameArgument,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="What it shall be.")],
) -> None:
    """Write a setting to the file: engine and profile are those of k2ctl stack up, format is that of queries.

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
    settings.save({**settings.in_file(), name: value})
    say(f"{name} is {value}, in {settings.path()}.")
    _say_overruled(one)


@app.command(short_help="Take a setting out of the file.")
def unset(name: NameArgument) -> None:
    """Take a setting out of the file, so that its default holds.

    Example:  k2ctl config unset engine
    """
    from k2ctl import settings
    from k2ctl.console import say

    one = _setting(name)
    written = settings.in_file()
    if written.pop(name, None) is None:
        say(f"{settings.path()} does not set {name}; its default is {one.default}.")
        return
    settings.save(written)
    say(f"{name} is {one.default} again, the default.")
    _say_overruled(one)


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


def _say_overruled(one: "Setting") -> None:
    import os

    from k2ctl.console import say

    if os.environ.get(one.variable):
        say(f"In this shell {one.variable}={os.environ[one.variable]} comes before it.")
