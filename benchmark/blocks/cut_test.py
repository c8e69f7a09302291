import sys

import numpy as np
import pytest

from benchmark.blocks.cut import Pieces, block_of
from train.tflite_file import open_content

BLOCKS = ['stem', 'bneck_1', 'bneck_2', 'bneck_3', 'bneck_4', 'last', 'head']


@pytest.fixture(scope='module')
def contents(tiny_model):
    """The network of `tiny_model` as files in float and int8."""
    from benchmark.untrained import our_float, our_int8

    return {'float32': our_float(tiny_model), 'int8': our_int8(tiny_model)}


def run(content, tensors):
    """Runs a file on the tensors it asks for by name; its outputs by name."""
    interpreter = open_content(content)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail['index'], tensors[detail['name']])
    interpreter.invoke()
    details = interpreter.get_output_details()
    return {detail['name']: interpreter.get_tensor(detail['index']) for detail in details}


def image_of(content):
    interpreter = open_content(content)
    (detail,) = interpreter.get_input_details()
    pixels = np.random.default_rng(0).integers(0, 256, detail['shape'], np.uint8)
    if detail['dtype'] == np.float32:
        pixels = pixels / np.float32(127.5) - 1
    return {detail['name']: pixels.astype(detail['dtype'])}


@pytest.mark.parametrize('scheme', ['float32', 'int8'])
@pytest.mark.parametrize('by_block', [True, False])
def test_pieces_one_after_the_other_give_the_answer_of_the_whole(contents, scheme, by_block):
    content = contents[scheme]
    pieces = Pieces(content)
    groups = {}
    for op in pieces.ops:
        groups.setdefault(op.block if by_block else op.index, []).append(op.index)
    tensors = image_of(content)
    (expected,) = run(content, tensors).values()
    for indices in groups.values():
        answer = run(pieces.cut(indices), tensors)
        tensors |= answer
    (answer,) = answer.values()
    np.testing.assert_array_equal(answer, expected)


@pytest.mark.parametrize('scheme', ['float32', 'int8'])
def test_every_op_of_an_export_has_its_block(contents, scheme):
    blocks = list(dict.fromkeys(op.block for op in Pieces(contents[scheme]).ops))
    assert blocks == (['image', *BLOCKS] if scheme == 'int8' else BLOCKS)


def test_a_block_has_its_own_ops(contents):
    kinds = [op.kind for op in Pieces(contents['float32']).ops if op.block == 'bneck_2']
    assert kinds == ['CONV_2D', 'HARD_SWISH', 'DEPTHWISE_CONV_2D', 'HARD_SWISH', 'CONV_2D']


def test_a_piece_is_smaller_than_the_whole(contents):
    pieces = Pieces(contents['float32'])
    sizes = [len(pieces.cut([op.index])) for op in pieces.ops]
    assert max(sizes) < len(contents['float32']) / 2


def test_unpacked_weights_come_along(tiny_model):
    """Half-precision weights pass a DEQUANTIZE, which runs once and not at every run."""
    from export.convert import convert_float16
    from export.deploy import deploy_form

    content = convert_float16(deploy_form(tiny_model, hard_swish='fused'))
    pieces = Pieces(content)
    computing = {op.kind for op in pieces.computing}
    assert 'DEQUANTIZE' in {op.kind for op in pieces.ops} - computing
    convolution = next(op for op in pieces.computing if op.kind == 'CONV_2D')
    interpreter = open_content(pieces.cut([convolution.index]))
    interpreter.allocate_tensors()
    assert len(interpreter.get_input_details()) == 1


def test_a_chain_may_be_longer_than_python_recurses():
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([1, 4])])
    def chain(x):
        for _ in range(sys.getrecursionlimit() // 2):
            x = tf.sin(x)
        return x

    concrete = chain.get_concrete_function()
    content = tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()
    assert len(Pieces(content).computing) == sys.getrecursionlimit() // 2


def test_weights_are_aligned(contents):
    from ai_edge_litert import schema_py_generated as schema

    pieces = Pieces(contents['float32'])
    content = pieces.cut(op.index for op in pieces.ops)
    start = np.frombuffer(content, np.uint8).ctypes.data
    datas = [buffer.data for buffer in schema.ModelT.InitFromPackedBuf(content).buffers]
    places = [data.ctypes.data - start for data in datas if isinstance(data, np.ndarray)]
    assert len(places) > 20
    assert {place % 16 for place in places} == {0}


@pytest.mark.parametrize(
    ('name', 'block'),
    [
        ('large/bneck_3/expand/conv/Relu;large/bneck_3/expand/conv/BiasAdd', 'bneck_3'),
        ('large/bneck_12/se/scale/mul', 'bneck_12'),
        ('stem/act/mul', 'stem'),
        ('large/pool/Mean', 'head'),
        ('large/features/conv/Conv2D1', 'head'),
        ('large/logits/Reshape;large/logits/conv/Fake', 'head'),
        ('MobilenetV3/expanded_conv_3/expand/hard_swish/mul_1', 'expanded_conv_3'),
        ('StatefulPartitionedCall:0', ''),
        ('', ''),
    ],
)
def test_names_lead_to_blocks(name, block):
    assert block_of(name) == block


def test_what_is_no_tflite_file_is_refused():
    with pytest.raises(ValueError, match=r"this is no TFLite file: bytes 4 to 8 are b'4567'"):
        Pieces(b'0123456789')


@pytest.mark.parametrize('indices', [[], [-1], [0, 1000]])
def test_ops_that_are_not_there_are_refused(contents, indices):
    with pytest.raises(ValueError, match=r'of a file with \d+; expected some from 0 to \d+'):
        Pieces(contents['float32']).cut(indices)
