"""Parts of networks, and whole networks, as .tflite files with random weights.

A part takes the way of a trained network: Keras layers, deploy form, calibration, conversion. Its
weights are random, its activations normalised, as `benchmark.untrained` has them: speed does not
depend on what has been learnt.

What stands at its borders inside a network is built, too, and cut off again. A 1×1 convolution
follows it: alone, a decomposed h-swish would keep its sixth for want of a convolution to take it in,
and be fused again. An int8 part takes and gives int8; only the stem takes uint8 pixels and only the
head gives uint8, with the QUANTIZE that this costs.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.blocks.cut import Pieces
from benchmark.blocks.parts import Network, Part
from mobilenet_v3.spec import BlockSpec, ConvSpec, ModelSpec, PlacedBlock, SqueezeExcite
from train.files import write_file

if TYPE_CHECKING:
    import tf_keras

    from export.deploy import HardSwishForm

_SEED = 0  # the same part gives the same file
_NAME = 'bneck'
_BEFORE = 'image'  # the input, which an int8 file turns from uint8 to int8
_AFTER = 'after'
_AFTER_FILTERS = 8


def part_file(folder: Path, part: Part) -> Path:
    """Where the file of a part lies."""
    return folder / f'{part.key.replace(":", "_")}.tflite'


def write_part(folder: Path, part: Part) -> Path:
    """The file of a part; built unless it is there."""
    path = part_file(folder, part)
    if not path.is_file():
        write_file(path, part_content(part))
    return path


def write_network(folder: Path, network: Network) -> Path:
    """The file of a whole network; built unless it is there."""
    path = folder / f'{network.key}.tflite'
    if not path.is_file():
        import mobilenet_v3

        _start()
        model = mobilenet_v3.build_model(
            network.spec, resolution=network.resolution, num_classes=network.num_classes
        )
        write_file(path, _content(model, network.scheme, network.hard_swish))
    return path


def part_content(part: Part) -> bytes:
    """The content of the .tflite file of a part."""
    _start()
    model = part_model(part)
    form: HardSwishForm = 'fused' if part.hard_swish == 'none' else part.hard_swish
    content = _content(model, part.scheme, form)
    outside = {_AFTER} if part.part == 'stem' else {_AFTER, _BEFORE}
    pieces = Pieces(content)
    return pieces.cut(op.index for op in pieces.ops if op.block not in outside)


def part_model(part: Part) -> 'tf_keras.Model':
    """The Keras model of a part, and after all but the head of a 1×1 convolution."""
    import tf_keras

    from mobilenet_v3 import layers
    from mobilenet_v3.backbone import conv_norm_activation
    from mobilenet_v3.block import inverted_residual
    from mobilenet_v3.classifier import classifier

    x = tf_keras.Input((part.in_height, part.in_width, part.in_channels), name=_BEFORE)
    if part.part == 'block':
        y = inverted_residual(x, _placed(part), _spec(None), {})
    elif part.part == 'head':
        y = classifier(x, _spec(_features(part)), part.filters)
    else:
        conv = ConvSpec(part.kernel, part.filters, part.activation, part.stride)
        y = conv_norm_activation(x, conv, _spec(None), part.part)
    if part.part != 'head':
        y = layers.conv(y, _AFTER_FILTERS, name=f'{_AFTER}/conv')
        # The converter calls the last op after the output, so that the convolution may not be it.
        y = tf_keras.layers.Reshape((-1,), name=f'{_AFTER}/flat')(y)
    return tf_keras.Model(x, y, name='part')


def _placed(part: Part) -> PlacedBlock:
    se = None
    if part.se_width:
        # Half a channel more, as the width is cut off to a whole number.
        ratio = min(1.0, (part.se_width + 0.5) / part.expansion)
        se = SqueezeExcite(ratio, gate=part.gate, divisor=1)  # type: ignore[arg-type]
    block = BlockSpec(
        kernel=part.kernel,
        expansion=part.expansion,
        filters=part.filters,
        se=se,
        activation=part.activation,
        stride=part.stride,
        residual=part.residual,
        project_activation=part.project_activation,
    )
    return PlacedBlock(_NAME, block, part.in_channels, part.stride, part.dilation, part.stride)


def _features(part: Part) -> ConvSpec | None:
    if not part.expansion:
        return None
    # V3's have a bias and no BN; folded, a BN is the same.
    return ConvSpec(1, part.expansion, part.activation, batch_norm=False)


def _spec(features: ConvSpec | None) -> ModelSpec:
    """A network that lends a part its constants of BN and its features."""
    stem, block = ConvSpec(1, 1, 'linear'), BlockSpec(1, 1, 1, None, 'linear', 1)
    return ModelSpec('part', stem, (block,), None, features)


def _start() -> None:
    """Clears what earlier models left, so that many parts fit into one process."""
    import tf_keras

    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(_SEED)


def _content(model: 'tf_keras.Model', scheme: str, hard_swish: 'HardSwishForm') -> bytes:
    """The file of a model with settled statistics, as the export stage writes it."""
    from benchmark.untrained import our_float, our_int8, settle_statistics

    settle_statistics(model)
    make = our_float if scheme == 'float32' else our_int8
    return make(model, hard_swish=hard_swish)
