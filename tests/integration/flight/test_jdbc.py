"""The service as Java's programs ask it: by the Arrow Flight SQL JDBC driver, which Maven fetches once."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from k2ctl.home import cache_dir
from tests.support.api import WHOLE, Service
from tests.support.flight import KEY

VERSION = "18.3.0"
OPENED = "--add-opens=java.base/java.nio=ALL-UNNAMED"
PROGRAM = Path(__file__).parent.parent.parent / "support" / "AskByJdbc.java"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def driver() -> Path:
    """The driver's jar, from the cache."""
    jar = cache_dir() / "flight-sql-jdbc" / f"flight-sql-jdbc-driver-{VERSION}.jar"
    missing = [name for name in ("java", "javac", "mvn") if shutil.which(name) is None]
    if missing and not os.environ.get("K2CTL_REQUIRE_KAFKA"):
        pytest.skip(f"{missing[0]} is not installed")
    if not jar.exists():
        artifact = f"-Dartifact=org.apache.arrow:flight-sql-jdbc-driver:{VERSION}"
        copy = ["org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy", f"-DoutputDirectory={jar.parent}"]
        subprocess.run(["mvn", "-q", "-B", *copy, artifact], check=True, capture_output=True, timeout=280)
    return jar


def test_a_program_of_java_asks_with_name_and_key(driver: Path, served: Service) -> None:
    command = ["java", OPENED, "-cp", str(driver), str(PROGRAM), str(served.flight_port), KEY]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == [
        "of k2ctl, read only: true",
        "table memory.main.trades",
        "table memory.main.trades_raw",
        "column price DECIMAL",
        "keys: false",
        f"S00 10.950000000000 {WHOLE // 20} true",
        f"prepared {WHOLE // 20}",
        "prepared 0",
        "first 5",
        'refused: Error while executing SQL "DELETE FROM trades": Only a single SELECT is run.',
        'refused: Error while executing SQL "SELECT nothing FROM trades": The query cannot be answered: '
        'Binder Error: Referenced column "nothing" not found in FROM clause!',
        "kept out: org.apache.arrow.driver.jdbc.shaded.org.apache.arrow.flight.FlightRuntimeException: "
        "UNAUTHENTICATED: A key is needed.",
    ], done.stderr[-2000:]
