import dataclasses

import pytest

from benchmark.blocks.blocks import part_content, part_file, part_model, write_network, write_part
from benchmark.blocks.cut import Pieces
from benchmark.blocks.parts import Network, named_parts, overhead
from mobilenet_v3.spec_file import load_model_spec
from mobilenet_v3.tables import SPECS
from mobilenet_v3.transforms import with_output_stride
from train.tflite_file import dissect, open_content


@pytest.fixture(scope='module')
def make_network(tiny_spec):
    def make(scheme, form, resolution=64):
        spec = load_model_spec(str(tiny_spec))
        return Network('tiny', spec, resolution, scheme, form, num_classes=3)

    return make


def kinds_of(content):
    return [op.kind for op in Pieces(content).ops]


@pytest.mark.parametrize('form', ['fused', 'decomposed'])
@pytest.mark.parametrize('scheme', ['float32', pytest.param('int8', marks=pytest.mark.slow)])
def test_the_ops_of_the_parts_are_those_of_the_network(make_network, tmp_path, scheme, form):
    network = make_network(scheme, form)
    whole = kinds_of(write_network(tmp_path, network).read_bytes())
    parts = network.parts.values()
    assert [kind for part in parts for kind in kinds_of(part_content(part))] == whole


def test_an_int8_part_takes_and_gives_what_it_does_inside(make_network):
    def types(part):
        interpreter = open_content(part_content(part))
        details = (*interpreter.get_input_details(), *interpreter.get_output_details())
        return [detail['dtype'].__name__ for detail in details]

    parts = make_network('int8', 'decomposed').parts
    assert types(parts['stem']) == ['uint8', 'int8']
    assert types(parts['bneck_1']) == ['int8', 'int8']
    assert types(parts['head']) == ['int8', 'uint8']


def test_an_int8_part_is_one_piece_for_xnnpack(make_network, tmp_path):
    part = make_network('int8', 'decomposed').parts['bneck_4']
    anatomy = dissect(write_part(tmp_path, part))
    assert (anatomy.partitions, anatomy.outside) == (1, {})


def test_a_part_that_is_there_is_not_built_again(make_network, tmp_path):
    network = make_network('float32', 'fused')
    part = network.parts['bneck_1']
    part_file(tmp_path, part).write_bytes(b'there')
    assert write_part(tmp_path, part).read_bytes() == b'there'
    (tmp_path / f'{network.key}.tflite').write_bytes(b'there')
    assert write_network(tmp_path, network).read_bytes() == b'there'


def test_the_same_part_gives_the_same_file(make_network):
    part = make_network('float32', 'fused').parts['bneck_4']
    assert part_content(part) == part_content(part)


def test_overhead_is_one_small_op():
    assert kinds_of(part_content(overhead('float32'))) == ['CONV_2D']


@pytest.mark.parametrize('name', ['mnasnet_a1', 'v1', 'small_minimalistic'])
def test_parts_of_other_families_have_the_shapes_of_the_network(name):
    import mobilenet_v3

    spec = with_output_stride(SPECS[name], 16)  # dilation, too
    backbone = mobilenet_v3.build_backbone(spec, resolution=64)
    parts = named_parts(spec, 64, scheme='float32', hard_swish='fused', num_classes=7)
    blocks = {n: part for n, part in parts.items() if part.part == 'block'}
    for part_name, part in {n: blocks[n] for n in [*blocks][:3] + [*blocks][-3:]}.items():
        model = part_model(part)
        output = model.get_layer('after/conv').input
        assert output.shape[1:] == backbone.output[part_name].shape[1:]
    head = part_model(parts['head'])
    assert head.input_shape[1:] == backbone.output['last'].shape[1:]
    assert head.output_shape[1:] == (7,)


def test_squeezed_layers_have_the_width_of_the_part():
    for name in ('large', 'mnasnet_a1'):
        parts = named_parts(SPECS[name], 64, scheme='float32', hard_swish='fused')
        part = [part for part in parts.values() if part.se_width][-1]
        model = part_model(part)
        assert model.get_layer('bneck/se/squeeze').filters == part.se_width
        wide = dataclasses.replace(part, se_width=part.expansion)
        assert part_model(wide).get_layer('bneck/se/squeeze').filters == part.expansion
