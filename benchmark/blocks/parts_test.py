import dataclasses

import pytest

from benchmark.blocks.parts import Network, Part, named_parts, overhead, part_of
from mobilenet_v3.cost import count
from mobilenet_v3.tables import SPECS
from mobilenet_v3.transforms import widen, with_output_stride


def parts_of(name, resolution=224, **changes):
    options = {'scheme': 'float32', 'hard_swish': 'fused', **changes}
    return named_parts(SPECS[name], resolution, **options)


def madds(part: Part) -> int:
    """Multiply-adds of the convolutions of a part, from its columns alone."""
    height, width = (-(-side // part.stride) for side in (part.in_height, part.in_width))
    if part.part == 'head':
        features = part.expansion or part.in_channels
        first = part.in_channels * part.expansion
        return first + features * part.filters
    if part.part != 'block':
        return height * width * part.kernel**2 * part.in_channels * part.filters
    expand = part.in_height * part.in_width * part.in_channels * part.expansion
    depthwise = height * width * part.kernel**2 * part.expansion
    project = height * width * part.expansion * part.filters
    gates = 2 * part.se_width * part.expansion
    return (expand if part.expansion != part.in_channels else 0) + depthwise + project + gates


@pytest.mark.parametrize('name', SPECS)
def test_parts_hold_every_multiply_add_of_the_network(name):
    spec = widen(SPECS[name], 0.75)
    parts = named_parts(spec, (160, 224), scheme='float32', hard_swish='fused')
    assert sum(map(madds, parts.values())) == count(spec, resolution=(160, 224)).madds


@pytest.mark.parametrize('name', SPECS)
def test_a_part_is_read_back_from_its_key(name):
    for scheme in ('float32', 'int8'):
        for part in [*parts_of(name, scheme=scheme).values(), overhead(scheme)]:
            assert part_of(part.key) == part


def test_parts_come_in_the_order_of_the_network():
    names = list(parts_of('small'))
    assert names == ['stem', *(f'bneck_{i}' for i in range(1, 12)), 'last', 'head']


def test_equal_shapes_are_one_part():
    parts = parts_of('large')
    assert parts['bneck_5'] == parts['bneck_6']
    assert parts['bneck_9'] == parts['bneck_10']
    assert len(set(parts.values())) == len(parts) - 3  # and bneck_14 and 15


def test_the_form_counts_where_there_is_an_h_swish_only():
    fused, decomposed = parts_of('large'), parts_of('large', hard_swish='decomposed')
    same = [name for name in fused if fused[name] == decomposed[name]]
    assert same == [f'bneck_{i}' for i in range(1, 7)]
    assert fused['bneck_1'].hard_swish == 'none'
    assert parts_of('v2') == parts_of('v2', hard_swish='decomposed')


def test_strides_beyond_the_output_stride_are_dilation():
    spec = with_output_stride(SPECS['large'], 16)
    parts = named_parts(spec, 224, scheme='float32', hard_swish='fused')
    assert (parts['bneck_13'].stride, parts['bneck_13'].dilation) == (1, 1)
    assert (parts['bneck_14'].dilation, parts['bneck_14'].in_height) == (2, 14)
    assert not parts['bneck_13'].residual


def test_a_part_can_be_read():
    said = str(parts_of('small')['bneck_5'])
    assert said == (
        'block 14×14×40, 5×5 / 1, expansion 240, filters 40, SE 64 hard_sigmoid, hard_swish, '
        'residual, float32 fused'
    )
    assert str(parts_of('v1')['bneck_1']).endswith('relu6, then relu6, float32')


@pytest.mark.parametrize(
    ('column', 'value', 'message'),
    [
        ('kernel', '-3', "kernel is '-3', expected a whole number"),
        ('scheme', 'int4', "scheme is 'int4', expected one of float32, int8"),
        ('residual', 'yes', "residual is 'yes', expected one of true, false"),
        ('gate', '', "gate is '', expected one of none, hard_sigmoid, sigmoid"),
    ],
)
def test_a_key_with_a_wrong_value_names_the_column(column, value, message):
    names = [field.name for field in dataclasses.fields(Part)]
    cells = overhead('int8').key.split(':')
    cells[names.index(column)] = value
    with pytest.raises(ValueError, match=f'is no part: {message}'):
        part_of(':'.join(cells))


def test_a_key_of_another_length_is_refused():
    with pytest.raises(ValueError, match='is no part: it has 2 values, expected 16'):
        part_of('float32:fused')


def test_networks_of_one_name_have_different_keys():
    network = Network('large', SPECS['large'], 224, 'float32', 'fused')
    other = dataclasses.replace(network, spec=SPECS['v2'])
    wide = dataclasses.replace(network, name='large 0.75')
    assert network.key != other.key
    assert wide.key.startswith('large_0.75_224_float32_fused_')
    assert network.parts == parts_of('large')
