"""What is bad in a dataset: named, counted and left out, or too much of it."""

import sys
from collections.abc import Sequence

from ml_collections import ConfigDict

MOST_NAMED = 5  # of the bad ones in a message


def skip_or_stop(faults: Sequence[str], total: int, what: str, config: ConfigDict) -> None:
    """Warns of what is left out of a dataset, and stops where that is too much.

    Args:
      faults: what is wrong, one text for each of the bad ones.
      total: how many there are, good and bad.
      what: they are, and why they are bad; "train images cannot be decoded".
      config: the `data` part of a config.

    Raises:
      ValueError: they are more than `config.max_bad_fraction` of all, or all.
    """
    if not faults:
        return
    message = f'{len(faults)} of {total} {what}: {name_some(faults)}'
    if len(faults) > config.max_bad_fraction * total or len(faults) == total:
        raise ValueError(
            f'{message}. That is more than config.data.max_bad_fraction = '
            f'{config.max_bad_fraction:g}: mend or remove them, or raise the fraction'
        )
    warn(f'{message}; they are skipped')


def name_some(faults: Sequence[str]) -> str:
    """The first few in words."""
    return '; '.join(faults[:MOST_NAMED]) + ('; …' if len(faults) > MOST_NAMED else '')


def warn(message: str) -> None:
    """A line for the user; results go elsewhere."""
    print(f'warning: {message}', file=sys.stderr)
