"""The state store in Redis: one hash per partition, moved by one script, in one round trip.

Layout, with `<ns>` as `k2:{<table uuid>:<topic>}`:

    <ns>:sequence:<partition>   hash   exchange/symbol → packed state (`k2ctl.sequence.symbol_state`: 66 bytes, 40 more
    per gap)
                                       @fence          → epoch, offset, commit id and time of the last publication

A hash is forgotten seven days after its last publication; its symbols are not forgotten one by one. Measured on Redis
7.0 with `MEMORY USAGE`: 140 bytes a symbol without gaps (10,000 symbols in 64 partitions: 1.40 MB), 32 to 48 more for
each gap (172 with one, 220 with two); 131 to 134 bytes in hashes of up to 32.

A publication of 10,000 trades over 500 symbols took 3 to 9 ms, on a machine that others shared.

The script compares the fence before it writes. So a consumer whose partition another one has taken over writes nothing,
and one whose Redis came back empty, or without its last second (AOF everysec), is refused, and publishes all it has.
"""

import logging
from collections.abc import Collection, Sequence
from typing import Any, Final

from k2ctl.errors import StateError
from k2ctl.sequence.redis_connection import TIMEOUT_S, RedisConnection, is_other_type, raise_other_than_damage
from k2ctl.sequence.state_store import Fence, PartitionState, PartitionStatistics, StoreStatistics, Update, namespace_of
from k2ctl.sequence.symbol_state import unpack

LOG: Final = logging.getLogger("k2ctl.sequence")

TTL_S: Final = 7 * 86_400
FENCE_FIELD: Final = b"@fence"
"""No name of a symbol: those have a slash."""
DAMAGES_KEPT: Final = 3

_PUBLISH: Final = """
local function fence_of(key)
  local found = redis.pcall('HGET', key, '@fence')
  if found == false then return '', nil end
  if type(found) == 'string' then
    if #found < 500 and string.find(found, '^[!-~]*\\t%d+\\t[!-~]*\\t%d+$') then return found, nil end
    return '', 'a fence that cannot be read'
  end
  if string.find(found.err, 'WRONGTYPE', 1, true) then return '', 'a ' .. redis.call('TYPE', key).ok end
  return nil, found
end

local at, refused, damaged = 2, {}, {}
for k = 1, #KEYS do
  local base, fence, whole, n = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  local first, last = at + 4, at + 3 + 2 * n
  at = last + 1
  local found, damage = fence_of(KEYS[k])
  if not found then return damage end
  if damage then
    damaged[#damaged + 1] = KEYS[k]
    damaged[#damaged + 1] = damage
  end
  if found == base then
    if whole == '1' or damage then redis.call('DEL', KEYS[k]) end
    for i = first, last, 2000 do
      redis.call('HSET', KEYS[k], unpack(ARGV, i, math.min(i + 1999, last)))
    end
    redis.call('HSET', KEYS[k], '@fence', fence)
    redis.call('EXPIRE', KEYS[k], ARGV[1])
  else
    refused[#refused + 1] = k
    refused[#refused + 1] = found
  end
end
return {refused, damaged}
"""
"""Values first, the fence last. Out of memory, Redis refuses the first write, so nothing is half done.

A key of another type, or whose fence cannot be read, counts as empty: whoever publishes the partition as a whole
replaces it, because all that it can contain is in the table.
"""


class RedisStateStore:
    """State in Redis. Nothing is sent before the first call; every call ends within about a second."""

    def __init__(self, url: str, platform: str, topic: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._namespace = namespace_of(platform, topic)
        self._damaged: tuple[str, ...] = ()
        self._connection = RedisConnection(url, timeout_s)
        self._client = self._connection.client

    @property
    def kind(self) -> str:
        return "redis"

    def load(self, partitions: Collection[int]) -> dict[int, PartitionState]:
        """Everything of some partitions, in one pipeline of HGETALLs."""
        wanted = list(partitions)
        with self._connection.talking():
            pipeline = self._client.pipeline(transaction=False)
            for partition in wanted:
                pipeline.hgetall(self._key(partition))
            answers: list[Any] = pipeline.execute(raise_on_error=False) if wanted else []
            for answer in answers:
                raise_other_than_damage(answer)
        found = {}
        for partition, values in zip(wanted, answers, strict=True):
            try:
                fence = Fence.loads(_fence_of(values))
            except StateError as error:
                self._note_damage(self._key(partition), str(error))
                continue
            if fence is not None:
                values.pop(FENCE_FIELD)
                found[partition] = PartitionState(fence, values)
        return found

    def publish(self, updates: Sequence[Update]) -> dict[int, Fence | None]:
        if not updates:
            return {}
        with self._connection.talking():
            answer: Any = self._client.eval(*self._call(updates))
        return self._refused(updates, answer)

    def _refused(self, updates: Sequence[Update], answer: Any) -> dict[int, Fence | None]:
        refused, damaged = answer
        for key, damage in zip(damaged[::2], damaged[1::2], strict=True):
            self._note_damage(key.decode(), f"it held {damage.decode()}")
        numbers, fences = refused[::2], refused[1::2]
        return {
            updates[number - 1].partition: Fence.loads(found) for number, found in zip(numbers, fences, strict=True)
        }

    def _note_damage(self, key: str, damage: str) -> None:
        note = f"{key}: {damage}"
        if note not in self._damaged:
            LOG.warning("a key of the state store counts as empty", extra={"key": key, "error": damage})
            self._damaged = (*self._damaged, note)[-DAMAGES_KEPT:]

    def _call(self, updates: Sequence[Update]) -> tuple[Any, ...]:
        """The script with its keys and arguments."""
        arguments: list[Any] = [TTL_S]
        for update in updates:
            base = update.base.dumps() if update.base else b""
            arguments += [base, update.fence.dumps(), int(update.whole), len(update.values)]
            for item in update.values.items():
                arguments += item
        return (_PUBLISH, len(updates), *(self._key(update.partition) for update in updates), *arguments)

    @property
    def damaged(self) -> tuple[str, ...]:
        return self._damaged

    def statistics(self) -> StoreStatistics:
        """Counts, bytes and fences, and Redis' own memory and policy."""
        with self._connection.talking():
            keys = self._connection.keys(f"{self._namespace}:sequence:")
            pipeline = self._client.pipeline(transaction=False)
            for key in keys:
                pipeline.hgetall(key)
                pipeline.memory_usage(key, samples=0)
                pipeline.ttl(key)
            answers = pipeline.execute(raise_on_error=False) if keys else []
            for answer in answers:
                raise_other_than_damage(answer)
            server = self._connection.server()
        partitions, damaged = [], []
        for number, key in enumerate(keys):
            try:
                partitions.append(_statistics(key, answers[3 * number : 3 * number + 3]))
                unpack([value for name, value in answers[3 * number].items() if name != FENCE_FIELD])
            except StateError as error:
                damaged.append(f"{key.decode(errors='replace')}: {error}")
        return StoreStatistics(
            self.kind,
            self._namespace,
            tuple(sorted(partitions, key=lambda found: found.partition)),
            server,
            tuple(damaged),
        )

    def close(self) -> None:
        self._connection.close()

    def _key(self, partition: int) -> str:
        return f"{self._namespace}:sequence:{partition}"


def _fence_of(values: Any) -> bytes:
    """The fence of a hash; empty where there is none.

    Raises:
        StateError: the key is no hash, or one without a fence.
    """
    if is_other_type(values):
        raise StateError("it is no hash; another program has written it")
    if values and not values.get(FENCE_FIELD):
        raise StateError("it has no fence; another program has written it")
    return bytes(values.get(FENCE_FIELD, b""))


def _statistics(key: bytes, answer: list[Any]) -> PartitionStatistics:
    """Of one key.

    Raises:
        StateError: it has a content that no consumer has written.
    """
    values, size, ttl_s = answer
    number = key.rpartition(b":")[2]
    if not (number.isdigit() and len(number) < 10):
        raise StateError("its name ends with no partition")
    fence = Fence.loads(_fence_of(values))
    expires_s = None if ttl_s < 0 else float(ttl_s)
    return PartitionStatistics(int(number), len(values) - 1, size or 0, expires_s, fence)
