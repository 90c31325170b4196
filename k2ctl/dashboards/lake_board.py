"""The dashboard of the lake: how long answers take, and how large, young and tidy the table is."""

from typing import Final

from k2ctl.dashboards.grafana import (
    QUANTILE_STYLES,
    QUANTILES,
    Dashboard,
    Panel,
    Variable,
    coloured,
    on_the_right,
    stat,
)
from k2ctl.dashboards.queries import Query, quantile, series

TARGET_S: Final = 0.5
"""Answers of an L3 platform: less than half a second."""

TARGET_LINE: Final = ((None, "transparent"), (TARGET_S, "red"))
ROUTES: Final = 'route=~"/v1/.*"'
_BUCKETS: Final = f'k2_api_request_seconds_bucket{{instance=~"$instance", {ROUTES}}}'

_ANSWERS: Final = (
    stat("Service", series("k2_api_ready"), states={"1": ("ready", "green"), "0": ("not ready", "red")}),
    stat(
        "p99 of answers",
        quantile("k2_api_request_seconds", 0.99, where=ROUTES, span="$__range"),
        ((None, "green"), (TARGET_S, "red")),
        meaning="Over the time shown, until an answer begins.",
    ),
    stat("Rows", series("k2_lake_rows")),
    stat("Size", series("k2_lake_bytes")),
    stat("Trades in memory", series("k2_api_tail_trades")),
    stat(
        "Table's last commit",
        series("k2_lake_snapshot_age_seconds"),
        ((None, "green"), (30.0, "yellow"), (300.0, "red")),
        meaning="Queries read what is newer from the stream; an old table makes them slower, not wrong.",
    ),
    Panel(
        "Time until the answer begins",
        [quantile("k2_api_request_seconds", part, where=ROUTES) for part in QUANTILES],
        meaning="Of all query routes. The line is the target of the platform.",
        steps=TARGET_LINE,
        styles=QUANTILE_STYLES,
    ),
    Panel(
        "Answers by how long they took",
        [Query(f"sum by (le) (increase({_BUCKETS}[$__rate_interval]))", "{{le}}", "s", heatmap=True)],
        meaning="How many of a moment's answers fell into each span of time.",
        kind="heatmap",
    ),
    Panel(
        "p99 by route",
        [quantile("k2_api_request_seconds", 0.99, "{{route}}", where=ROUTES)],
        meaning="A route is its template.",
        width=8,
        steps=TARGET_LINE,
    ),
    Panel(
        "Requests a second",
        [series("k2_api_requests_total", "{{status}} {{route}}")],
        meaning="By route and status; 0 is a client that went away.",
        width=8,
        unit="reqps",
    ),
    Panel(
        "Whole answers, and others",
        [series("k2_api_answers_total", "complete: {{complete}}")],
        meaning="An answer that is not whole says what it lacks: deferred, lost, cut off.",
        width=8,
        unit="reqps",
        styles={"complete: true": coloured("green"), "complete: false": coloured("orange")},
    ),
    Panel(
        "At once",
        [series("k2_api_queries_running", "queries"), series("k2_api_streams_open", "followers")],
        meaning="Queries that hold a session, and clients that follow the live page.",
        width=8,
    ),
    Panel(
        "Tail in memory",
        [series("k2_api_tail_trades", "{{instance}}")],
        meaning="Trades that the table does not have yet, or has not had for long. Its limit is two million.",
        width=8,
    ),
    Panel(
        "Freshness of the table",
        [
            series("k2_lake_snapshot_age_seconds", "service"),
            series("k2_snapshot_age_seconds", "consumers", everywhere=True),
        ],
        meaning="Time since its last commit as the service sees it, and as the consumers do.",
        width=8,
    ),
    Panel("Rows", [series("k2_lake_rows", "rows")], width=8),
    Panel(
        "Files and snapshots",
        [series("k2_lake_files", "files"), series("k2_lake_snapshots", "snapshots")],
        meaning="Compaction keeps the files of an hour under forty; expiry keeps the snapshots few.",
        width=8,
    ),
    Panel(
        "Mean size of a file",
        [Query('max(k2_lake_bytes{instance=~"$instance"} / k2_lake_files{instance=~"$instance"})', "mean", "bytes")],
        meaning="Small files are what makes scans slow.",
        width=8,
    ),
    Panel(
        "Commit time",
        [quantile("k2_commit_seconds", part, everywhere=True) for part in QUANTILES],
        meaning="Of all consumers. It grows with the number of snapshots and of manifests.",
    ),
    Panel(
        "Maintenance",
        [
            series("k2_compactions_total", "merges", per_s=False, everywhere=True),
            series("k2_files_merged_total", "files merged", per_s=False, everywhere=True),
            series("k2_snapshots_expired_total", "snapshots expired", per_s=False, everywhere=True),
            series("k2_orphans_removed_total", "files deleted", per_s=False, everywhere=True),
            series("k2_commits_total", "commits a second", everywhere=True),
        ],
        meaning="What the consumers did for the table since they started.",
        styles={"commits a second": on_the_right("text", "cps")},
    ),
)

LAKE: Final = Dashboard(
    "k2-lake",
    "K2: queries and the table",
    "How long answers take and whether they are whole; how large, how young and how tidy the table is.",
    _ANSWERS,
    (Variable("instance", "k2_api_ready"),),
)
