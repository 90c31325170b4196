"""The offsets at which past embedded Kafkas ended, as this machine knows them."""

import json
from pathlib import Path
from typing import Final

from k2ctl.files import write_atomically
from k2ctl.home import Home

HighWatermarks = dict[str, dict[int, int]]
"""topic → partition → high watermark"""

_PAST_EPOCHS_KEPT: Final = 100


def _past_epochs_file(home: Home | None) -> Path:
    return (home or Home.of_user()).path / "past_epochs.json"


def save_past_epoch(epoch: str, marks: HighWatermarks, home: Home | None = None) -> None:
    """Write down how far an embedded Kafka has come that is about to go, so that what was unread counts as lost."""
    epochs = {**past_epochs(home), epoch: marks}
    kept = dict(list(epochs.items())[-_PAST_EPOCHS_KEPT:])
    write_atomically(_past_epochs_file(home), json.dumps(kept))


def past_epochs(home: Home | None = None) -> dict[str, HighWatermarks]:
    """How far each embedded Kafka had come when it was stopped, oldest first; one that was killed is not in it."""
    try:
        raw = json.loads(_past_epochs_file(home).read_text())
        return {
            epoch: {topic: {int(p): high for p, high in highs.items()} for topic, highs in topics.items()}
            for epoch, topics in raw.items()
        }
    except (OSError, ValueError, AttributeError):
        return {}


def forget_past_epochs(home: Home | None = None) -> None:
    """The lake that they belong to is deleted."""
    _past_epochs_file(home).unlink(missing_ok=True)
