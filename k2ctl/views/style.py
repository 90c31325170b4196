"""How numbers and levels look, everywhere alike."""

from typing import Final

from rich.text import Text

LEVEL_STYLES: Final = {
    "NORMAL": "bold green",
    "SOFT": "bold cyan",
    "GRACEFUL": "bold yellow",
    "AGGRESSIVE": "bold dark_orange",
    "CIRCUIT_BREAK": "bold red",
}

ACTION_SIGNS: Final = {"process": ("●", "green"), "spill": ("▪", "yellow"), "shed": ("○", "dark_orange")}
"""Priority × action as one sign and a colour; the sign alone is enough where there is no colour."""


def bar(share: float, width: int) -> Text:
    """A share from 0 to 1 as a bar."""
    filled = min(width, max(0, round(share * width)))
    style = "red" if share >= 0.9 else "yellow" if share >= 0.7 else "green"
    return Text.assemble(("█" * filled, style), ("░" * (width - filled), "dim"))


def count(value: float) -> str:
    """A count in four characters or so: 950, 12.3k, 4.56M."""
    for limit, divisor, suffix in ((1_000, 1, ""), (1_000_000, 1_000, "k"), (1_000_000_000, 1_000_000, "M")):
        if abs(value) < limit:
            scaled = value / divisor
            return f"{scaled:.0f}{suffix}" if divisor == 1 or scaled >= 100 else f"{scaled:.3g}{suffix}"
    return f"{value / 1e9:.3g}G"


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 file, 2,000 files."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def seconds(value: float) -> str:
    """A duration: 340 ms, 4.2 s, 3 min 20 s, 2 h 5 min."""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.1f} s"
    if value < 3600:
        return f"{value // 60:.0f} min {value % 60:.0f} s"
    return f"{value // 3600:.0f} h {value % 3600 // 60:.0f} min"


def size(value: float) -> str:
    """Bytes: 512 B, 12.3 KB, 4.5 MB; powers of ten."""
    for limit, divisor, suffix in ((1e3, 1, "B"), (1e6, 1e3, "KB"), (1e9, 1e6, "MB")):
        if value < limit:
            return f"{value / divisor:.3g} {suffix}"
    return f"{value / 1e9:.3g} GB"
