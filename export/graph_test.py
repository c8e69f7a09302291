import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from export.graph import Graph, Node, build, read


def network(*between, outputs=None):
    """A convolution, the given layers one after the other, and what `outputs` makes of the last."""
    image = tf_keras.Input((8, 8, 3), name='image')
    x = layers.Conv2D(4, 3, padding='same', name='conv')(image)
    for layer in between:
        x = layer(x)
    return tf_keras.Model(image, outputs(x) if outputs else x, name='net')


def images():
    return np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)


def test_a_network_survives_being_read_and_built():
    model = network(
        layers.ReLU(6.0, name='relu6'),
        layers.DepthwiseConv2D(3, strides=2, padding='same', activation='relu', name='depthwise'),
        layers.UpSampling2D(2, interpolation='bilinear', name='upsample'),
        layers.AveragePooling2D(3, strides=2, padding='same', name='pool'),
        layers.Dropout(0.5, name='dropout'),
        layers.GlobalAveragePooling2D(keepdims=True, name='mean'),
        layers.Reshape((4,), name='flat'),
        layers.Activation('sigmoid', name='sigmoid'),
    )
    graph = read(model)
    assert [node.op for node in graph] == [
        'input', 'conv', 'relu6', 'depthwise', 'upsample', 'average_pool', 'identity', 'mean',
        'reshape', 'sigmoid',
    ]  # fmt: skip
    assert graph.nodes['depthwise'].activation == 'relu'
    built = build(graph)
    assert built.name == 'net'
    np.testing.assert_array_equal(built(images()), model(images()))


def test_weights_are_copies():
    model = network()
    graph = read(model)
    expected = build(graph)(images()).numpy()
    model.set_weights([w * 2 for w in model.get_weights()])
    np.testing.assert_array_equal(build(graph)(images()), expected)


def test_outputs_keep_their_names():
    model = network(outputs=lambda x: {'raw': x, 'positive': layers.ReLU(name='relu')(x)})
    assert read(model).outputs == {'raw': 'conv', 'positive': 'relu'}
    assert set(build(read(model))(images())) == {'raw', 'positive'}
    model = network(outputs=lambda x: {'only': x})
    assert list(build(read(model))(images())) == ['only']


def test_several_outputs_without_names_are_named_by_their_layers():
    model = network(outputs=lambda x: [x, layers.ReLU(name='relu')(x)])
    assert set(build(read(model))(images())) == {'conv', 'relu'}


def test_any_tensor_can_be_asked_for():
    model = network(layers.ReLU(name='relu'))
    built = build(read(model), outputs={'early': 'conv', 'late': 'relu'})
    assert set(built(images())) == {'early', 'late'}


def test_wrap_sees_each_layer_with_its_weights():
    seen = []
    build(read(network()), wrap=lambda node, layer: seen.append((node.op, layer.built)) or layer)
    assert seen == [('conv', True)]


def test_replacing_and_inserting_keep_the_order():
    graph = read(network(layers.ReLU(name='relu'), layers.Dropout(0.1, name='dropout')))
    assert graph.feeds_only('conv', 'relu')
    graph.replace('dropout', 'relu')
    assert graph.outputs == {'': 'relu'}
    graph.insert_after('conv', Node('other', 'relu6', ['conv']))
    assert [node.name for node in graph] == ['image', 'conv', 'other', 'relu']
    assert not graph.feeds_only('conv', 'relu')
    assert [node.name for node in graph.consumers('conv')] == ['other', 'relu']


def test_what_is_an_output_feeds_more_than_its_consumer():
    graph = read(network(outputs=lambda x: [x, layers.ReLU(name='relu')(x)]))
    assert not graph.feeds_only('conv', 'relu')


def test_a_copy_can_be_changed():
    graph = Graph('net', [Node('a', 'input', []), Node('b', 'relu', ['a'])], {'': 'b'})
    copy = graph.copy()
    copy.nodes['b'].inputs[0] = 'c'
    copy.replace('b', 'a')
    assert graph.nodes['b'].inputs == ['a']
    assert graph.outputs == {'': 'b'}


def test_a_layer_without_a_rule_is_named_with_how_to_add_one():
    message = (
        'layer odd is a LeakyReLU, for which there is no rule; add one to _READERS and _BUILDERS of '
        'export/graph.py and to RULES of export/quantize.py'
    )
    with pytest.raises(ValueError, match=message):
        read(network(layers.LeakyReLU(name='odd')))


@pytest.mark.parametrize(
    ('layer', 'message'),
    [
        (layers.Conv2D(4, 1, groups=2, name='odd'), 'layer odd is a grouped convolution'),
        (layers.DepthwiseConv2D(3, depth_multiplier=2, name='odd'), 'odd is a grouped convolution'),
        (layers.Conv2D(4, 1, activation='swish', name='odd'), "odd has the activation 'swish'"),
        (layers.ReLU(1.0, name='odd'), 'layer odd is a ReLU of a form for which there is no rule'),
        (layers.ReLU(negative_slope=0.1, name='odd'), 'layer odd is a ReLU of a form'),
        (layers.Activation('tanh', name='odd'), "layer odd has the activation 'tanh'"),
        (tf_keras.Sequential([layers.ReLU()], name='odd'), 'layer odd is a Sequential, for which'),
    ],
)
def test_a_form_of_a_layer_without_a_rule_is_named(layer, message):
    with pytest.raises(ValueError, match=message):
        read(network(layer))


def test_a_nested_model_is_named():
    inner = tf_keras.Input((8, 8, 4))
    nested = tf_keras.Model(inner, layers.ReLU()(inner), name='inner')
    with pytest.raises(ValueError, match='layer inner is a Functional, for which there is no rule'):
        read(network(nested))


def test_a_layer_that_is_called_twice_is_named():
    shared = layers.ReLU(name='shared')
    with pytest.raises(ValueError, match=r'layer shared is called 2 times, .* a layer of its own'):
        read(network(shared, shared))


@pytest.mark.parametrize(
    'model',
    [
        tf_keras.Sequential([layers.Input((8, 8, 3)), layers.ReLU()], name='chain'),
        type('Custom', (tf_keras.Model,), {})(name='chain'),
    ],
)
def test_what_is_no_functional_model_is_refused(model):
    with pytest.raises(ValueError, match='chain is no functional model; expected one of build_mod'):
        read(model)


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_a_weight_that_is_not_finite_is_named(value):
    model = network()
    kernel, bias = model.get_layer('conv').get_weights()
    model.get_layer('conv').set_weights([kernel, tf.fill(bias.shape, value)])
    with pytest.raises(ValueError, match='conv/bias:0 is not finite; export a checkpoint from bef'):
        read(model)
