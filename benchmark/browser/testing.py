"""What tests of the browser's page share: what a phone's page says of itself, its modules in Node."""

import json
import subprocess
from pathlib import Path
from typing import Any

from benchmark.browser.posted import Posted

PAGE = Path(__file__).parent / 'page'

HELLO = {
    'id': '0123456789abcdef' * 2,
    'user_agent': 'Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) '
    'Chrome/140.0.0.0 Mobile Safari/537.36',
    'model': 'Pixel 3',
    'hardware_concurrency': 8,
    'cross_origin_isolated': False,
    'screen_width': 393,
    'screen_height': 786,
    'pixel_ratio': 2.75,
    'clock_step_ms': 0.1,
    'wake_lock': True,
}


def posted(**values: object) -> Posted:
    """What a page posts."""
    return Posted(json.dumps(values).encode())


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
