"""`k2ctl query`: the lake and the stream as one table."""

from k2ctl.commands.query_follow import follow
from k2ctl.commands.query_shell import shell
from k2ctl.commands.query_sql import sql
from k2ctl.commands.query_trades import explain, ohlcv, recent
from k2ctl.options import group

app = group(no_args_is_help=True)


@app.callback()
def query() -> None:
    """Query trades, from years ago to this second, as one table.

    Example:  k2ctl query recent BHP --window 15m
    """


app.command(short_help="The newest trades of a symbol, stored and on the way.")(recent)
app.command(short_help="Trades as they arrive.")(follow)
app.command(short_help="Open, high, low, close and volume per bar.")(ohlcv)
app.command(short_help="One query over trades, trades_raw, reference, snapshots and gaps.")(sql)
app.command(short_help="SQL query after query, with history and completion.")(shell)
app.command(short_help="What a query reads, and how long each stage takes.")(explain)
