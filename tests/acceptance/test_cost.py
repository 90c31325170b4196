"""`k2ctl cost` answers at once."""

import subprocess
import sys

from tests.support.cli import least_cpu_s

HEAVY = ("pyarrow", "pyiceberg", "confluent_kafka", "duckdb", "numpy", "redis", "docker")


def test_an_estimate_takes_less_than_half_a_second() -> None:
    bare_s, took_s = least_cpu_s(["-c", "import typer, rich, yaml, pydantic"], ["-m", "k2ctl", "cost", "--scale", "1M"])
    # On a machine that is slow, or busy with something else, both grow: then the ratio tells; it is 3.3 here.
    assert took_s < 0.5 or took_s < 4 * bare_s


def test_it_imports_nothing_heavy() -> None:
    code = (
        "import sys; from k2ctl.cli import main;"
        "main(['cost', '--measured']); main(['cost']); main(['cost', '--policy']);"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
