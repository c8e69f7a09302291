"""Compares our int8 files with tf_keras.applications', with a released file and with our float.

The part `int8` of benchmark.peers. In each group the files take turns round by round, one thread,
batch 1. A ratio is our time over the other's: *below* 1 ours is faster, as the targets are written.

- Networks whose weights nobody has trained get BN statistics of a batch; see `untrained.py`.
- The peer's int8 file is what the converter makes by itself of a model of tf_keras.applications:
  `Optimize.DEFAULT`, representative images, uint8 in and out, as ours.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import mobilenet_v3
from benchmark import host
from benchmark.keras_peer import make_peer
from benchmark.latency import Latency, ratio_of
from benchmark.untrained import IO, noise_images, our_float, our_int8, settle_statistics
from train.tflite_file import dissect

if TYPE_CHECKING:
    import tf_keras

RELEASED_WEIGHTS = 'v3-small_224_1.0_dequantized.npz'
RELEASED_FILE = 'v3-small_224_1.0_uint8.tflite'

Files = dict[str, Path]  # of one group, by the name that its lines have


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two files of a group that are compared, by name, and the ratio that is wanted."""

    ours: str
    other: str
    target: float | None = None


LARGE_PAIRS = (
    Pair('V3Large int8', 'V3Large Keras int8', 0.37),
    Pair('V3Large int8', 'V3Large float', 0.55),
    Pair('V3Large int8', 'V2 int8', 1.0),
    Pair('V3Large int8', 'V2 Keras int8', 1.0),
    Pair('V3Large float', 'V3Large plain float'),
)
SMALL_PAIRS = (Pair('V3Small float', 'V3Small plain float'),)
RELEASED_PAIRS = (
    Pair('V3Small int8', 'V3Small released uint8', 0.24),
    Pair('V3Small int8', 'V3Small float'),
    Pair('V3Small int8, fused', 'V3Small int8'),
)


@dataclasses.dataclass(frozen=True)
class Versus:
    """One comparison.

    Attributes:
      what: the names of both files.
      ours_ms, other_ms: medians over all timed runs.
      ratio: our time / the other's, the median over the rounds.
      low_95, high_95: its 95 % interval; None with too few rounds for one.
      target: what the ratio should not exceed; None where there is none.
      met: whether all of the interval keeps to the target.
    """

    what: str
    ours_ms: float
    other_ms: float
    ratio: float
    low_95: float | None
    high_95: float | None
    target: float | None
    met: bool | None

    def __str__(self) -> str:
        line = (
            f'{self.what:<42} {self.ours_ms:6.3f} / {self.other_ms:6.3f} ms  ratio {self.ratio:.3f}'
        )
        if self.low_95 is not None:
            line += f'  95 % [{self.low_95:.3f}, {self.high_95:.3f}]'
        if self.target is None:
            return line
        return f'{line}  target ≤ {self.target:.2f}: {"met" if self.met else "missed"}'


@dataclasses.dataclass(frozen=True)
class FileRow:
    """One file: its median, its XNNPACK partitions and the ops outside them, by name."""

    file: str
    ms: float
    size_mb: float
    partitions: int
    outside: dict[str, int]

    def __str__(self) -> str:
        outside = ', '.join(f'{count} {op}' for op, count in self.outside.items()) or '–'
        return (
            f'{self.file:<24} {self.ms:7.3f} ms {self.size_mb:6.2f} MB '
            f'{self.partitions:3d} partitions  outside: {outside}'
        )


def compare_int8(
    folder: str, *, released: str, resolution: int, rounds: int, runs: int
) -> Iterator[Versus | FileRow]:
    """Rows of every group, as soon as it is measured: the comparisons, then the files.

    Args:
      folder: where the .tflite files go.
      released: folder with the weights and the file of the release; left out, with a line that says
        so, where it does not hold them.
      resolution: of the networks of our weights; the release has 224.
      rounds: turns of each file.
      runs: timed runs in one turn.
    """
    yield from compare(large_files(folder, resolution), LARGE_PAIRS, rounds=rounds, runs=runs)
    yield from compare(small_files(folder, resolution), SMALL_PAIRS, rounds=rounds, runs=runs)
    missing = [x for x in (RELEASED_WEIGHTS, RELEASED_FILE) if not Path(released, x).is_file()]
    if missing:
        print(f'no {" nor ".join(missing)} in --released={released}: left out', flush=True)
        return
    yield from compare(released_files(folder, released), RELEASED_PAIRS, rounds=rounds, runs=runs)


def compare(
    files: Files, pairs: Sequence[Pair], *, rounds: int, runs: int
) -> Iterator[Versus | FileRow]:
    """Measures the files of one group by turns; a row a pair, then a row a file."""
    latencies = host.measure(list(files.values()), rounds=rounds, runs_per_round=runs)
    by_name = dict(zip(files, latencies, strict=True))
    for pair in pairs:
        yield make_versus(pair, by_name)
    for name, latency in by_name.items():
        anatomy = dissect(files[name])
        size_mb = latency.size_bytes / 1e6
        yield FileRow(name, latency.median_ms, size_mb, anatomy.partitions, anatomy.outside)


def make_versus(pair: Pair, latencies: Mapping[str, Latency]) -> Versus:
    """The comparison of two files that were measured together."""
    ours, other = latencies[pair.ours], latencies[pair.other]
    ratio = ratio_of(ours, other)
    worst = ratio.median if ratio.high is None else ratio.high
    return Versus(
        what=f'{pair.ours} / {pair.other}',
        ours_ms=ours.median_ms,
        other_ms=other.median_ms,
        ratio=ratio.median,
        low_95=ratio.low,
        high_95=ratio.high,
        target=pair.target,
        met=None if pair.target is None else worst <= pair.target,
    )


# Files


def large_files(folder: str, resolution: int) -> Files:
    """V3-Large in every form and MobileNetV2, ours and Keras's with the same weights."""
    large_peer, large = both_networks('MobileNetV3Large', 'large', resolution)
    v2_peer, v2 = both_networks('MobileNetV2', 'v2', resolution)
    contents = {
        'V3Large int8': our_int8(large),
        'V3Large Keras int8': plain_int8(large_peer),
        'V3Large float': our_float(large),
        'V3Large plain float': plain_float(large),
        'V2 int8': our_int8(v2),
        'V2 Keras int8': plain_int8(v2_peer),
    }
    return write_files(folder, contents)


def small_files(folder: str, resolution: int) -> Files:
    """V3-Small in float, in deploy form and as it is built."""
    _, small = both_networks('MobileNetV3Small', 'small_1024', resolution)
    contents = {'V3Small float': our_float(small), 'V3Small plain float': plain_float(small)}
    return write_files(folder, contents)


def released_files(folder: str, released: str) -> Files:
    """V3-Small with the weights of the release, and the released file itself."""
    from train.weights.carry import carry
    from train.weights.fit import fit
    from train.weights.released import read_released

    weights = read_released(str(Path(released, RELEASED_WEIGHTS)))
    spec, layers = fit(mobilenet_v3.get_spec('small'), weights)
    num_classes = len(layers['logits/conv']['bias'])
    small = mobilenet_v3.build_model(spec, resolution=224, num_classes=num_classes)
    carry(layers, spec, small, 'keep')
    contents = {
        'V3Small int8': our_int8(small),
        'V3Small int8, fused': our_int8(small, hard_swish='fused'),
        'V3Small float': our_float(small),
    }
    files = write_files(f'{folder}/released', contents)
    return files | {'V3Small released uint8': Path(released, RELEASED_FILE)}


def write_files(folder: str, contents: Mapping[str, bytes]) -> Files:
    """Writes each content into a file that is named after it."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    files = {}
    for name, content in contents.items():
        files[name] = Path(folder, f'{re.sub("[^a-z0-9]+", "_", name.lower())}.tflite')
        files[name].write_bytes(content)
    return files


def plain_float(model: 'tf_keras.Model') -> bytes:
    """What the converter makes of a float model by itself."""
    from export.convert import convert_float

    return convert_float(model)


def plain_int8(model: 'tf_keras.Model') -> bytes:
    """What the converter makes of a float model by itself, quantized after training."""
    import tensorflow as tf

    from export.convert import IO_TYPES

    images = noise_images(model)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[np.newaxis]] for image in images)
    converter.inference_input_type = converter.inference_output_type = IO_TYPES[IO]
    return converter.convert()


# Networks


def both_networks(
    peer: str, model: str, resolution: int, num_classes: int = 1000
) -> tuple['tf_keras.Model', 'tf_keras.Model']:
    """A network of tf_keras.applications and ours, with the same weights and settled statistics."""
    theirs = keras_network(peer, resolution, num_classes)
    settle_statistics(theirs)
    ours = mobilenet_v3.build_model(model, resolution=resolution, num_classes=num_classes)
    mobilenet_v3.carry_keras_weights(theirs, ours)
    return theirs, ours


def keras_network(name: str, resolution: int, num_classes: int) -> 'tf_keras.Model':
    """A network of tf_keras.applications from [-1, 1] to logits; MobileNetV2 never preprocesses."""
    import tf_keras

    if name.startswith('MobileNetV3'):
        return make_peer(name, resolution, num_classes)
    return getattr(tf_keras.applications, name)(
        input_shape=(resolution, resolution, 3),
        weights=None,
        classes=num_classes,
        classifier_activation=None,
    )
