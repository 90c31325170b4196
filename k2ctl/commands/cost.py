"""`k2ctl cost`: what a platform costs in a month, and why."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from k2ctl import known_names
from k2ctl.errors import ExitCode, Infeasible
from k2ctl.options import JsonOption, at_most_one, parse_count

if TYPE_CHECKING:
    from k2ctl.commands.cost_views import View
    from k2ctl.cost.price_book import PriceBook
    from k2ctl.cost.pricing import Pricing, Scenario

CURVE_MONTHS_MOST = 120
DEFAULT_SCALE = "1M"

ScaleOption = Annotated[
    str | None,
    typer.Option(
        "--scale",
        metavar="10K|1M|10M|PATH|RATE",
        help="A profile, or a bare rate such as 250k.",
        show_default=DEFAULT_SCALE,
        autocompletion=known_names.profiles,
    ),
]
CompareOption = Annotated[
    str, typer.Option(metavar="A,B,C", help="Profiles or rates side by side.", show_default="none")
]
DiffOption = Annotated[
    tuple[str, str] | None,
    typer.Option(metavar="A B", help="Line against line; a saved --json works too.", show_default="none"),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="What if: retention.hot_days=90. Repeatable.",
        show_default="as the profile says",
    ),
]
ExplainOption = Annotated[
    str, typer.Option(metavar="LINE", help="Formula, source, date of one line or component.", show_default="none")
]
MonthsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=CURVE_MONTHS_MOST,
        help="The first months, while retention fills.",
        show_default="a month, all retention filled",
    ),
]
PricesOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Prices of your own, before the book's.", show_default="the book's alone"),
]


def cost(
    scale: ScaleOption = None,
    compare: CompareOption = "",
    diff: DiffOption = None,
    settings: SetOption = None,
    sensitivity: Annotated[bool, typer.Option("--sensitivity", help="Which inputs move the total most.")] = False,
    explain: ExplainOption = "",
    months: MonthsOption = None,
    policy: Annotated[bool, typer.Option("--policy", help="Everything at peak, against shed and catch up.")] = False,
    lines: Annotated[bool, typer.Option("--lines", help="Every line, not only the components.")] = False,
    measured: Annotated[bool, typer.Option("--measured", help="The last load's and consumer's own figures.")] = False,
    region: Annotated[str, typer.Option(metavar="NAME", help="The price book's region.")] = "us-east-1",
    prices: PricesOption = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A table as CSV on stdout.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="A table as Markdown on stdout.")] = False,
) -> None:
    """What a platform costs in a month: every line a quantity × a price, with its formula, source and date.

    Sized by published capacity rules; what cannot work is refused with the reason. List prices, before tax.

    Example:  k2ctl cost --scale 1M --set retention.hot_days=90
    """
    from k2ctl.commands import cost_views as views
    from k2ctl.cost.pricing import Pricing

    asked = {"--compare": compare, "--diff": diff, "--sensitivity": sensitivity, "--explain": explain,
             "--months": months, "--policy": policy, "--lines": lines}  # fmt: skip
    at_most_one(asked, "Ask for one at a time.")
    at_most_one({"--scale": scale, "--compare": compare, "--diff": diff}, "Ask for one at a time.")
    at_most_one({"--json": as_json, "--csv": as_csv, "--markdown": as_markdown}, "Ask for one at a time.")
    pricing = Pricing(_book(region, prices), settings or (), _measured() if measured else None)
    if compare:
        names = [name.strip() for name in compare.split(",")]
        view = views.comparison_view([pricing.subject(name, _rate(name)) for name in names])
    elif diff:
        view = views.difference_view(*(pricing.subject(name, _rate(name)) for name in diff))
    else:
        scale = scale or DEFAULT_SCALE
        scenario = pricing.scenario(scale, _rate(scale))
        _refuse_infeasible(pricing, scenario, as_json=as_json)
        if sensitivity:
            view = views.sensitivity_view(pricing, scenario)
        elif explain:
            view = views.explanation_view(pricing, scenario, explain)
        elif months:
            view = views.months_view(pricing, scenario, months)
        elif policy:
            view = views.policy_view(pricing, scenario)
        else:
            view = views.estimate_view(pricing, scenario, every_line=lines)
    _print(view, as_json=as_json, as_csv=as_csv, as_markdown=as_markdown)


def _rate(text: str) -> float | None:
    """A bare rate in trades per second, or None for what is not one."""
    try:
        return float(parse_count(text))
    except typer.BadParameter:
        return None


def _book(region: str, prices: Path | None) -> "PriceBook":
    """The price book, with a warning on stderr when it is old."""
    from datetime import UTC, datetime

    from k2ctl.clock import SystemClock
    from k2ctl.console import say
    from k2ctl.cost.price_book import load_book

    book = load_book(region)
    today = datetime.fromtimestamp(SystemClock().now_us() / 1e6, UTC).date()
    if book.stale(today):
        say(f"The prices are {book.age_days(today)} days old; see the price pages, or bring your own: --prices FILE")
    return book.with_overrides(prices) if prices else book


def _measured() -> Any:
    from k2ctl.cost import measured
    from k2ctl.home import Home

    return measured.load(home=Home.of_user())


def _refuse_infeasible(pricing: "Pricing", scenario: "Scenario", *, as_json: bool) -> None:
    """A plan that cannot work ends here; for scripts with an object that says so."""
    found = pricing.judged(scenario)
    if not found.infeasible:
        return
    if not as_json:
        raise Infeasible(found.profile, found.infeasible)

    from k2ctl.console import print_json
    from k2ctl.cost.documents import estimate_document

    print_json(estimate_document(found))
    raise typer.Exit(ExitCode.UNHEALTHY)


def _print(view: "View", *, as_json: bool, as_csv: bool, as_markdown: bool) -> None:
    from k2ctl.console import out, print_json

    if as_json:
        print_json(view.document())
    elif as_csv or as_markdown:
        sheet = view.sheet()
        out().file.write(sheet.csv() if as_csv else sheet.markdown())
    else:
        out().print(view.panel())
