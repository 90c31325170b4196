"""The usual names of a trade's fields, as venues and vendors write them; the earlier ones are the better."""

from collections.abc import Callable
from typing import Final

from k2ctl.feeds.guess.columns import SampleColumn

_NAMES: Final = {
    "symbol": "symbol sym ticker productid instid instrumentname pair currencypair tradingpair coin security"
    " securitysymbol instrument contract contractcode ric s isin code stock underlying market marketid asset"
    " instrumentid securityid name kafkakey",
    "price": "price px tradeprice lastprice lastpx tradepx executionprice execprice execpx fillprice fillpx matchprice"
    " dealprice p rate last",
    "quantity": "quantity qty size sz amount volume vol tradevolume tradesize tradequantity tradeqty lastqty lastsize"
    " lastsz lastshares shares execqty execsize fillqty filledqty fillsize baseqty basevolume baseamount matchsize"
    " s v q a contracts lots units",
    "timestamp": "timestamp tsevent eventtime exchangetimestamp exchangetime participanttimestamp transacttime"
    " transacttimestamp transactiontime tradetime tradetimestamp tradets siptimestamp time datetime ts executedat"
    " executiontime exectime filltime matchtime matchedat createdat created t timems timens tradetimems timestampms"
    " timestampus timestampns timestampnanos utctime epoch occurredat at date",
    "received": "ingestiontimestamp tsrecv localtimestamp localtime receivedat receivetime recvtime receivetimestamp"
    " recvtimestamp arrivaltime capturetime",
    "side": "side takerside aggressorside aggressor tradeside takerorderside initiator direction dir buysell bs s",
    "buyer_is_maker": "isbuyermaker buyermaker buyerismaker m",
    "is_buy": "isbuy buy isbuyertaker buyertaker",
    "trade_id": "tradeid id tid aggtradeid aggregatetradeid tradenumber tradeno matchid matchnumber execid"
    " executionid dealid dealno fillid trdmatchid transactid transactionid tradeuuid uuid uid"
    " tradeuid guid messageid eventid i a t",
    "sequence": "sourcesequence sequence sequencenumber seq seqnum seqno seqnumber seqid sequenceid msgseqnum"
    " crossseq q",
    "exchange": "exchange venue mic marketcenter exch lastmkt exchangename exchangecode ex market",
    "currency": "currency quotecurrency quoteccy ccy pricecurrency settlementcurrency tradecurrency quoteasset quote",
    "conditions": "tradeconditions conditions saleconditions salecondition condition tradecondition conditioncodes"
    " qualifiers tradequalifiers cond c",
    "day": "date day tradedate tradingday tradeday sessiondate exchangedate",
    "clock": "time clock timeofday tradetime exchangetime",
}

USUAL: Final = {field: names.split() for field, names in _NAMES.items()}

CORRECTIONS: Final = ("correction", "tradecorrectionindicator", "correctionindicator", "cancel", "cancelled", "busted")
"""Columns that say of a print that it corrects or cancels one: what their values mean, each venue defines."""


_ENDINGS: Final = {
    "symbol": ("symbol", "ticker"),
    "price": ("price", "px"),
    "quantity": ("quantity", "qty", "size", "volume", "amount"),
    "timestamp": ("timestamp", "time", "datetime"),
    "side": ("side",),
    "trade_id": ("tradeid",),
    "sequence": ("sequence", "sequencenumber", "seqnum"),
}
"""What other names may end with."""

_OF_OTHERS: Final = (
    "bid", "ask", "open", "high", "low", "close", "avg", "average", "limit", "stop", "mark", "index", "cum", "total",
    "quote", "prev", "settle", "vwap", "best", "min", "max", "tick", "lot", "server", "update", "local", "receive",
    "recv", "ingest", "expir", "matur", "order",
)  # fmt: skip
"""What a name begins with that ends as one of a trade's, and is of something else."""


def usual(
    field: str, columns: list[SampleColumn], test: Callable[[SampleColumn], object] = lambda _: True
) -> SampleColumn | None:
    """The column with the best name for a field, of those that pass a test of their values."""
    names = USUAL[field]
    fit = [column for column in columns if column.key in names and test(column)]
    if not fit:
        fit = [column for column in columns if _ends_well(column.key, field) and test(column)]
        names = [column.key for column in fit]

    def rank(column: SampleColumn) -> tuple[bool, int, int]:
        return column.is_around, names.index(column.key), column.path.count(".")

    return min(fit, key=rank, default=None)


def _ends_well(key: str, field: str) -> bool:
    return key.endswith(_ENDINGS.get(field, ("\0",))) and not key.startswith(_OF_OTHERS)
