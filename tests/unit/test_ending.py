"""How a command ends that a signal has interrupted, whatever was under way."""

import pytest

from k2ctl.ending import concluded
from k2ctl.errors import ExitCode


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), RuntimeError("Query interrupted"), SystemError("<function> returned with an exception set")],
    ids=lambda error: type(error).__name__,
)
def test_an_interruption_is_one_line_also_where_a_library_calls_it_otherwise(
    error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        raise error from KeyboardInterrupt()

    assert concluded(work, "k2ctl") == ExitCode.INTERRUPTED
    assert capsys.readouterr().err == "k2ctl: Interrupted.\n"
