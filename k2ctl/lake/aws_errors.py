"""The errors of AWS's client, where it is installed."""

from typing import Final


def _known() -> tuple[type[Exception], ...]:
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ModuleNotFoundError:  # then there is no Glue either
        return ()
    return (BotoCoreError, ClientError)


AWS_ERRORS: Final[tuple[type[Exception], ...]] = _known()
