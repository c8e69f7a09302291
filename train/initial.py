"""The start of a run from weights of elsewhere: which network it is then, and its weights."""

import dataclasses
import hashlib
import json

import tf_keras
from ml_collections import ConfigDict

from configs import base
from mobilenet_v3.spec import ModelSpec
from mobilenet_v3.spec_file import from_dict, to_dict
from train.init_source import read_source
from train.weights.carry import HEADS, Report, carry
from train.weights.fit import fit
from train.weights.imported import Definition, Imported, Layers


@dataclasses.dataclass(frozen=True)
class Initial:
    """Weights that a fresh run starts from.

    Attributes:
      config: of the run, with what was read: its checksum, and the images' crop in evaluation.
      spec: the network of the weights.
      imported: the source.
    """

    config: ConfigDict
    spec: ModelSpec
    imported: Imported
    layers: Layers

    def carry(self, model: tf_keras.Model) -> Report:
        """Sets the weights of a network of `spec`; see `train.weights.carry`."""
        return carry(self.layers, self.spec, model, self.config.init.head)

    def describe(self, report: Report) -> str:
        """What was carried, in a few lines for a terminal."""
        definition = self.imported.definition
        lines = [f'weights of {self.imported.kind}, sha256 {self.imported.sha256[:12]}: {report}']
        changes = _changes(self.spec, definition)
        if changes:
            lines.append('the network as they define it: ' + ', '.join(changes))
        return '\n'.join(lines)


def read_initial(config: ConfigDict, spec: ModelSpec) -> Initial:
    """Reads `config.init.source` for a run that starts.

    Args:
      config: of the run; it stays as it is.
      spec: the network that it names.

    Raises:
      ValueError: the source cannot be read or is of another network.
    """
    if config.init.head not in HEADS:
        raise ValueError(
            f'config.init.head is {config.init.head!r}; expected one of {", ".join(HEADS)}'
        )
    imported = read_source(config)
    try:
        fitted, layers = fit(spec, imported)
    except ValueError as e:
        if config.task == 'classification' or not config[config.task].halve_tail:
            raise
        raise ValueError(
            f'{e}; the last blocks are halved here, weights of whole ones go with '
            f'--config.{config.task}.halve_tail=False'
        ) from None
    config = ConfigDict(config.to_dict())
    config.init.sha256, config.init.network = imported.sha256, _network(spec)
    crop = imported.definition.eval_crop
    if crop is not None and config.augment.eval_crop == base.get_config().augment.eval_crop:
        config.augment.eval_crop = crop
    return Initial(config, fitted, imported, layers)


def _recorded(config: ConfigDict, spec: ModelSpec, state: dict) -> tuple[ConfigDict, ModelSpec]:
    """The config and network of a run that continues, without its source, which may be gone.

    Args:
      config: as it was given now.
      spec: the network that it names.
      state: of the run's checkpoint.

    Returns:
      What `read_initial` gave when the run started, where the source is the same; else the config
      and the spec as they are, which differ from the run's.
    """
    saved = state.get('config', {})
    if saved.get('init', {}).get('source') != config.init.source:
        return config, spec
    config = ConfigDict(config.to_dict())
    config.init.sha256, config.init.network = saved['init']['sha256'], _network(spec)
    if config.augment.eval_crop == base.get_config().augment.eval_crop:
        config.augment.eval_crop = saved['augment']['eval_crop']
    fitted = from_dict(state['spec'])
    return config, dataclasses.replace(fitted, dropout=spec.dropout)


def start(
    config: ConfigDict, spec: ModelSpec, state: dict | None
) -> tuple[ConfigDict, ModelSpec, Initial | None]:
    """What a run starts from, where it has a source: read once, and never for one that continues.

    Args:
      config: of the run.
      spec: the network that it names.
      state: of its checkpoint; None for a fresh run.
    """
    if not config.init.source:
        return config, spec, None
    if state is not None:
        return *_recorded(config, spec, state), None
    initial = read_initial(config, spec)
    return initial.config, initial.spec, initial


def _network(spec: ModelSpec) -> str:
    text = json.dumps(to_dict(spec), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _changes(spec: ModelSpec, definition: Definition) -> list[str]:
    changes = []
    if spec.padding != 'same':
        changes.append(f'padding {spec.padding}')
    if spec.batch_norm_epsilon != 1e-3:
        changes.append(f'ε {spec.batch_norm_epsilon:g}')
    if spec.normalize is not None:
        mean, std = spec.normalize.mean, spec.normalize.std
        changes.append(f'images normalised by mean {list(mean)}, std {list(std)}')
    if definition.eval_crop is not None:
        changes.append(f'evaluated on a crop of {definition.eval_crop:g}')
    if definition.interpolation != 'bilinear':
        changes.append(f'evaluated there with {definition.interpolation} resizing, here bilinear')
    return changes
