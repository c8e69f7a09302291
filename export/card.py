"""The card beside a .tflite file: what it is, what it wants, how good it is."""

import dataclasses
import datetime
import importlib.metadata
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mobilenet_v3.spec import ModelSpec
from mobilenet_v3.spec_file import to_dict
from train.tflite_file import dissect, open_interpreter, read_identity

if TYPE_CHECKING:  # the benchmark reads cards without TensorFlow
    from train.run import Run

PREPROCESSING = (
    'RGB, central crop of {crop:g} of each side, bilinear resize to {height}×{width}, '
    'value / 127.5 - 1; a uint8 input takes the pixels as they are'
)


def make_card(
    model_path: str | os.PathLike,
    run: 'Run',
    *,
    scheme: str,
    step: int,
    evaluation: dict | None,
    labels: Sequence[str],
    probabilities: bool,
    hard_swish: str,
    method: str | None,
) -> dict:
    """Describes an exported file, in plain JSON values.

    Args:
      model_path: the file, already written.
      run: what it was trained as.
      scheme: 'float32', 'int8', …
      step: training steps of the checkpoint.
      evaluation: as `export.verify.compare` returns it, and more; None where nobody evaluated it.
      labels: the names of the classes.
      probabilities: whether the file ends with a softmax.
      hard_swish: 'fused' or 'decomposed'.
      method: how an int8 file was quantized: 'ptq' or 'qat'.
    """
    height, width = run.make_task().resolution
    card = make_untrained_card(
        model_path,
        run.spec,
        scheme=scheme,
        probabilities=probabilities,
        hard_swish=hard_swish,
        method=method,
    )
    return {
        **card,
        'task': run.config.task,
        'preprocessing': PREPROCESSING.format(
            crop=run.config.augment.eval_crop, height=height, width=width
        ),
        'evaluation': evaluation,
        'trained_steps': step,
        'config': run.to_state()['config'],
        'labels': list(labels),
    }


def make_untrained_card(
    model_path: str | os.PathLike,
    spec: ModelSpec,
    *,
    scheme: str,
    probabilities: bool,
    hard_swish: str,
    method: str | None,
) -> dict:
    """Describes a file whose network nobody has trained, good for its speed alone.

    It has no config, labels, preprocessing or evaluation. Arguments as of `make_card`.
    """
    sha256, size_bytes = read_identity(model_path)
    interpreter = open_interpreter(model_path)
    return {
        'name': Path(model_path).stem,
        'scheme': scheme,
        'method': method,
        'hard_swish': hard_swish,
        'size_bytes': size_bytes,
        'sha256': sha256,
        'input': _tensor(interpreter.get_input_details()[0]),
        'output': {
            **_tensor(interpreter.get_output_details()[0]),
            'activation': 'softmax' if probabilities else 'none (logits)',
        },
        **dataclasses.asdict(dissect(model_path)),
        'evaluation': None,
        'trained_steps': 0,
        'spec': to_dict(spec),
        'versions': {
            name: importlib.metadata.version(name)
            for name in ('tensorflow', 'tf-keras', 'ai-edge-litert')
        },
        'exported_at': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
    }


def describe(model_path: str | os.PathLike, card: dict) -> str:
    """The card in a line, for a terminal."""
    parts = [
        f'{card["size_bytes"] / 1e6:.2f} MB',
        f'{card["partitions"]} XNNPACK partition{"s" if card["partitions"] != 1 else ""}',
    ]
    evaluation = card.get('evaluation')
    parts += _describe_evaluation(evaluation) if evaluation else ['not evaluated']
    return f'{os.fspath(model_path)}: ' + ', '.join(parts)


def _describe_evaluation(evaluation: dict) -> list[str]:
    parts = [
        f'top-1 {evaluation["file"]["top1"]:.4f} (float {evaluation["float"]["top1"]:.4f}, '
        f'Keras {evaluation["keras"]["top1"]:.4f})',
        f'agreement {evaluation["agreement"]:.4f}',
    ]
    if layers := evaluation.get('layers'):
        departing = layers['first_departing']
        parts.append(f'departs first at {departing}' if departing else 'no layer departs')
        parts.append(f'costliest in int8: {next(iter(layers["costliest_in_int8"]))}')
    return parts


def _tensor(detail: dict) -> dict:
    scale, zero_point = detail['quantization']
    return {
        'shape': [int(side) for side in detail['shape']],
        'dtype': detail['dtype'].__name__,
        'scale': scale,
        'zero_point': zero_point,
    }
