"""Layer by layer: what the quantized Keras model computes against what the .tflite file does."""

import dataclasses
import os
from typing import Any

import flatbuffers
import numpy as np
import tf_keras

from export.quantize import layer_configs, to_pixel_grid
from export.whole_numbers import whole_number_tensors
from train.plots import pyplot, save_figure
from train.tflite_file import IDENTIFIER, dequantize, open_content, quantize_image

# A layer departs where more of its values than this differ from Keras's, given the same inputs, or
# one differs by more than a step. Rounding a sum that lies between two steps either way is no fault.
DEPARTING_SHARE = 0.01
TIES = 3  # values; a share of a gate's few says nothing


@dataclasses.dataclass(frozen=True)
class LayerDifference:
    """How far Keras and the file are apart at one layer; steps are those of the layer's output.

    Attributes:
      layer: its name.
      scale: of one step.
      values: how many were compared.
      alone_share: fraction of values that differ where Keras is given the file's own inputs.
      alone_max_steps: the largest of these differences.
      mean_steps: mean difference of both networks run from the image on.
      max_steps: the largest of these.
    """

    layer: str
    scale: float
    values: int
    alone_share: float
    alone_max_steps: float
    mean_steps: float
    max_steps: float

    @property
    def departs(self) -> bool:
        """Whether the file computes something else here than Keras does."""
        limit = max(DEPARTING_SHARE * self.values, TIES)
        return self.alone_share * self.values > limit + 0.5 or self.alone_max_steps > 1.5


def compare_layers(
    model: tf_keras.Model, content: bytes, images: np.ndarray
) -> list[LayerDifference]:
    """Compares every layer of a quantized model and of the int8 file made of it, in their order.

    Args:
      model: of `export.quantize.quantized_model`.
      content: the file's.
      images: float32 [N, H, W, C] in [-1, 1], a few.

    Raises:
      ValueError: the file has no tensor for a layer of the model.
    """
    layers = [layer for layer in model.layers if layer.name in layer_configs(model)]
    names = [layer.name for layer in layers]
    ours = whole_number_tensors(model, to_pixel_grid(images))
    theirs, scales = _file_tensors(content, images, names, model.name)
    missing = [name for name in names if name not in theirs]
    if missing:
        raise ValueError(
            f'the file has no tensor of {missing[0]} ({len(missing)} are missing): it was not made '
            'of this model'
        )
    differences = []
    for layer in layers:
        name, scale = layer.name, scales[layer.name]
        inputs = [_given(node.layer, theirs) for node in layer.inbound_nodes[0].parent_nodes]
        accumulated = np.abs(ours[name].numpy() - theirs[name]) / scale
        if all(values is not None for values in inputs):
            answer = layer(inputs if len(inputs) > 1 else inputs[0], training=False).numpy()
            alone = np.round(np.abs(answer - theirs[name]) / scale)
        else:  # the image itself
            alone = np.zeros(1)
        differences.append(
            LayerDifference(
                name,
                scale,
                alone.size,
                float(np.mean(alone > 0)),
                float(alone.max()),
                float(accumulated.mean()),
                float(accumulated.max()),
            )
        )
    return differences


def _given(layer: tf_keras.layers.Layer, theirs: dict[str, np.ndarray]) -> Any:
    """What a layer gives in the file; one that does not round is computed of what it takes there."""
    if layer.name in theirs:
        return theirs[layer.name]
    if isinstance(layer, tf_keras.layers.InputLayer):
        return None
    (parent,) = layer.inbound_nodes[0].parent_nodes
    values = _given(parent.layer, theirs)
    return None if values is None else layer(values)


def summarize_layers(differences: list[LayerDifference]) -> dict:
    """What a card says: the first layer that departs, and the last one's difference."""
    first = next((d.layer for d in differences if d.departs), None)
    return {
        'layers': len(differences),
        'first_departing': first,
        'largest_alone_share': max(d.alone_share for d in differences),
        'mean_steps_at_the_end': differences[-1].mean_steps,
    }


def layers_table(differences: list[LayerDifference], noises: dict[str, float]) -> str:
    """Markdown, one line a layer; `noises` is of `export.sensitivity`, may be empty."""
    lines = [
        '| layer | scale | differs alone | most, steps | mean from image, steps | most, steps '
        '| int8 noise alone |',
        '|---|--:|--:|--:|--:|--:|--:|',
    ]
    for d in differences:
        noise = f'{noises[d.layer]:.2e}' if d.layer in noises else ''
        mark = ' **departs**' if d.departs else ''
        lines.append(
            f'| {d.layer}{mark} | {d.scale:.4g} | {d.alone_share:.3%} | {d.alone_max_steps:.0f} '
            f'| {d.mean_steps:.2f} | {d.max_steps:.0f} | {noise} |'
        )
    return '\n'.join(lines) + '\n'


def plot_layers(
    path: str | os.PathLike, differences: list[LayerDifference], noises: dict[str, float]
) -> None:
    """Draws what the table says: differences along the network, and where int8 costs most."""
    figure, axes = pyplot().subplots(
        2 if noises else 1, 1, figsize=(14, 8), sharex=True, squeeze=False
    )
    positions = range(len(differences))
    axes[0, 0].plot(positions, [d.mean_steps for d in differences], label='mean, from the image on')
    axes[0, 0].plot(
        positions, [d.alone_share for d in differences], label='share that differs, layer alone'
    )
    axes[0, 0].set_ylabel('output steps; fraction')
    axes[0, 0].set_title('Keras against the file')
    axes[0, 0].legend()
    if noises:
        axes[1, 0].bar(positions, [noises.get(d.layer, 0.0) for d in differences])
        axes[1, 0].set_yscale('log')
        axes[1, 0].set_ylabel('noise in the answers')
        axes[1, 0].set_title('rounding this layer alone')
    axes[-1, 0].set_xticks(positions, [d.layer for d in differences], rotation=90, fontsize=5)
    figure.tight_layout()
    save_figure(figure, path)


def _file_tensors(
    content: bytes, images: np.ndarray, names: list[str], model: str
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Real values of each layer's output in the file, [N, …], and the size of one step."""
    interpreter = open_content(_with_all_outputs(content))
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]
    details = {}
    for detail in interpreter.get_output_details():
        name = _layer_of(detail['name'], names, model)
        if name is not None and name not in details:
            details[name] = detail
    values: dict[str, list[np.ndarray]] = {name: [] for name in details}
    for image in images:
        interpreter.set_tensor(source['index'], quantize_image(image[np.newaxis], source))
        interpreter.invoke()
        for name, detail in details.items():
            values[name].append(dequantize(interpreter.get_tensor(detail['index']), detail))
    tensors = {name: np.concatenate(parts) for name, parts in values.items()}
    if names[0] not in details and np.dtype(source['dtype']) == np.int8:
        # The rounded image, which no op makes where the input is int8 itself.
        details[names[0]] = source
        tensors[names[0]] = dequantize(quantize_image(images, source), source)
    return tensors, {name: float(detail['quantization'][0]) for name, detail in details.items()}


def _layer_of(tensor: str, names: list[str], model: str) -> str | None:
    """The layer that made a tensor: the converter names it 'model/layer/op', and then its parts."""
    first = '/' + tensor.partition(';')[0]
    # With the model's name before it: 'boxes' is a layer, and a part of the names of others.
    return max((n for n in names if f'/{model}/{n}/' in first), key=len, default=None)


def _with_all_outputs(content: bytes) -> bytes:
    """The file with the result of every op as an output, so that XNNPACK lets them be read."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    graph.outputs = np.array([t for op in graph.operators for t in op.outputs], np.int32)
    model.signatureDefs = []
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())
