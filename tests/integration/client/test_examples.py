"""The examples of the documents, as they stand there, against a service and its stack."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.made_trades import NEWEST
from tests.support.api import Service
from tests.support.flight import KEY

ROOT = Path(__file__).parent.parent.parent.parent
pytestmark = pytest.mark.filterwarnings("ignore:Cannot disable autocommit")


def examples(document: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.S)


def run(example: str, service: Service) -> dict[str, Any]:
    """What the example leaves; the service stands at another port here, and wants a key."""
    keyed = f'"grpc://127.0.0.1:{service.flight_port}", db_kwargs={{"username": "me", "password": KEY}}'
    example = example.replace('"grpc://127.0.0.1:8701")', f"{keyed})").replace("8701", str(service.flight_port))
    example = re.sub(r"^( *)(cursor\.execute.*)$", r"\1found = \2", example, flags=re.M)
    names: dict[str, Any] = {"KEY": KEY}
    exec(compile(example, "example", "exec"), names)
    return names


def test_the_examples_of_the_readme(noted: Service, at_the_stack: None) -> None:
    (example,) = examples("README.md")
    assert run(example, noted)["found"] == (NEWEST,)


def test_the_examples_for_notebooks(noted: Service, at_the_stack: None) -> None:
    (example,) = examples("k2ctl/client/README.md")
    example = example.replace('"BHP", "RIO"', '"BHP", "S00"')
    assert run(example, noted)["frame"].shape[0] == NEWEST


def test_the_examples_for_adbc(noted: Service) -> None:
    (example,) = examples("k2ctl/flight/README.md")
    assert run(example, noted)["trades"].num_rows == NEWEST
