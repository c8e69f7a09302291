"""What a network is as a file, beside its spec."""

import dataclasses
from typing import Literal

from benchmark.blocks.parts import Network, Part, Scheme
from mobilenet_v3.spec import ModelSpec


@dataclasses.dataclass(frozen=True)
class FileForm:
    """What must be said besides a spec before a latency means something.

    Attributes:
      resolution: side of its input.
      num_classes: of its logits.
      scheme: of weights and activations.
    """

    resolution: int
    num_classes: int
    scheme: Scheme = 'float32'

    def network(self, spec: ModelSpec) -> Network:
        """The network as it is exported by default: h-swish fused in float, else decomposed."""
        form: Literal['fused', 'decomposed'] = 'fused' if self.scheme == 'float32' else 'decomposed'
        return Network(
            spec.name, spec, self.resolution, self.scheme, form, num_classes=self.num_classes
        )

    def parts(self, spec: ModelSpec) -> list[Part]:
        """The parts of a network, in their order."""
        return list(self.network(spec).parts.values())
