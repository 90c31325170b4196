"""The answers of `k2ctl cost`, each as a panel, a JSON document and a table, made in the form that is asked for."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from rich.console import RenderableType

from k2ctl.cost import documents
from k2ctl.cost.documents import Sheet
from k2ctl.cost.estimate import Estimate, by_month, compare, difference, estimate
from k2ctl.cost.policy import policy_cost
from k2ctl.cost.pricing import Pricing, Scenario
from k2ctl.cost.scenarios import levers, sensitivity
from k2ctl.errors import Infeasible
from k2ctl.views import cost


class View(NamedTuple):
    """One answer in its three forms."""

    panel: Callable[[], RenderableType]
    document: Callable[[], Any]
    sheet: Callable[[], Sheet]


def estimate_view(pricing: Pricing, scenario: Scenario, *, every_line: bool) -> View:
    """The estimate of one profile, with months, levers, and what a what-if or measurements changed."""
    found = pricing.estimate(scenario.profile)
    first_usd, twelfth_usd = (estimate(scenario.profile, pricing.book, month).total_monthly_usd for month in (1, 12))
    ways = levers(scenario.profile, pricing.book)
    what_if = difference(estimate(scenario.base, pricing.book), found) if pricing.settings else None
    more = {
        "month_1_usd": first_usd,
        "month_12_usd": twelfth_usd,
        "levers": ways,
        "measured": scenario.replaced,
        "what_if_usd": what_if.usd if what_if else None,
    }
    return View(
        lambda: cost.whole_estimate(
            found, (first_usd, twelfth_usd), ways, scenario.replaced, what_if, every_line=every_line
        ),
        lambda: {**documents.estimate_document(found), **more},
        lambda: documents.estimate_sheet(found),
    )


def comparison_view(estimates: Sequence[Estimate]) -> View:
    """Estimates side by side; one that cannot work says so in its column."""
    found = compare(estimates)
    return View(
        lambda: cost.comparison_table(found),
        lambda: [documents.estimate_document(each) for each in estimates],
        lambda: documents.comparison_sheet(found),
    )


def difference_view(before: Estimate, after: Estimate) -> View:
    """Two estimates, line against line.

    Raises:
        Infeasible: one of them cannot work.
    """
    for each in (before, after):
        if each.infeasible:
            raise Infeasible(each.profile, each.infeasible)
    found = difference(before, after)
    return View(
        lambda: cost.difference_table(found),
        lambda: documents.difference_document(found),
        lambda: documents.difference_sheet(found),
    )


def sensitivity_view(pricing: Pricing, scenario: Scenario) -> View:
    """Which inputs move the total most."""
    base_usd = pricing.estimate(scenario.profile).total_monthly_usd
    swings = sensitivity(scenario.profile, pricing.book)
    return View(
        lambda: cost.tornado(swings, base_usd),
        lambda: {"total_monthly_usd": base_usd, "inputs": swings},
        lambda: documents.sensitivity_sheet(swings),
    )


def explanation_view(pricing: Pricing, scenario: Scenario, name: str) -> View:
    """A line, or every line of a component, explained."""
    found = pricing.estimate(scenario.profile)
    lines = documents.lines_named(found, name)
    return View(
        lambda: cost.explanations(lines, found.total_monthly_usd),
        lambda: [asdict(line) for line in lines],
        lambda: documents.lines_sheet(lines),
    )


def months_view(pricing: Pricing, scenario: Scenario, count: int) -> View:
    """The first months, one by one."""
    found = by_month(scenario.profile, pricing.book, count)
    return View(lambda: cost.curve(found), lambda: found, lambda: documents.months_sheet(found))


def policy_view(pricing: Pricing, scenario: Scenario) -> View:
    """What the degradation policy saves and delays."""
    found = policy_cost(scenario.profile, pricing.book)
    return View(
        lambda: cost.policy_panel(found),
        lambda: documents.policy_document(found),
        lambda: documents.policy_sheet(found),
    )
