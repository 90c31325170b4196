"""The dashboard of queries and of the table that they read."""

from typing import Final

from k2ctl.dashboards.grafana import Dashboard, Panel, Query, Variable, coloured, on_the_right

INSTANCE: Final = 'instance=~"$instance"'
ROUTES: Final = f'{INSTANCE}, route=~"/v1/.*"'
RATE: Final = "[$__rate_interval]"
READY: Final = {"1": ("ready", "green"), "0": ("not ready", "red")}
TARGET_S: Final = 0.5
"""Answers of an L3 platform: less than half a second."""


def _quantile(quantile: float, histogram: str, selector: str, by: str = "le") -> str:
    return f"histogram_quantile({quantile}, sum by ({by}) (rate({histogram}_bucket{{{selector}}}{RATE})))"


def _stat(title: str, meaning: str, expression: str, unit: str = "short") -> Panel:
    return Panel(title, meaning, [Query(expression)], kind="stat", width=4, height=4, unit=unit)


_NOW: Final = (
    Panel(
        "Service",
        "Ready while the catalog answers and the stream is followed.",
        [Query(f"min(k2_api_ready{{{INSTANCE}}})")],
        kind="stat",
        width=4,
        height=4,
        states=READY,
        options={"graphMode": "none"},
    ),
    Panel(
        "p99 of answers",
        "Over the time shown, until an answer begins.",
        [Query(f"histogram_quantile(0.99, sum by (le) (rate(k2_api_request_seconds_bucket{{{ROUTES}}}[$__range])))")],
        kind="stat",
        width=4,
        height=4,
        unit="s",
        steps=((None, "green"), (TARGET_S, "red")),
    ),
    _stat("Rows", "Of the table's current snapshot.", f"max(k2_lake_rows{{{INSTANCE}}})"),
    _stat("Size", "Of its data files.", f"max(k2_lake_bytes{{{INSTANCE}}})", "bytes"),
    _stat("Trades in memory", "The stream's tail, kept for queries.", f"max(k2_api_tail_trades{{{INSTANCE}}})"),
    Panel(
        "Table's last commit",
        "Queries read what is newer from the stream; an old table makes them slower, not wrong.",
        [Query(f"min(k2_lake_snapshot_age_seconds{{{INSTANCE}}})")],
        kind="stat",
        width=4,
        height=4,
        unit="s",
        steps=((None, "green"), (30.0, "yellow"), (300.0, "red")),
    ),
)

_QUERIES: Final = (
    Panel(
        "Time until the answer begins",
        "Of all query routes. The line is the target of the platform.",
        [Query(_quantile(q, "k2_api_request_seconds", ROUTES), f"p{q * 100:.0f}") for q in (0.5, 0.95, 0.99)],
        unit="s",
        steps=((None, "transparent"), (TARGET_S, "red")),
        styles={"p50": coloured("green"), "p95": coloured("yellow"), "p99": coloured("orange")},
    ),
    Panel(
        "Answers by how long they took",
        "How many of a moment's answers fell into each span of time.",
        [Query(f"sum by (le) (increase(k2_api_request_seconds_bucket{{{ROUTES}}}{RATE}))", "{{le}}", heatmap=True)],
        kind="heatmap",
        unit="s",
    ),
    Panel(
        "p99 by route",
        "A route is its template.",
        [Query(_quantile(0.99, "k2_api_request_seconds", ROUTES, "le, route"), "{{route}}")],
        width=8,
        unit="s",
        steps=((None, "transparent"), (TARGET_S, "red")),
    ),
    Panel(
        "Requests a second",
        "By route and status; 0 is a client that went away.",
        [Query(f"sum by (route, status) (rate(k2_api_requests_total{{{INSTANCE}}}{RATE}))", "{{status}} {{route}}")],
        width=8,
        unit="reqps",
    ),
    Panel(
        "Whole answers, and others",
        "An answer that is not whole says what it lacks: deferred, lost, cut off.",
        [Query(f"sum by (complete) (rate(k2_api_answers_total{{{INSTANCE}}}{RATE}))", "complete: {{complete}}")],
        width=8,
        unit="reqps",
        styles={"complete: true": coloured("green"), "complete: false": coloured("orange")},
    ),
    Panel(
        "At once",
        "Queries that hold a session, and clients that follow the live page.",
        [
            Query(f"sum(k2_api_queries_running{{{INSTANCE}}})", "queries"),
            Query(f"sum(k2_api_streams_open{{{INSTANCE}}})", "followers"),
        ],
        width=8,
    ),
    Panel(
        "Tail in memory",
        "Trades that the table does not have yet, or has not had for long. Its limit is two million.",
        [Query(f"k2_api_tail_trades{{{INSTANCE}}}", "{{instance}}")],
        width=8,
    ),
    Panel(
        "Freshness of the table",
        "Time since its last commit as the service sees it, and as the consumers do.",
        [
            Query(f"min(k2_lake_snapshot_age_seconds{{{INSTANCE}}})", "service"),
            Query("min(k2_snapshot_age_seconds)", "consumers"),
        ],
        width=8,
        unit="s",
    ),
)

_TABLE: Final = (
    Panel(
        "Rows",
        "Of the current snapshot.",
        [Query(f"max(k2_lake_rows{{{INSTANCE}}})", "rows")],
        width=8,
    ),
    Panel(
        "Files and snapshots",
        "Compaction keeps the files of an hour under forty; expiry keeps the snapshots few.",
        [
            Query(f"max(k2_lake_files{{{INSTANCE}}})", "files"),
            Query(f"max(k2_lake_snapshots{{{INSTANCE}}})", "snapshots"),
        ],
        width=8,
    ),
    Panel(
        "Mean size of a file",
        "Small files are what makes scans slow.",
        [Query(f"max(k2_lake_bytes{{{INSTANCE}}} / k2_lake_files{{{INSTANCE}}})", "mean")],
        width=8,
        unit="bytes",
    ),
    Panel(
        "Commit time",
        "Of all consumers. It grows with the number of snapshots and of manifests.",
        [
            Query(f"histogram_quantile({q}, sum by (le) (rate(k2_commit_seconds_bucket{RATE})))", f"p{q * 100:.0f}")
            for q in (0.5, 0.95, 0.99)
        ],
        unit="s",
    ),
    Panel(
        "Maintenance",
        "What the consumers did for the table since they started.",
        [
            Query("sum(k2_compactions_total)", "merges"),
            Query("sum(k2_files_merged_total)", "files merged"),
            Query("sum(k2_snapshots_expired_total)", "snapshots expired"),
            Query("sum(k2_orphans_removed_total)", "files deleted"),
            Query("sum(rate(k2_commits_total[$__rate_interval]))", "commits a second"),
        ],
        styles={"commits a second": on_the_right("text", "cps")},
    ),
)

LAKE: Final = Dashboard(
    "k2-lake",
    "K2: queries and the table",
    "How long answers take and whether they are whole; how large, how young and how tidy the table is.",
    (*_NOW, *_QUERIES, *_TABLE),
    (Variable("instance", "k2_api_ready", "instance"),),
)
