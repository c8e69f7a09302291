"""The lines that a run logs, read without TensorFlow."""

import json
import os

METRICS_FILE = 'metrics.jsonl'
EVALUATION = 'eval/'  # what names of figures of an evaluation begin with


def read_metrics(workdir: str) -> list[dict[str, float]]:
    """The lines of a run's metrics.jsonl; a last line that was torn by a kill is left out."""
    path = os.path.join(workdir, METRICS_FILE)
    lines: list[dict[str, float]] = []
    if os.path.isfile(path):
        with open(path, encoding='utf-8') as file:
            for text in file:
                try:
                    lines.append(json.loads(text))
                except json.JSONDecodeError:
                    break
    return lines


def is_evaluation(line: dict[str, float]) -> bool:
    """Whether a line holds the figures of an evaluation."""
    return any(name.startswith(EVALUATION) for name in line)
