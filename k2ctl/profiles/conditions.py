"""Which prints count for a bar: a table of condition codes per market, in YAML as profiles are."""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from k2ctl.errors import ProfileError
from k2ctl.home import shipped
from k2ctl.profiles import strict_yaml
from k2ctl.profiles.loader import file_at, load_model, model_of
from k2ctl.profiles.model import MarketSettings
from k2ctl.profiles.section import Section


def _is_code(text: str) -> str:
    from k2ctl.domain.trade import CONDITION_BYTES  # numpy, which a bill does without

    if not 1 <= len(text) <= CONDITION_BYTES or not all("!" <= character <= "~" for character in text):
        raise ValueError(f"a code has 1 to {CONDITION_BYTES} printable ASCII characters")
    return text


Code = Annotated[str, AfterValidator(_is_code)]


class Rule(Section):
    """What prints with one of some codes count for. Of several codes of a print, each takes away what it denies."""

    codes: Annotated[tuple[Code, ...], Field(min_length=1)]
    high_low: bool = True
    # Open and close. `only`: if no other print of the bar counts for them.
    last: bool | Literal["only"] = True
    # And vwap.
    volume: bool = True
    note: str = ""


class ConditionTable(Section):
    """The codes of a market. What is not named counts for everything."""

    name: Annotated[str, Field(min_length=1)]
    description: str
    # Where the rules are from.
    source: str
    # `characters`: each character of a text is a code; `words`: each text is one.
    codes: Literal["characters", "words"]
    # Texts that make a print a cancellation.
    cancels: tuple[Code, ...] = ("CANC",)
    rules: tuple[Rule, ...] = ()

    @model_validator(mode="after")
    def _each_code_once(self) -> "ConditionTable":
        codes = [code for rule in self.rules for code in rule.codes]
        twice = next((code for code in codes if codes.count(code) > 1), None)
        if twice is not None:
            raise ValueError(f"the code {twice} is in two rules")
        long = next((code for code in codes if len(code) > 1), None)
        if self.codes == "characters" and long is not None:
            raise ValueError(f"the code {long} has more than one character")
        return self

    def without(self, what: Literal["high_low", "last", "only", "volume"]) -> list[str]:
        """The codes of prints that do not count for something; `only`: of those that count for open and close alone."""
        if what == "only":
            return [code for rule in self.rules if rule.last == "only" for code in rule.codes]
        return [code for rule in self.rules if getattr(rule, what) is False for code in rule.codes]


_OF_EXCHANGES: Final = {
    "asx": ("ASX", "XASX", "CXA", "CXAC", "CHIA"),
    "us-tape": (
        "NYSE", "XNYS", "NASDAQ", "XNAS", "ARCA", "ARCX", "AMEX", "XASE", "BATS", "BZX", "BATY", "EDGX", "EDGA", "IEX",
        "IEXG", "MEMX", "EPRL", "LTSE", "24EQ", "TXSE", "XCHI", "XCIS", "XISE", "CBSX", "XPHL", "XPSX", "XBOS", "XADF",
        "FINR", "FINN", "FINC", "FINY", "OOTC", "FINRA", "SIP", "CTA", "UTP", "US", "USA", "EQUS",
    ),
}  # fmt: skip
"""The tables of exchanges of equities whose profile names none."""


def table_names() -> list[str]:
    """The tables that k2ctl ships."""
    return sorted(path.stem for path in (shipped("profiles") / "conditions").glob("*.yaml"))


def conditions_of(market: MarketSettings) -> ConditionTable:
    """The table that a market names, or the one of its asset class and exchange.

    Raises:
        ProfileError: there is no such table, or a mistake in it.
    """
    return load_conditions(market.conditions or default_table(market.asset_class, market.exchange))


def tables_of_exchanges(market: MarketSettings) -> dict[str, ConditionTable]:
    """The tables of exchanges whose trades a topic of equities may have beside its market's, as replays send them.

    None where the market names a table, which is that of all.
    """
    if market.conditions is not None or market.asset_class != "equities":
        return {}
    tables = {name: load_conditions(name) for name in _OF_EXCHANGES}
    return {exchange: tables[name] for name, exchanges in _OF_EXCHANGES.items() for exchange in exchanges}


def default_table(asset_class: str, exchange: str) -> str:
    """The name of the table of a market that names none."""
    if asset_class != "equities":
        return "all"
    return next((name for name, exchanges in _OF_EXCHANGES.items() if exchange in exchanges), "all")


def load_conditions(name_or_path: str) -> ConditionTable:
    """A shipped table by name, or any file by path.

    Raises:
        ProfileError: there is no such table, or a mistake in it.
    """
    names = table_names()
    if name_or_path in names:
        return load_model(shipped("profiles") / "conditions" / f"{name_or_path}.yaml", ConditionTable)
    path = file_at(name_or_path)
    if path is None:
        raise ProfileError(
            f"There is no table of conditions '{name_or_path}', neither shipped nor as a file.",
            f"Shipped tables: {', '.join(names)}. A path works too: conditions: /etc/k2/venue.yaml",
        )
    return load_model(path, ConditionTable)


def text_of_file(name_or_path: str) -> str:
    """The YAML of a table that is a file of its own; empty for a shipped one."""
    path = None if name_or_path in table_names() else file_at(name_or_path)
    return "" if path is None else strict_yaml.read_text(path)


def conditions_in(place: str, text: str) -> ConditionTable:
    """A table of its YAML. place: as errors name it.

    Raises:
        ProfileError: there is a mistake in it.
    """
    return model_of(place, text, ConditionTable)[0]
