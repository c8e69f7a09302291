"""The networks of the paper's tables and figures, as files to build, measure and look up."""

import dataclasses
from typing import ClassVar, Literal, TypeAlias

from benchmark.paper.head_grid import HEAD_ENTRIES, HeadEntry
from mobilenet_v3 import transforms
from mobilenet_v3.cost import Cost, count
from mobilenet_v3.spec import ModelSpec
from mobilenet_v3.tables import SPECS

MULTIPLIERS = (0.35, 0.5, 0.75, 1.0, 1.25)  # Paper: Fig. 7
RESOLUTIONS = (96, 128, 160, 192, 224, 256)  # Paper: Fig. 7
HARD_SWISH_FROM = (16, 112)  # Paper: Table 5; V3 itself is @80


@dataclasses.dataclass(frozen=True)
class Entry:
    """One file of the grid: a classifier, which has no head of its own and lies in no folder.

    Attributes:
      network: the name of its network, with what was changed: 'large', 'large_relu'.
      multiplier: of the width.
      resolution: both sides of the input.
      scheme: of the weights and activations.
      hard_swish: 'fused' is the paper's optimized h-swish, 'decomposed' the one without.
    """

    network: str
    multiplier: float = 1.0
    resolution: int = 224
    scheme: Literal['float32', 'int8'] = 'float32'
    hard_swish: Literal['fused', 'decomposed'] = 'fused'
    task: ClassVar[str] = 'classification'
    head: ClassVar[None] = None
    folder: ClassVar[str] = ''

    @property
    def key(self) -> str:
        """Its name, also of its file: 'large_0.75_224_int8', 'large_1_224_float32_decomposed'."""
        form = '_decomposed' if (self.scheme, self.hard_swish) == ('float32', 'decomposed') else ''
        return f'{self.network}_{self.multiplier:g}_{self.resolution}_{self.scheme}{form}'

    @property
    def spec(self) -> ModelSpec:
        """Its network, widened."""
        spec = transforms.widen(NETWORKS[self.network], self.multiplier)
        return dataclasses.replace(spec, name=self.network)

    def cost(self) -> Cost:
        """Layer by layer."""
        return count(self.spec, resolution=self.resolution)


AnyEntry: TypeAlias = Entry | HeadEntry


def _networks() -> dict[str, ModelSpec]:
    """The networks of SPECS and the forms of V3-Large that §5 and §6.2.1 compare."""
    large = SPECS['large']
    forms = {
        'large_relu': transforms.relu_only(large),  # Table 5
        **{f'large_hs{n}': transforms.hard_swish_from(large, n) for n in HARD_SWISH_FROM},
        # Fig. 9: from the network with nothing of §5 to V3, one component after the other.
        **fig9_steps(large),
        'large_original_last': transforms.original_last_stage(large),  # §5.1, Fig. 5
        'large_stem32': transforms.with_stem(large, 32, 'relu'),  # §5.1
        'large_without_se': transforms.without_se(large),
    }
    return {**SPECS, **forms}


def fig9_steps(large: ModelSpec) -> dict[str, ModelSpec]:
    """V3-Large before §5's changes, then with one after the other; `large` itself is the last.

    Departs from paper: Fig. 9's own steps are not written down, nor is the network that the search
    gave. The changes of §5 are undone here on V3's own rows, so that each step is one change.
    """
    relu = transforms.relu_only
    last = transforms.original_last_stage
    start = last(relu(transforms.with_stem(transforms.se_of_input(large), 32)))
    return {
        'fig9_start': start,  # squeeze of the bottleneck, ReLU, 32 in the stem, Fig. 5's top
        'fig9_large_se': last(relu(transforms.with_stem(large, 32))),  # §5.3
        'fig9_last_stage': relu(transforms.with_stem(large, 32)),  # §5.1, Fig. 5
        'fig9_hard_swish': transforms.with_stem(large, 32),  # §5.2
        # and the stem of 16 (§5.1): 'large'
    }


NETWORKS = _networks()


def _entries() -> dict[str, Entry]:
    """Every file once, those that are compared beside each other."""
    ablations = ('large', 'large_relu', *(f'large_hs{n}' for n in HARD_SWISH_FROM))
    entries = [
        # Tables 3 and 4, and what the released README adds
        *(Entry(network) for network in ('large', 'v2', 'mnasnet_a1', 'proxyless_mobile')),
        *(Entry(network) for network in ('large_minimalistic', 'small_minimalistic')),
        *(Entry('large', scheme='int8'), Entry('v2', scheme='int8')),
        Entry('large_minimalistic', scheme='int8'),
        *(Entry('small'), Entry('mnasnet_small'), Entry('v2', 0.35), Entry('small_1024')),
        *(Entry('small', scheme='int8'), Entry('v2', 0.35, scheme='int8')),
        # Table 5, Fig. 8
        *(Entry(n, hard_swish=form) for n in ablations for form in ('fused', 'decomposed')),
        *(
            Entry(n, multiplier, hard_swish=form)
            for multiplier in MULTIPLIERS
            for n in ablations
            for form in ('fused', 'decomposed')
        ),
        # §5 and Fig. 9
        *(Entry(n) for n in ('large', 'large_original_last', 'large_stem32', 'large_without_se')),
        *(Entry(n) for n in fig9_steps(SPECS['large'])),
        Entry('fig9_hard_swish', hard_swish='decomposed'),
        # Fig. 1 and 2: the others' curves
        *(Entry('v2', multiplier) for multiplier in (0.35, 0.5, 0.75, 1.0, 1.25)),
        *(Entry('mnasnet_a1', multiplier) for multiplier in (0.35, 0.5, 0.75, 1.0)),
        Entry('v1'),
        # Fig. 7
        *(
            Entry(network, multiplier, resolution, scheme)
            for scheme in ('float32', 'int8')
            for network in ('large', 'small')
            for resolution in RESOLUTIONS
            for multiplier in MULTIPLIERS
        ),
    ]
    return {entry.key: entry for entry in map(_with_form, entries)}


def _with_form(entry: Entry) -> Entry:
    """int8 files are decomposed (`export/stage.py`); a network without h-swish has one form."""
    if entry.scheme == 'int8':
        return dataclasses.replace(entry, hard_swish='decomposed')
    if 'hard_swish' not in _activations(entry):
        return dataclasses.replace(entry, hard_swish='fused')
    return entry


def _activations(entry: Entry) -> set[str]:
    spec = NETWORKS[entry.network]
    convs = [conv for conv in (spec.stem, *spec.blocks, spec.last, spec.features) if conv]
    return {conv.activation for conv in convs}


CLASSIFIERS = _entries()
ENTRIES: dict[str, AnyEntry] = {**CLASSIFIERS, **HEAD_ENTRIES}
