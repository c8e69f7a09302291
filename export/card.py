"""The card beside a .tflite file: what it is, what it wants, how good it is."""

import dataclasses
import datetime
import importlib.metadata
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilenet_v3.spec import ModelSpec
from mobilenet_v3.spec_file import to_dict
from train.tflite_file import dissect, named_outputs, open_interpreter, read_identity

if TYPE_CHECKING:  # the benchmark reads cards without TensorFlow
    from train.run import Run

PREPROCESSING = '{color}, {cut}, bilinear resize to {height}×{width}, value / 127.5 - 1; {pixels}'
COLORS = {3: 'RGB', 1: 'grey as 0.2989 R + 0.587 G + 0.114 B'}  # as tf.image has it
PIXELS = 'a uint8 input takes the pixels as they are, an int8 input the pixels minus 128'
# What of an image a network of each task sees.
CUTS = {
    'classification': 'central crop of {crop:g} of each side',
    'detection': 'the whole image',
    'segmentation': 'the whole image',
}
# How people write the metrics that are to grow.
GOALS = {'top1': 'top-1', 'map': 'mAP', 'miou': 'mIoU'}


@dataclasses.dataclass(frozen=True)
class Given:
    """What a file gives.

    Attributes:
      name: as --outputs of the export has it.
      activation: what its scores have gone through.
      facts: more that a client has to know, plain JSON values.
    """

    name: str = 'logits'
    activation: str = 'none (logits)'
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)


LOGITS = Given()


def make_card(
    model_path: str | os.PathLike,
    run: 'Run',
    *,
    scheme: str,
    step: int,
    evaluation: dict | None,
    labels: Sequence[str],
    hard_swish: str,
    method: str | None,
    given: Given = LOGITS,
) -> dict:
    """Describes an exported file, in plain JSON values.

    Args:
      model_path: the file, already written.
      run: what it was trained as.
      scheme: 'float32', 'int8', …
      step: training steps of the checkpoint.
      evaluation: as `export.verify` returns it, and more; None where nobody evaluated it.
      labels: the names of the classes.
      hard_swish: 'fused' or 'decomposed'.
      method: how an int8 file was quantized: 'ptq' or 'qat'.
      given: what the file gives.
    """
    task = run.make_task()
    height, width = task.resolution
    cut = CUTS[run.config.task].format(crop=run.config.augment.eval_crop)
    card = make_untrained_card(
        model_path, run.spec, scheme=scheme, hard_swish=hard_swish, method=method, given=given
    )
    return {
        **card,
        'task': run.config.task,
        'head': dataclasses.asdict(task.head) if task.head else None,
        'preprocessing': PREPROCESSING.format(
            color=COLORS[run.config.model.input_channels],
            cut=cut,
            height=height,
            width=width,
            pixels=PIXELS,
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
    hard_swish: str,
    method: str | None,
    given: Given = LOGITS,
) -> dict:
    """Describes a file whose network nobody has trained, good for its speed alone.

    It has no config, labels, preprocessing or evaluation. Arguments as of `make_card`.
    """
    sha256, size_bytes = read_identity(model_path)
    interpreter = open_interpreter(model_path)
    outputs = {name: _tensor(detail) for name, detail in named_outputs(interpreter).items()}
    # Of one output its numbers stand beside what it is, of several under their names.
    alone = next(iter(outputs.values())) if len(outputs) == 1 else {}
    return {
        'name': Path(model_path).stem,
        'scheme': scheme,
        'method': method,
        'hard_swish': hard_swish,
        'size_bytes': size_bytes,
        'sha256': sha256,
        'input': _tensor(interpreter.get_input_details()[0]),
        'gives': given.name,
        'output': {**alone, 'activation': given.activation},
        **({} if alone else {'outputs': outputs}),
        **given.facts,
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
    goal = evaluation['goal']
    file, floats, keras = (evaluation[side][goal] for side in ('file', 'float', 'keras'))
    parts = [
        f'{GOALS.get(goal, goal)} {file:.4f} (float {floats:.4f}, Keras {keras:.4f})',
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
