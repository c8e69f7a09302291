"""The card beside a .tflite file, as a file: where it lies, read and written."""

import json
import os
from pathlib import Path

from train.files import write_json


def card_path(model_path: str | os.PathLike) -> Path:
    """Where the card of a .tflite file lies: the same name with .json."""
    return Path(model_path).with_suffix('.json')


def write_card(model_path: str | os.PathLike, card: dict) -> None:
    """Writes the card of a file beside it."""
    write_json(card_path(model_path), card)


def read_card(model_path: str | os.PathLike) -> dict | None:
    """Reads the card of a file; None where it has none.

    Raises:
      ValueError: the card is not a JSON object.
    """
    path = card_path(model_path)
    if not path.is_file():
        return None
    try:
        card = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as e:
        raise ValueError(f'card {path} is not JSON: {e}; export again or remove it') from None
    if not isinstance(card, dict):
        raise ValueError(f'card {path} is no JSON object; export again or remove it')
    return card
