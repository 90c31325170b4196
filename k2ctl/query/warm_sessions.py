"""Sessions of a process that answers question after question: metadata and tail stay in memory between them."""

from collections.abc import Sequence

from k2ctl.clock import SystemClock
from k2ctl.endpoints import Endpoints
from k2ctl.errors import K2Error
from k2ctl.lake.catalog import Lake
from k2ctl.lake.snapshots import Pinned, TableFollower
from k2ctl.profiles import Profile
from k2ctl.profiles.universe import Universe
from k2ctl.query.ahead import LookAhead
from k2ctl.query.history import History
from k2ctl.query.session import Session
from k2ctl.query.stream import KafkaStreams, Stream
from k2ctl.query.tail import TailLimits
from k2ctl.query.warm_streams import WarmStreams


class WarmSessions:
    """What sessions of one stack share. The tail is read from Kafka by each question, until `follow`. Thread-safe.

    limits: of a tail that is read from Kafka, where memory does not have it.
    """

    def __init__(self, endpoints: Endpoints, profile: Profile, limits: TailLimits | None = None) -> None:
        self._endpoints, self._limits = endpoints, limits
        self._universe = Universe(profile)
        self._lake = Lake.at(endpoints)
        self.table = TableFollower(self._lake)
        self._cold = KafkaStreams(endpoints, profile)
        self.tail = WarmStreams(self._cold, self.table.pin)
        self._is_followed = False
        self._ahead: LookAhead | None = None
        self._shared: History | None = None  # the DuckDB of all sessions, and of what is opened ahead

    def follow(self) -> None:
        """From now on follow the topics that the table has."""
        if self._is_followed:
            return
        self._is_followed = True
        try:
            pinned = self.table.pin()
        except K2Error:  # the next question says why
            pinned = None
        self.tail(pinned)
        self._look_ahead()

    def session(self) -> Session:
        """Another session, to be closed before these sessions are; all share one DuckDB."""
        self._shared = self._shared or History(self._lake)
        lake, clock = Lake.at(self._endpoints), SystemClock()
        session = Session(lake, self._streams, clock, self._limits, self._universe, self.table.pin, self._shared)
        self._look_ahead()
        return session

    def _look_ahead(self) -> None:
        """Once there is a session, and the stream is followed."""
        if self._ahead is None and self._shared is not None and self._is_followed:
            self._ahead = LookAhead(self.table.pin, History(self._lake, self._shared))

    def _streams(self, pinned: Pinned | None) -> Sequence[Stream]:
        return (self.tail if self._is_followed else self._cold)(pinned)

    def close(self) -> None:
        """End the following. Sessions are closed by who has them."""
        if self._ahead is not None:
            self._ahead.close()
        self._shared = None  # not closed: DuckDB refuses that while a query of a session still runs
        self.tail.close()
        self._lake.close()
