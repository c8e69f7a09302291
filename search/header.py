"""What a workdir was begun with: the same command goes on with it, another one is refused."""

import json
from pathlib import Path
from typing import Any

from train.files import write_json

HEADER = 'search.json'


def begin(workdir: Path, values: dict[str, Any]) -> None:
    """Makes the workdir, or sees that it holds what the same values began.

    Raises:
      ValueError: it was begun with other values, which are named.
    """
    header = json.loads(json.dumps(values))
    path = workdir / HEADER
    if path.is_file():
        try:
            known = json.loads(path.read_text(encoding='utf-8'))
            differing = [name for name in header if known.get(name) != header[name]]
        except (ValueError, AttributeError) as error:
            raise ValueError(
                f'{path} is no header of a search ({error}); use another --workdir'
            ) from None
        if differing:
            raise ValueError(
                f'{workdir} holds another search, with another {", ".join(differing)}; give '
                'the same values, or use another --workdir'
            )
        return
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(path, header)
