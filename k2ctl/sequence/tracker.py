"""Step 4: follow the venue's sequence numbers; find gaps, late arrivals, copies and restarts.

What the numbers are is declared (`SequenceSettings`): what counts them (a channel: a symbol, an exchange, a partition),
whether they are dense, so that one that is left out is missing, and whether a trade says which session it is of. The
kind of a trade with a dense number n, at exchange time t, by the highest number h and latest time l of its channel:

    OK            n = h + 1, or the channel's first trade
    GAP           n > h + 1: numbers (h, n) are missing; large from a hundred on
    RESET         n ≤ h and t > l, where n was there already, or t is a minute and more after l: the venue restarts
    OUT_OF_ORDER  n < h otherwise, and n was missing; or a trade of the run before the restart
    DUPLICATE     n ≤ h otherwise: the number was there, under another id (the same id does not come past step 3)

A gap is OPEN until it is FILLED by late arrivals, LOST when it is open for longer than the deadline (a later arrival
still fills it), or EXPLAINED: its trades were deferred, or the venue has restarted its count.

With sessions nothing is a RESET: each session of a channel is a channel of its own, whose numbers begin at 1. Numbers
that are only ordered have no gaps: n < h is OUT_OF_ORDER, or a RESET where t is a minute and more after l.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from k2ctl.clock import Clock, SystemClock
from k2ctl.domain.intervals import NUMBER_BITS
from k2ctl.domain.status_parts import SequenceCounts
from k2ctl.profiles.model import SequenceSettings
from k2ctl.sequence.channels import MAX_CHANNEL_GAPS, MAX_GAPS, NEVER_US, Channels, Gap, OpenGaps


@dataclass(frozen=True)
class SequenceRules:
    """The limits of sequence tracking."""

    # Missing numbers from which a gap is large.
    large_gap: int = 100
    # How long a gap may stay open.
    lost_after_s: float = 900.0
    # A number that falls while exchange time advances by more is a restart.
    new_session_s: float = 60.0
    # A symbol without a trade for so long is idle.
    idle_after_s: float = 300.0


@dataclass
class SequenceTotals:
    """Those of the counts that only grow."""

    in_order: int = 0
    out_of_order: int = 0
    resets: int = 0
    untracked: int = 0
    duplicates: int = 0
    small_gaps: int = 0
    large_gaps: int = 0
    filled_gaps: int = 0
    explained_by_reset: int = 0
    unverified: int = 0


_WALK_TRADES = 1_024


@dataclass(frozen=True)
class _Batch:
    """n trades sorted by channel, in order of arrival within each: int64[n] columns. sent_us: when each was sent."""

    channel: np.ndarray
    number: np.ndarray
    time_us: np.ndarray
    sent_us: np.ndarray

    def at(self, where: np.ndarray | slice) -> "_Batch":
        return _Batch(self.channel[where], self.number[where], self.time_us[where], self.sent_us[where])

    def __len__(self) -> int:
        return len(self.channel)


class SequenceTracker:
    """Follows every channel, batch by batch. What it knows can be cut out and restored: `state_sync`.

    settings: what the numbers are. knows_begin: a session whose first trades were not noted lacks them; False while the
    trades that are noted may begin within a session.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        rules: SequenceRules | None = None,
        settings: SequenceSettings | None = None,
        *,
        knows_begin: bool = True,
    ) -> None:
        self._settings = settings or SequenceSettings()
        self.knows_begin = knows_begin
        self.channels = Channels(self._settings)
        self.gaps = OpenGaps(MAX_CHANNEL_GAPS if self._settings.spans_symbols else MAX_GAPS)
        self._clock = clock or SystemClock()
        self._rules = rules or SequenceRules()
        self._totals = SequenceTotals()
        self._explained = 0
        self._explained_gaps = OpenGaps()
        # Of the run before the present one, by channel: what its restart has explained.
        self.past_gaps = OpenGaps()
        self.has_restarts = False
        self._is_outstanding: Callable[[int, Gap], bool] = lambda _channel, _gap: False

    def step(self, trades: np.ndarray, partition: np.ndarray | None = None) -> None:
        """Take note of n trades (dtype `TRADE.message`), in the order of each partition.

        partition: int32[n], where each was read; what is published to the state store is kept by partition.
        """
        self._note(trades, partition)

    def note_deferred(self, trades: np.ndarray, partition: np.ndarray | None = None) -> None:
        """Take note of trades that are shed or spilled: their numbers are missing for a known reason."""
        self._explained += self._note_uncounted(trades, partition)

    def start_counting(self) -> None:
        """Begin the totals at zero: what was noted so far came from the table, not from the feed."""
        self._totals = SequenceTotals(unverified=self._totals.unverified)

    def count_on(self, before: "SequenceTracker") -> None:
        """Begin the totals where another's stand: the same consumer's, of the partitions that it held before."""
        self._totals = replace(before._totals, unverified=self._totals.unverified)

    def begin_sessions(self) -> None:
        """All trades that there are were noted, so what precedes the first one of a session is missing."""
        channels = self.channels
        if not (self._settings.has_sessions and self._settings.is_dense):
            return
        for channel in np.flatnonzero(channels.first[: len(channels)] > 1).tolist():
            opened_us = min(int(channels.seen_us[channel]), self._clock.now_us())
            gap = Gap(1, int(channels.first[channel]), opened_us, NEVER_US, int(channels.latest_us[channel]))
            (self._explained_gaps if self._is_outstanding(channel, gap) else self.gaps).open(channel, gap)
            channels.first[channel], channels.dirty[channel] = 1, True
            self._totals.unverified -= 1

    def note_backfilled(self, trades: np.ndarray, partition: np.ndarray, resolved: int) -> None:
        """Take note of trades that were deferred, perhaps by a process before this one, and are stored now.

        resolved: how many of the trades that were deferred are no longer outstanding, stored or not.
        """
        if self._settings.numbers == "none":
            return
        channel = self.channels.numbers_of(trades, partition)
        filled = self._fill_explained(channel, trades["source_sequence"])
        self._explained = max(0, self._explained - (resolved - filled))
        # A number above all of a channel's present run that is no later than it is of a run before.
        above = trades["source_sequence"].astype(np.int64) > self.channels.highest[channel]
        past = above & (trades["event_ns"] // 1000 <= self.channels.latest_us[channel])
        self._note_uncounted(trades[~past], partition[~past])

    def _fill_explained(self, channel: np.ndarray, number: np.ndarray) -> int:
        """Fill the explained gaps with numbers that are stored now; returns how many those are."""
        within = np.isin(channel, list({explained for explained, _ in self._explained_gaps}))
        filled = 0
        for one, missing in zip(channel[within].tolist(), number[within].tolist(), strict=True):
            if self._explained_gaps.holds(one, missing):
                self._explained_gaps.fill(one, missing)
                filled += 1
        return filled

    def explain_by(self, is_outstanding: Callable[[int, Gap], bool]) -> None:
        """Explain, now and from here on, the gaps of a channel for which `is_outstanding`: their trades were deferred.

        What this process defers it knows; what others did before it shows as a gap once a later trade comes.
        """
        self._is_outstanding = is_outstanding
        self._move(self.gaps, self._explained_gaps, is_outstanding)

    def review_explained(self) -> None:
        """Open the explained gaps whose trades are no longer outstanding: what backfill did not bring is missing."""
        self._move(self._explained_gaps, self.gaps, lambda channel, gap: not self._is_outstanding(channel, gap))

    def _move(self, source: OpenGaps, target: OpenGaps, moves: Callable[[int, Gap], bool]) -> None:
        for channel in {channel for channel, _ in source}:
            gaps = source.of(channel)
            moved = [gap for gap in gaps if moves(channel, gap)]
            if moved:
                source.restore(channel, [gap for gap in gaps if gap not in moved])
                target.restore(channel, sorted([*target.of(channel), *moved]))
                self.channels.dirty[channel] = True

    def counts(self) -> SequenceCounts:
        """Totals, and what is open, lost and idle now."""
        now_us, channels = self._clock.now_us(), self.channels
        gaps = self.gaps.counts(now_us - round(self._rules.lost_after_s * 1e6))
        idle = channels.seen_us[: len(channels)] < now_us - round(self._rules.idle_after_s * 1e6)
        return SequenceCounts(
            open_gaps=gaps.open_gaps,
            missing_trades=gaps.open_numbers,
            lost_gaps=gaps.lost_gaps,
            lost_trades=gaps.lost_numbers,
            explained=self._explained + self._explained_gaps.missing,
            symbols=len(channels),
            idle_symbols=int(idle.sum()),
            **vars(self._totals),
        )

    def _note_uncounted(self, trades: np.ndarray, partition: np.ndarray | None) -> int:
        """Take note of trades that are not in order, late or copies, because they do not come from the feed now."""
        totals = self._totals
        counted = (totals.in_order, totals.out_of_order, totals.duplicates)
        tracked = self._note(trades, partition)
        totals.in_order, totals.out_of_order, totals.duplicates = counted
        return tracked

    def _note(self, trades: np.ndarray, partition: np.ndarray | None) -> int:
        """Take note of those that have a sequence number; returns how many."""
        tracked = trades["source_sequence"] < np.uint64((1 << NUMBER_BITS) - 1)
        if self._settings.numbers == "none":
            tracked[:] = False
        if not tracked.all():
            self._totals.untracked += int((~tracked).sum())
            trades, partition = trades[tracked], None if partition is None else partition[tracked]
        if not len(trades):
            return 0
        channel = self.channels.numbers_of(trades, partition)
        order = self._order(trades, channel)
        batch = _Batch(
            channel[order],
            trades["source_sequence"][order].view(np.int64),
            trades["event_ns"][order] // 1000,
            trades["received_ns"][order] // 1000,
        )
        starts = _starts_of(batch)
        ends = np.append(starts[1:], len(batch)) - 1
        present = batch.channel[starts]
        if partition is not None:
            self.channels.partition[present] = partition[order[ends]]
        self.channels.dirty[present] = True
        sent_us = np.maximum.reduceat(batch.sent_us, starts)
        self.channels.seen_us[present] = np.maximum(self.channels.seen_us[present], sent_us)
        if self._settings.has_sessions:
            self._begin_sessions(batch, starts)
        self._sort_out(batch, starts)
        return len(batch)

    def _order(self, trades: np.ndarray, channel: np.ndarray) -> np.ndarray:
        """Positions by channel, in the order of arrival within each.

        Partitions are read one after the other, so the trades of a channel over several are put in the order of time.
        """
        if self._settings.spans_symbols:
            return np.lexsort((trades["source_sequence"], trades["event_ns"], channel))
        # Stable, and by radix where the numbers fit into two bytes: four times as fast.
        return np.argsort(channel.astype(np.uint16) if len(self.channels) < 1 << 16 else channel, kind="stable")

    def _begin_sessions(self, batch: _Batch, starts: np.ndarray) -> None:
        """Sessions that are new begin at 1, whatever their first trade."""
        present = batch.channel[starts]
        new = (self.channels.highest[present] < 0) & (np.minimum.reduceat(batch.number, starts) > 0)
        if self.knows_begin and self._settings.is_dense:
            self.channels.highest[present[new]], self.channels.first[present[new]] = 0, 1

    def _sort_out(self, batch: _Batch, starts: np.ndarray) -> None:
        """Channels in which no number falls go on together; the others one by one."""
        before = self._high_before(batch)
        falls = batch.number <= before if self._settings.is_dense else batch.number < before
        if self.has_restarts:
            falls |= batch.time_us < self.channels.begun_us[batch.channel]
        if not falls.any():
            self._note_rising(batch, before, starts)
            return
        falling = np.logical_or.reduceat(falls, starts)
        ends = np.append(starts[1:], len(batch))
        steady = np.repeat(~falling, ends - starts)
        if steady.any():
            rest = batch.at(steady)
            self._note_rising(rest, before[steady], _starts_of(rest))
        walk = self._walk_piece if self._settings.is_dense else self._walk_ordered
        for start, end in zip(starts[falling].tolist(), ends[falling].tolist(), strict=True):
            self._walk(batch.at(slice(start, end)), walk)

    def _is_past(self, channel: int, number: int, time_us: int) -> bool:
        """Whether a trade from before the begin of the present run is of the run before; else it began the present."""
        later_us = time_us - int(self.channels.past_latest_us[channel])
        return (
            later_us <= 0
            or number > self.channels.past_highest[channel]
            or (self.past_gaps.holds(channel, number) and later_us < self._rules.new_session_s * 1e6)
        )

    def _note_past(self, channel: int, number: int, time_us: int) -> None:
        """A trade of the run before: what is missing from that run is explained by the restart."""
        channels, totals = self.channels, self._totals
        highest = int(channels.past_highest[channel])
        if not self._settings.is_dense:
            totals.out_of_order += 1
            return
        if self.past_gaps.holds(channel, number):
            self.past_gaps.fill(channel, number)
            # One that another process has explained is not among the totals.
            totals.explained_by_reset = max(0, totals.explained_by_reset - 1)
        elif number <= highest:
            totals.duplicates += 1
            return
        elif number > highest + 1:
            gap = Gap(highest + 1, number, self._clock.now_us(), int(channels.past_latest_us[channel]), time_us)
            self.past_gaps.open(channel, gap)
            totals.explained_by_reset += gap.missing
        totals.out_of_order += 1
        channels.past_highest[channel] = max(highest, number)
        channels.past_latest_us[channel] = max(int(channels.past_latest_us[channel]), time_us)

    def _high_before(self, batch: _Batch) -> np.ndarray:
        """For each trade the highest number of its channel that came before, int64[n]; -1 where there is none."""
        lifted: np.ndarray = (batch.channel << NUMBER_BITS) | (batch.number + 1)
        running = np.maximum.accumulate(lifted)
        before = np.zeros(len(batch), np.int64)
        same = batch.channel[1:] == batch.channel[:-1]
        before[1:] = np.where(same, running[:-1] & ((1 << NUMBER_BITS) - 1), 0)
        return np.asarray(np.maximum(before - 1, self.channels.highest[batch.channel]))

    def _note_rising(self, batch: _Batch, before: np.ndarray, starts: np.ndarray) -> None:
        """Trades of channels in which every number is higher than all before it."""
        channels, totals = self.channels, self._totals
        present = batch.channel[starts]
        new = channels.highest[present] < 0
        if new.any():
            first = batch.number[starts[new]]
            channels.first[present[new]] = first
            totals.unverified += int((first > 1).sum()) if self._settings.is_dense else 0
        jumps = np.flatnonzero((batch.number > before + 1) & (before >= 0) & self._settings.is_dense)
        segments = np.searchsorted(starts, jumps, side="right") - 1
        ends = np.append(starts[1:], len(batch))
        for segment in np.unique(segments).tolist():
            own = batch.at(slice(starts[segment], ends[segment]))
            latest = self._latest_before(own)
            for at in (jumps[segments == segment] - starts[segment]).tolist():
                start = int(before[starts[segment] + at]) + 1
                self._open(int(own.channel[at]), start, int(own.number[at]), own, at, latest)
        channels.highest[present] = np.maximum.reduceat(batch.number, starts)
        channels.latest_us[present] = np.maximum(
            channels.latest_us[present], np.maximum.reduceat(batch.time_us, starts)
        )
        totals.in_order += len(batch)

    def _latest_before(self, batch: _Batch) -> np.ndarray:
        """For trades of one channel: the latest exchange time before each, int64[n]."""
        return np.maximum.accumulate(np.append(self.channels.latest_us[batch.channel[0]], batch.time_us))[:-1]

    def _open(self, channel: int, start: int, after: int, batch: _Batch, at: int, latest: np.ndarray) -> None:
        """The trade at a position reveals that the numbers [start, after) are missing. latest: `_latest_before`."""
        sent_us, now_us = int(batch.sent_us[at]), self._clock.now_us()
        opened_us = min(sent_us, now_us) if sent_us > 0 else now_us
        gap = Gap(start, after, opened_us, int(latest[at]), int(batch.time_us[at]))
        if self._is_outstanding(channel, gap):
            self._explained_gaps.open(channel, gap)
            return
        self.gaps.open(channel, gap)
        if after - start >= self._rules.large_gap:
            self._totals.large_gaps += 1
        else:
            self._totals.small_gaps += 1

    def _walk(self, batch: _Batch, piece: Callable[[_Batch], int]) -> None:
        """Trades of one channel, some of which have numbers that fall. piece: walks as far as the first restart."""
        begun_us = self.channels.begun_us
        while len(batch):
            # In bounded pieces, so that a feed that restarts at every other trade costs no square of the batch.
            part = batch.at(slice(_WALK_TRADES))
            channel, number, time_us = (int(column[0]) for column in (part.channel, part.number, part.time_us))
            early = np.flatnonzero(part.time_us < begun_us[channel])
            if not len(early) or early[0]:
                batch = batch.at(slice(piece(part.at(slice(int(early[0]) if len(early) else None))), None))
            elif self._is_past(channel, number, time_us):
                self._note_past(channel, number, time_us)
                batch = batch.at(slice(1, None))
            else:
                begun_us[channel] = time_us

    def _walk_ordered(self, batch: _Batch) -> int:
        """As `_walk_piece`, of numbers that are only ordered."""
        channel, channels = int(batch.channel[0]), self.channels
        high = np.maximum.accumulate(np.append(channels.highest[channel], batch.number))[:-1]
        falls = batch.number < high
        later_us = batch.time_us - np.maximum(self._latest_before(batch), -(1 << 62))
        restarts = np.flatnonzero(
            falls & (later_us >= self._rules.new_session_s * 1e6) & (not self._settings.has_sessions)
        )
        end = int(restarts[0]) if len(restarts) else len(batch)
        if channels.highest[channel] < 0:
            channels.first[channel] = batch.number[0]
        self._note_walked(channel, batch.at(slice(end)), falls[:end])
        self._totals.out_of_order += int(falls[:end].sum())
        if end < len(batch):
            self._begin_run(channel, batch, end)
            end += 1
        return end

    def _walk_piece(self, batch: _Batch) -> int:
        """As far as the first restart, or all of it; returns how many trades that are.

        Only trades that jump or fall are looked at one by one; those in between need no look.
        """
        channel, channels = int(batch.channel[0]), self.channels
        high = np.maximum.accumulate(np.append(channels.highest[channel], batch.number))[:-1]
        latest = self._latest_before(batch)
        if high[0] < 0:
            channels.first[channel] = batch.number[0]
            self._totals.unverified += int(batch.number[0] > 1)
        falls = batch.number <= high
        jumps = (batch.number > high + 1) & (high >= 0)
        for at in np.flatnonzero(falls | jumps).tolist():
            if jumps[at]:
                self._open(channel, int(high[at]) + 1, int(batch.number[at]), batch, at, latest)
            elif self._restarts(channel, batch, at, int(latest[at])):
                self._note_walked(channel, batch.at(slice(at)), falls[:at])
                self._begin_run(channel, batch, at)
                return int(at) + 1
            else:
                self._late(channel, batch, at, latest)
        self._note_walked(channel, batch, falls)
        return len(batch)

    def _restarts(self, channel: int, batch: _Batch, at: int, latest_us: int) -> bool:
        """Whether a number that falls begins a new run: time goes on, and the number was there or time jumps."""
        later_us = int(batch.time_us[at]) - latest_us
        if later_us <= 0 or self._settings.has_sessions:
            return False
        number = int(batch.number[at])
        there = number >= self.channels.first[channel] and not self.gaps.holds(channel, number)
        return there or later_us >= self._rules.new_session_s * 1e6

    def _late(self, channel: int, batch: _Batch, at: int, latest: np.ndarray) -> None:
        """A number that falls within its run."""
        number, first = int(batch.number[at]), int(self.channels.first[channel])
        if number < first:
            if number + 1 < first:
                self._open(channel, number + 1, first, batch, at, latest)
            self.channels.first[channel] = number
        elif self.gaps.holds(channel, number):
            self._totals.filled_gaps += self.gaps.fill(channel, number)
        else:
            self._totals.duplicates += 1
            return
        self._totals.out_of_order += 1

    def _note_walked(self, channel: int, batch: _Batch, falls: np.ndarray) -> None:
        """Move the channel's highest number and latest time past the trades that were walked over."""
        if len(batch):
            channels = self.channels
            channels.highest[channel] = max(channels.highest[channel], batch.number.max())
            channels.latest_us[channel] = max(channels.latest_us[channel], batch.time_us.max())
            self._totals.in_order += len(batch) - int(falls.sum())

    def _begin_run(self, channel: int, batch: _Batch, at: int) -> None:
        """The trade at a position is the first of a new run."""
        self.has_restarts = True
        left = self.gaps.clear(channel)
        self.past_gaps.restore(channel, left)
        self._totals.resets += 1
        self._totals.explained_by_reset += sum(gap.missing for gap in left)
        self._explained += sum(gap.missing for gap in self._explained_gaps.clear(channel))
        self.channels.begin_run(channel, int(batch.time_us[at]))
        self._note_rising(batch.at(slice(at, at + 1)), np.array([-1]), np.array([0]))


def _starts_of(batch: _Batch) -> np.ndarray:
    """Where each channel begins."""
    return np.flatnonzero(np.append(True, batch.channel[1:] != batch.channel[:-1])[: len(batch)])
