"""Latencies measured on a device, whole network by whole network."""

import dataclasses
import hashlib
import json
from pathlib import Path

from benchmark.blocks.latency_table import Way
from benchmark.device import Case, Device
from benchmark.latency import ratio_of
from benchmark.session import Protocol, measure
from mobilenet_v3.spec import ModelSpec
from search.latency.form import FileForm
from train.files import write_json
from train.tflite_file import read_identity

FILE = 'measured.json'


class MeasuredLatency:
    """Milliseconds of networks, each measured beside a reference, by turns.

    What slows the device for a while slows both, so that their ratio holds; it is given as
    milliseconds of the reference when that was measured first. What was measured is kept, so that a
    search that is continued measures nothing twice and sees the same figures.

    Args:
      device: where.
      protocol: how.
      form: of the networks' files.
      reference: the network that the others are measured beside: a search's seed.
      folder: for files and figures.

    Raises:
      ValueError: the folder holds figures of another device, protocol or reference.
    """

    unit = 'ms'

    def __init__(
        self,
        device: Device,
        protocol: Protocol,
        form: FileForm,
        reference: ModelSpec,
        folder: Path,
    ) -> None:
        self._device, self._protocol, self._form = device, protocol, form
        self._folder = folder
        self._reference = _anonymous(reference)
        self._header = {
            'device': device.name,
            'way': str(Way.of(protocol.threads, device.settings())),
            'protocol': dataclasses.asdict(protocol),
            'form': dataclasses.asdict(form),
            'reference': _key(self._reference),
        }
        folder.mkdir(parents=True, exist_ok=True)
        self._known: dict[str, float] = self._read()

    def predict(self, spec: ModelSpec) -> float:
        """What a network takes in milliseconds.

        Raises:
          DeviceError: the device failed; what was measured is kept.
        """
        spec = _anonymous(spec)
        if _key(self._reference) not in self._known:
            reference = self._build(self._reference)
            (found,) = measure(self._device, [reference], self._protocol)
            self._keep(self._reference, found.median_ms)
        if _key(spec) not in self._known:
            self._keep(spec, self._beside_reference(spec))
        return self._known[_key(spec)]

    def _beside_reference(self, spec: ModelSpec) -> float:
        cases = [self._build(self._reference), self._build(spec)]
        reference, found = measure(self._device, cases, self._protocol)
        if spec != self._reference:
            cases[1].file.unlink()  # thousands of networks are met
        return ratio_of(found, reference).median * self._known[_key(self._reference)]

    def _build(self, spec: ModelSpec) -> Case:
        from benchmark.blocks.blocks import write_network

        network = self._form.network(spec)
        file = write_network(self._folder, network)
        return Case(network.key, file, *read_identity(file))

    def _keep(self, spec: ModelSpec, ms: float) -> None:
        self._known[_key(spec)] = ms
        write_json(self._folder / FILE, {'header': self._header, 'ms': self._known})

    def _read(self) -> dict[str, float]:
        path = self._folder / FILE
        if not path.is_file():
            return {}
        try:
            values = json.loads(path.read_text(encoding='utf-8'))
            header = dict(values['header'])
            known = {str(k): float(v) for k, v in values['ms'].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f'{path} holds no measured latencies ({error!r}); remove it, and they are measured '
                'again'
            ) from None
        ours = json.loads(json.dumps(self._header))
        if header != ours:
            differing = ', '.join(name for name in ours if header.get(name) != ours[name])
            raise ValueError(
                f'{path} was measured with another {differing}; use another --workdir, or remove '
                'the file'
            )
        return known


def _anonymous(spec: ModelSpec) -> ModelSpec:
    """Without what does not change a file."""
    return dataclasses.replace(spec, name='network', dropout=0.0)


def _key(spec: ModelSpec) -> str:
    text = json.dumps(dataclasses.asdict(spec), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
