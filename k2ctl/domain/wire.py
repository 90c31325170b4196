"""How a topic's record values are written: the profile names a format, and everybody decodes by it."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np

from k2ctl.domain.json_trade import decode_json, encode_json
from k2ctl.domain.topics import WireFormat
from k2ctl.domain.trade import Decoded, decode, frames


class Codec(NamedTuple):
    """encode: trades and trades per record → record values. decode: record values → trades and what is broken."""

    encode: Callable[[np.ndarray, int], list[bytes]]
    decode: Callable[[Sequence[bytes]], Decoded]


CODECS: Final[dict[WireFormat, Codec]] = {"sbe": Codec(frames, decode), "json": Codec(encode_json, decode_json)}
