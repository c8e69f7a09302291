"""The page's own modules, in Node, for tests."""

import json
import subprocess
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent / 'page'


def run_module(script: str) -> Any:
    """What a module's script prints as JSON."""
    done = subprocess.run(
        ['node', '--input-type=module', '--eval', script],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
