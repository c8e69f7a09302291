"""The export stage: a trained network to .tflite files, each verified and with a card."""

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import tensorflow as tf
import tf_keras
from ml_collections import ConfigDict

from export import convert, layers, metadata
from export.calibrate import Loss, calibrate
from export.card import make_card
from export.deploy import HardSwishForm, deploy_form, deploy_graph
from export.finetune import finetune, imitating_loss, quantized_run
from export.graph import Graph, build
from export.mediapipe_tasks import MediaPipeTask
from export.products import PRODUCTS
from export.quantize import Ranges, quantized_model, to_pixel_grid
from export.sensitivity import Sensitivity
from export.start import Trained
from export.verify import Verifier
from export.whole_numbers import whole_number_model
from train import loop
from train.card_file import write_card
from train.classes import check_labels
from train.data.pipeline import images_at_once
from train.files import write_file, write_json
from train.run import Run
from train.task import Outputs

Method = Literal['qat', 'ptq']
SCHEMES = ('int8', 'int16x8', 'dynamic', 'float16')
DETECTION_LOSS = ('focal_alpha', 'focal_gamma', 'box_weight')  # what it reads of config.detection
LAYER_IMAGES = 4  # at least, for the comparison layer by layer


@dataclasses.dataclass(frozen=True)
class Options:
    """What to write.

    Attributes:
      output: folder for the files; made where it is missing.
      schemes: of SCHEMES, beside float32.
      method: 'qat' trains the int8 network after calibration, 'ptq' does not.
      io: type of the int8 file's input and output.
      outputs: what files give, of the task's `export.products`; '' is the task's first.
      hard_swish: 'auto' is fused where activations are floats and decomposed where they are not.
      metadata: whether files carry what MediaPipe Tasks asks for.
      labels: names of the classes for metadata and card, where they are not the dataset's.
    """

    output: str
    schemes: tuple[str, ...] = ()
    method: Method = 'qat'
    io: convert.IOType = 'uint8'
    outputs: str = ''
    hard_swish: Literal['auto'] | HardSwishForm = 'auto'
    metadata: bool = False
    labels: tuple[str, ...] | None = None


def export(
    trained: Trained,
    options: Options,
    recipe: ConfigDict,
    strategy: tf.distribute.Strategy | None = None,
) -> list[str] | None:
    """Writes the float32 file and one of each scheme.

    Args:
      trained: the network.
      options: what to write.
      recipe: of `configs/quantize.py`: calibration and quantization-aware training.
      strategy: where to train.

    Returns:
      The files written, each with a card beside it; None if a signal stopped the training, which
      the same command continues.

    Raises:
      ValueError: an option does not fit the network, or the network cannot be quantized.
    """
    _check(trained, options, recipe)
    try:
        os.makedirs(options.output, exist_ok=True)
    except OSError as e:
        raise ValueError(f'cannot make --output={options.output}: {e}') from None
    stage = _Stage(trained, options, recipe, strategy)
    stage.check_training()
    paths = []
    for scheme in ('float32', *options.schemes):
        path = stage.write(scheme)
        if path is None:
            return None
        paths.append(path)
    return paths


class _Stage:
    """One network on its way to several files, which share what is costly to compute."""

    def __init__(
        self,
        trained: Trained,
        options: Options,
        recipe: ConfigDict,
        strategy: tf.distribute.Strategy | None,
    ) -> None:
        self._trained, self._options, self._strategy = trained, options, strategy
        self._recipe = recipe
        self._task = trained.run.make_task()
        self._products = PRODUCTS[trained.run.config.task]
        self._product = self._products.make(options.outputs, self._task)
        self._verifier = Verifier(self._task, self._products, self._product, trained.source.val)

    def check_training(self) -> None:
        """Sees that a training which is there is of this network, before any file is replaced."""
        if 'int8' in self._options.schemes and self._options.method == 'qat':
            workdir = self._training_folder(self._form('int8'))
            if os.path.isdir(workdir):
                loop.find_checkpoint(
                    self._quantized_run, self._trained.source, workdir, write=False
                )

    def write(self, scheme: str) -> str | None:
        """Converts, writes, verifies and describes one file; None where training was stopped."""
        form = self._form(scheme)
        if scheme == 'int8':
            quantized = self._quantized(form)
            if quantized is None:
                return None
            content = convert.convert_int8(quantized, self._product.finish, io=self._options.io)
        else:
            quantized, content = None, self._convert(scheme, form)
        path = self._path(scheme, form)
        write_file(path, self._with_metadata(content, scheme))
        evaluation = self._verify(path, quantized)
        if quantized is not None:
            evaluation['layers'] = self._compare_layers(path, quantized)
        card = make_card(
            path,
            self._trained.run,
            scheme=scheme,
            step=self._trained.step,
            evaluation=evaluation,
            labels=self._options.labels or self._trained.run.labels,
            hard_swish=form,
            method=self._options.method if scheme == 'int8' else None,
            given=self._product.given,
        )
        write_card(path, card)
        return path

    def _form(self, scheme: str) -> HardSwishForm:
        if self._options.hard_swish != 'auto':
            return self._options.hard_swish
        # Only float activations have a delegated HARD_SWISH.
        return 'decomposed' if scheme in ('int8', 'int16x8') else 'fused'

    def _path(self, scheme: str, form: HardSwishForm) -> str:
        other = '' if self._options.hard_swish == 'auto' else f'_{form}'
        name = f'{self._trained.run.spec.name}_{scheme}{other}{self._product.suffix}.tflite'
        return os.path.join(self._options.output, name)

    def _convert(self, scheme: str, form: HardSwishForm) -> bytes:
        model = deploy_form(self._trained.model, hard_swish=form)
        finish = self._product.finish
        if scheme == 'int16x8':
            return convert.convert_int16(model, self._calibration_batch['image'], finish)
        converters: dict[str, Callable[..., bytes]] = {
            'float32': convert.convert_float,
            'dynamic': convert.convert_dynamic,
            'float16': convert.convert_float16,
        }
        return converters[scheme](model, finish)

    def _quantized(self, form: HardSwishForm) -> tf_keras.Model | None:
        """The quantized model, calibrated and, where it is asked for, trained."""
        graph = deploy_graph(self._trained.model, hard_swish=form)
        ranges = self._ranges(graph, form)
        if self._options.method == 'ptq':
            return quantized_model(graph, ranges)
        workdir = self._training_folder(form)
        return finetune(
            self._quantized_run, self._trained.source, graph, ranges, workdir, self._strategy
        )

    def _training_folder(self, form: HardSwishForm) -> str:
        return os.path.join(self._options.output, f'{self._trained.run.spec.name}_{form}_training')

    @functools.cached_property
    def _quantized_run(self) -> Run:
        trained = self._trained
        return quantized_run(
            trained.run, self._recipe, trained.model, trained.source.train.num_examples
        )

    def _ranges(self, graph: Graph, form: HardSwishForm) -> Ranges:
        """Calibrates, or reads what an earlier call on the same network found."""
        quantize, config = self._recipe.quantize, self._quantized_run.config
        path = Path(self._options.output, f'{graph.name}_{form}_ranges.json')
        made_of = {
            'weights': config.quantize.source,
            'images': self._calibration_checksum(),
            'loss': {
                'label_smoothing': config.train.label_smoothing,
                'class_weights': list(config.train.class_weights),
                **{field: config.detection[field] for field in DETECTION_LOSS},
            },
            'distill': self._recipe.distill.to_dict(),
            'calibration_images': quantize.calibration_images,
            'search_images': quantize.search_images,
        }
        if path.is_file():
            saved = json.loads(path.read_text(encoding='utf-8'))
            if saved.get('made_of') == made_of:
                return {name: (low, high) for name, (low, high) in saved['ranges'].items()}
        count = self._search_count
        ranges = calibrate(
            graph,
            self._calibration_batch['image'],
            search_images=count,
            loss=self._search_loss(graph, count),
        )
        write_json(path, {'made_of': made_of, 'ranges': ranges})
        return ranges

    @property
    def _search_count(self) -> int:
        """Of how many images all answers are held at once."""
        count = self._recipe.quantize.search_images
        return images_at_once(count, self._task.resolution) if count else 0

    def _search_loss(self, graph: Graph, count: int) -> Loss | None:
        """The loss of training, of the answers to the first calibration images."""
        if not count:
            return None
        task = self._quantized_run.make_task()
        batch = {name: values[:count] for name, values in self._calibration_batch.items()}
        taught = build(graph)(batch['image'], training=False)
        return lambda answers: tf.reduce_mean(imitating_loss(task, answers, batch, taught))

    def _calibration_checksum(self) -> str:
        digest = hashlib.sha256()
        for _, values in sorted(self._calibration_batch.items()):
            digest.update(values.tobytes())
        return digest.hexdigest()

    @functools.cached_property
    def _calibration_batch(self) -> dict[str, np.ndarray]:
        """Examples of the training set as evaluation sees them, in a fixed random order."""
        task, train = self._task, self._trained.source.train
        count = images_at_once(self._recipe.quantize.calibration_images, task.resolution)
        count = min(count, train.num_examples)
        examples = train.shuffled(0, 0).take(count).map(task.eval_example)
        whole = examples.map(self._products.calibration).batch(count)
        return next(whole.map(task.eval_batch).as_numpy_iterator())

    def _with_metadata(self, content: bytes, scheme: str) -> bytes:
        reader = self._product.mediapipe
        if not self._options.metadata or not isinstance(reader, MediaPipeTask):
            return content
        run = self._trained.run
        return metadata.add_metadata(
            content,
            reader,
            name=run.spec.name,
            description=f'{run.spec.name}, {scheme}, trained on {run.config.data.dataset}',
            labels=self._options.labels or run.labels,
        )

    def _verify(self, path: str, quantized: tf_keras.Model | None) -> dict:
        floats = functools.partial(self._trained.model, training=False)
        whole = None
        if quantized is not None:
            answers_of = whole_number_model(quantized)

            def whole(images: tf.Tensor) -> Outputs:
                return answers_of(to_pixel_grid(images))

        evaluation = self._verifier.verify(path, floats, whole)
        return {**evaluation, 'agreement_is': self._products.agreement_is}

    def _compare_layers(self, path: str, quantized: tf_keras.Model) -> dict:
        """Writes the table and the plot of all layers; what the card says of them."""
        images = self._calibration_batch['image']
        differences = layers.compare_layers(
            quantized, Path(path).read_bytes(), images[:LAYER_IMAGES]
        )
        noise_images = max(self._search_count, LAYER_IMAGES)
        ranking = Sensitivity(quantized, images[:noise_images]).ranking()
        stem = os.path.splitext(path)[0]
        table = layers.layers_table(differences, dict(ranking))
        write_file(f'{stem}_layers.md', table.encode())
        layers.plot_layers(f'{stem}_layers.png', differences, dict(ranking))
        return {
            **layers.summarize_layers(differences),
            'costliest_in_int8': dict(ranking[:5]),
        }


def _check(trained: Trained, options: Options, recipe: ConfigDict) -> None:
    unknown = set(options.schemes) - set(SCHEMES)
    if unknown:
        raise ValueError(
            f'unknown scheme {sorted(unknown)[0]!r}; expected some of {", ".join(SCHEMES)}'
        )
    labels, task = trained.run.labels, trained.run.make_task()
    check_labels(options.labels, len(labels), 'the network', task.config.task)
    for field, least in (('calibration_images', 1), ('search_images', 0)):
        if recipe.quantize[field] < least:
            raise ValueError(
                f'config.quantize.{field} is {recipe.quantize[field]}; expected {least} or more'
            )
    if options.hard_swish == 'fused' and 'int16x8' in options.schemes:
        raise ValueError(
            '--hard_swish=fused does not go with --scheme=int16x8: TFLite has no int16 HARD_SWISH; '
            'use --hard_swish=auto'
        )
    products = PRODUCTS[task.config.task]
    product = products.make(options.outputs, task)
    if 'int16x8' in options.schemes and not product.finish.typed:
        fitting = [name for name in products.kinds if products.make(name, task).finish.typed]
        raise ValueError(
            '--scheme=int16x8 does not go with these outputs, whose last op TFLite has not in int16; '
            f'use --outputs={" or ".join(fitting)}'
        )
    reader = product.mediapipe
    if options.metadata and isinstance(reader, str):
        raise ValueError(f'--metadata does not go with these outputs: {reader}')
    if options.metadata and options.io == 'int8' and 'int8' in options.schemes:
        raise ValueError(
            '--metadata does not go with --io=int8, which MediaPipe refuses; use uint8'
        )
    if options.metadata and not metadata.available():
        raise ValueError(f'--metadata needs MediaPipe, which is not installed: {metadata.INSTALL}')
