"""The exceptions that a person is meant to read: each carries an exit code and what to type next."""

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command; scripts rely on them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNHEALTHY = 3
    INTERRUPTED = 130
    READER_GONE = 141
    """As a shell has it of programs that SIGPIPE ends: whoever read the output has closed it."""


class K2Error(Exception):
    """A foreseen failure: one line that says what is wrong, and `hint`, one line that says what to do."""

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(K2Error):
    """The command line asks for something that does not exist."""

    exit_code = ExitCode.USAGE


class ProfileError(UsageError):
    """A profile, or a file it names, is not as expected: names file, line and dotted key."""


class StackError(K2Error):
    """The stack could not be started, reached or stopped."""

    exit_code = ExitCode.UNHEALTHY


class NotRunning(StackError):
    """No stack is running, so there is nothing to talk to."""

    def __init__(self, message: str = "No K2 stack is running.") -> None:
        super().__init__(message, "Start one with: k2ctl stack up")


class BrokerError(K2Error):
    """Kafka did not do what was asked."""


class BrokerUnanswered(BrokerError):
    """Kafka does not answer now; the same may work when it is asked again."""


class NotAllowed(BrokerError):
    """Kafka answers, and this user may not do what was asked."""


class LakeError(K2Error):
    """The table or its catalog is not in a state that can be trusted, or cannot be reached."""


class LakeUnanswered(LakeError):
    """The catalog or the warehouse does not answer now; the same may work when it is asked again."""


class RolledBack(LakeError):
    """The table's current snapshot is not built upon the commit that its offsets are from."""


class OffsetsDiffer(LakeError):
    """The offsets in the table's properties are not those of their second copy."""


class UnknownTable(LakeError):
    """The place of a table holds metadata that its catalog does not know: the catalog was lost, or rolled back."""


class DamagedFile(LakeError):
    """A file of the table is not what was written. Asking again does not help."""


class StateError(K2Error):
    """The state store does not answer, refuses to write, or holds what cannot be read."""


class FencedError(LakeError):
    """Another consumer has committed past the offsets that this one started from."""


class TooLong(K2Error):
    """A query was ended because its time was over."""

    def __init__(self) -> None:
        super().__init__("The query took longer than it may.", "Ask for less: a shorter window, fewer symbols.")


class TooLarge(K2Error):
    """A query was ended because of the memory that it held."""

    def __init__(self) -> None:
        super().__init__("The query took more memory than it may.", "Have it hold less, or give it more: --memory-mb")


def first_line(error: BaseException) -> str:
    """What an exception says, in one line; its type where it says nothing."""
    if type(error).__module__.startswith("pydantic") and hasattr(error, "errors"):
        from k2ctl.mistakes import first_of

        return first_of(error)
    return next(iter(str(error).splitlines()), type(error).__name__)


class CheckFailed(K2Error):
    """A check on live figures fell short."""

    exit_code = ExitCode.UNHEALTHY


class Infeasible(CheckFailed):
    """A plan that cannot work, with the reasons; it has no cost."""

    def __init__(self, plan: str, reasons: Sequence[str]) -> None:
        listed = "\n".join(f"  - {reason}" for reason in reasons)
        super().__init__(f"{plan} cannot work:\n{listed}", "Change what the reasons name: --set key=value")
