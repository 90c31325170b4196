"""The parent's end of the process that answers: asks, interrupts, and ends it where a query does not end."""

import multiprocessing
import os
import signal
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Final

from k2ctl.commands.shell.completion import KnownNames
from k2ctl.commands.shell.worker import Answered, AskedQuery, AskNames, QueryBegun, answer_all
from k2ctl.console import err
from k2ctl.endurance import Endurance
from k2ctl.errors import ExitCode, K2Error, TooLarge, TooLong
from k2ctl.log import LogSettings
from k2ctl.signals import ENDING, held_back

_LOOK_EVERY_S: Final = 0.02
_INTERRUPTED_S: Final = 1.0
"""How long an interrupted query may take to end by itself."""
_NAMES_WITHIN_S: Final = 3.0


class Answering:
    """A process that answers one question after the other; another one takes its place when it was ended."""

    def __init__(self, log: LogSettings) -> None:
        self._log = log
        self.names = KnownNames()
        self._naming = False
        self._process: BaseProcess
        self._pipe: Connection
        self._start()

    def __enter__(self) -> "Answering":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=answer_all, args=(theirs, self._log, os.getpid()), daemon=True)
        with held_back(*ENDING):
            self._process.start()
        theirs.close()
        self._naming = False

    def _end(self) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.join()

    def ask_names(self, *, symbols: bool) -> None:
        """Ask for the names of completion; they come when they are there."""
        if not self._naming:
            self._naming = True
            self._pipe.send(AskNames(symbols))

    def named(self, *, symbols: bool) -> KnownNames:
        """The names by now; those that are missing are asked for, and waited for a moment."""
        self._await_names()
        if not self.names.columns or (symbols and self.names.symbols is None):
            self.ask_names(symbols=symbols)
            self._await_names()
        return self.names

    def _await_names(self) -> None:
        if self._naming and self._pipe.poll(_NAMES_WITHIN_S):
            self._received()

    def ask(self, question: AskedQuery) -> Answered:
        """Have a question answered, and shown, within its limits. Ctrl-C ends the question, and not the shell.

        Raises:
            TooLong, TooLarge: it was ended. K2Error: the process has died.
        """
        try:
            self._pipe.send(question)
            return self._answer(question)
        except KeyboardInterrupt:
            return self._interrupted()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self._process.join()
            code = self._process.exitcode
            self._again()
            why = f"by {signal.Signals(-code).name}" if code is not None and code < 0 else f"with exit code {code}"
            raise K2Error(
                f"The query's process was ended {why}.",
                "The machine may be short of memory: a smaller --memory-mb, or a query that holds less.",
            ) from None

    def _answer(self, question: AskedQuery) -> Answered:
        endurance: Endurance | None = None
        while True:
            if self._pipe.poll(_LOOK_EVERY_S):
                reply = self._received()
                if isinstance(reply, Answered):
                    return reply
                if isinstance(reply, QueryBegun):
                    endurance = Endurance(self._process.pid or 0, question.seconds, question.memory_mb)
            elif endurance is not None:
                try:
                    endurance.check()
                except (TooLong, TooLarge):
                    self._again()
                    raise

    def _received(self) -> Any:
        reply = self._pipe.recv()
        if isinstance(reply, KnownNames):
            self._naming = False
            symbols = self.names.symbols if reply.symbols is None else reply.symbols
            self.names = KnownNames(reply.columns or self.names.columns, symbols)
        return reply

    def _interrupted(self) -> Answered:
        """End the query that is being answered. On a terminal Ctrl-C has reached its process too."""
        os.kill(self._process.pid or 0, signal.SIGINT)
        until_s = time.monotonic() + _INTERRUPTED_S
        try:
            while (left_s := until_s - time.monotonic()) > 0:
                if self._pipe.poll(left_s) and isinstance(reply := self._received(), Answered):
                    return replace(reply, code=ExitCode.INTERRUPTED)
        except (EOFError, OSError, KeyboardInterrupt):
            pass
        self._again()
        err().print("k2ctl: Interrupted.", style="red")
        return Answered(ExitCode.INTERRUPTED, 0.0)

    def _again(self) -> None:
        self._end()
        self._start()
