"""The options of `k2ctl load`."""

from typing import Annotated

import typer

from k2ctl import known_names
from k2ctl.options import parse_count, parse_duration

Rate = Annotated[
    int | None,
    typer.Option(
        parser=parse_count,
        metavar="COUNT",
        help="Trades per second: 10000, 10k, 1M, 1e5.",
        show_default="the profile's; a tenth of --ramp-to",
    ),
]
RampTo = Annotated[
    int | None,
    typer.Option(
        parser=parse_count,
        metavar="COUNT",
        help="Rise to this rate over the duration, from --rate or else from a tenth of it.",
        show_default="a constant rate",
    ),
]
Duration = Annotated[
    float | None,
    typer.Option(
        parser=parse_duration, metavar="TIME", help="How long: 300, 90s, 5m, 1m30s.", show_default="the profile's"
    ),
]
Shape = Annotated[
    str | None,
    typer.Option(
        metavar="SHAPE",
        help="constant, linear, step, spike or sine.",
        autocompletion=known_names.one_of("constant", "linear", "step", "spike", "sine"),
        show_default="the profile's; linear with --ramp-to",
    ),
]
Frame = Annotated[
    int | None, typer.Option(min=1, max=1000, help="Trades per Kafka record.", show_default="the profile's")
]
Workers = Annotated[int | None, typer.Option(min=1, max=16, help="Worker processes.", show_default="as the rate needs")]
Replay = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Trades of files: a file, folder, glob or s3:// prefix.",
        show_default="a synthetic market",
    ),
]
Feed = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|PATH",
        help="What the lines of the files are; see: k2ctl feed list.",
        show_default="what the files show",
        autocompletion=known_names.feeds,
    ),
]
FromLake = Annotated[
    bool, typer.Option("--from-lake", help="Replay what the table holds, with its ids and times, to --topic.")
]
Topic = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Where --from-lake sends to; made if it is missing.",
        show_default="the profile's, without --from-lake",
        autocompletion=known_names.topics,
    ),
]
Speed = Annotated[str, typer.Option(metavar="1x|60x|max", help="How fast to replay.")]
Now = Annotated[bool, typer.Option("--now", help="Shift the replay's times so that it ends now.")]
Since = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Replay from this time of the venue on.", show_default="the beginning"),
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Replay up to this time.", show_default="the end")]
Symbols = Annotated[
    str | None,
    typer.Option(
        metavar="A,B",
        help="Replay only these symbols.",
        show_default="all symbols",
        autocompletion=known_names.symbol_list,
    ),
]
Duplicates = Annotated[float, typer.Option(min=0.0, max=0.5, help="Fraction of trades that is sent twice.")]
Gaps = Annotated[float, typer.Option(min=0.0, max=0.5, help="Fraction that is numbered and never sent.")]
OutOfOrder = Annotated[float, typer.Option(min=0.0, max=0.5, help="Fraction that is sent after its successor.")]
Corrections = Annotated[float, typer.Option(min=0.0, max=0.5, help="Fraction that is corrected later.")]
Cancels = Annotated[float, typer.Option(min=0.0, max=0.5, help="Fraction that is cancelled later.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Which market is made up.", show_default="the profile's")]
IgnoreIntake = Annotated[bool, typer.Option("--ignore-intake", help="Do not pause when a consumer closes the intake.")]
