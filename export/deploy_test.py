import collections

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from export.deploy import deploy_form, deploy_graph
from export.deploy_layers import Scale
from mobilenet_v3 import build_backbone, build_model
from mobilenet_v3.layers import HardSigmoid, HardSwish
from mobilenet_v3.spec_file import load_model_spec

FORMS = ('fused', 'decomposed')
RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(-1, 1, (8, 32, 32, 3)).astype(np.float32)


def normalize(model):
    """Gives each batch normalisation the statistics of a batch, and a scale of either sign."""
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
            layer.gamma.assign(RNG.uniform(0.5, 1.5, layer.gamma.shape) * RNG.choice([-1, 1]))
            layer.beta.assign(RNG.normal(size=layer.beta.shape))
    model(IMAGES, training=True)
    return model


def ops(graph):
    """How often each op occurs."""
    return collections.Counter(node.op for node in graph)


def check(model, forms=FORMS):
    """The deploy form answers as the model does, under the same names; returns its last graph."""
    expected = named(model, model(IMAGES, training=False))
    for form in forms:
        graph = deploy_graph(model, hard_swish=form)
        assert not {'batch_norm', 'identity', 'hard_sigmoid'} & set(ops(graph))
        deployed = deploy_form(model, hard_swish=form)
        answers = named(deployed, deployed(IMAGES))
        assert set(answers) == set(expected)
        for name, value in expected.items():
            atol = 1e-4 * max(1.0, np.abs(value).max())
            np.testing.assert_allclose(answers[name], value, atol=atol, err_msg=name)
    return graph


def named(model, outputs):
    """Outputs by name: that of the layer, where a model gives a list."""
    if isinstance(outputs, list):
        return dict(zip(model.output_names, outputs, strict=True))
    return outputs if isinstance(outputs, dict) else {'': outputs}


@pytest.fixture(scope='module')
def spec(tiny_spec):
    return load_model_spec(str(tiny_spec))


def test_each_block_costs_what_is_promised(spec):
    model = normalize(build_model(spec, resolution=32, num_classes=3))
    graph = check(model)
    swishes = sum(isinstance(layer, HardSwish) for layer in model.layers)
    gates = sum(isinstance(layer, HardSigmoid) for layer in model.layers)
    assert (swishes, gates) == (7, 2)
    # An h-swish is one ADD and one MUL; a gate is part of its convolution, and its SE one MUL.
    count = ops(graph)
    assert count['shift_relu6'] == swishes
    assert count['mul'] == swishes + gates
    assert not count['add'] + count['scale'] + count['relu'] + count['relu6']
    fused = ops(deploy_graph(model, hard_swish='fused'))
    assert (fused['hard_swish'], fused['shift_relu6'], fused['mul']) == (swishes, 0, gates)


def test_the_outputs_of_a_backbone_are_the_trained_ones(spec):
    graph = check(normalize(build_backbone(spec, resolution=32)))
    # An output after an h-swish is to be multiplied by its sixth after all.
    assert ops(graph)['scale'] > 0
    assert all(node.name.endswith('/unscale') for node in graph if node.op == 'scale')


@pytest.mark.parametrize('name', ['small', 'mnasnet_a1'])
def test_backbones_of_the_table(name):
    check(normalize(build_backbone(name, multiplier=0.35, resolution=32)))


def test_a_head_with_all_that_heads_do():
    """Two levels resized and joined, a sigmoid gate, residual sums of either kind."""
    image = tf_keras.Input((32, 32, 3), name='image')

    def block(x, name, filters=8, strides=1):
        x = layers.Conv2D(filters, 3, strides, 'same', use_bias=False, name=f'{name}/conv')(x)
        x = layers.BatchNormalization(name=f'{name}/bn')(x)
        return HardSwish(name=f'{name}/act')(x)

    high = block(image, 'high', strides=2)
    low = block(high, 'low', strides=2)
    upsampled = layers.UpSampling2D(2, interpolation='bilinear', name='upsample')(low)
    joined = layers.Concatenate(name='concat')([high, upsampled])
    gate = layers.GlobalAveragePooling2D(keepdims=True, name='pool')(joined)
    gate = layers.Conv2D(16, 1, activation=None, name='gate/conv')(gate)
    gate = layers.Activation('sigmoid', name='gate')(gate)
    gated = layers.Multiply(name='gated')([joined, gate])
    projected = layers.DepthwiseConv2D(3, padding='same', name='depthwise')(high)
    carried = layers.Add(name='carried')([high, projected])
    summed = layers.Add(name='summed')([block(carried, 'left'), block(gated, 'right')])
    outputs = {
        'scores': layers.Conv2D(2, 1, name='scores')(summed),
        'features': layers.Dropout(0.1, name='dropout')(summed),
    }
    graph = check(normalize(tf_keras.Model(image, outputs, name='head')))
    # Only the output is multiplied: every sum and the concatenation carry the sixth on.
    assert {node.name for node in graph if node.op == 'scale'} == {'summed/unscale'}
    assert graph.outputs == {'scores': 'scores', 'features': 'summed/unscale'}


def small_head(head):
    """A model of what `head` makes of two convolutions of an image."""
    image = tf_keras.Input((32, 32, 3), name='image')
    a = layers.Conv2D(4, 3, strides=2, padding='same', name='a')(image)
    b = layers.Conv2D(4, 3, strides=2, padding='same', name='b')(image)
    return tf_keras.Model(image, head(a, b), name='net')


def test_a_sum_of_an_h_swish_and_a_convolution_carries_the_factor():
    def head(a, b):
        return layers.Conv2D(2, 1, name='out')(layers.Add()([HardSwish(name='swish')(a), b]))

    assert not ops(check(small_head(head)))['scale']


def test_a_sum_of_an_h_swish_and_what_cannot_be_scaled_is_multiplied():
    def head(a, b):
        six = layers.ReLU(6.0, name='six')(b)
        return layers.Conv2D(2, 1, name='out')(layers.Add()([six, HardSwish(name='swish')(a)]))

    graph = check(small_head(head), forms=['decomposed'])
    assert [node.name for node in graph if node.op == 'scale'] == ['swish/unscale']


def test_one_tensor_may_be_multiplied_for_several_sums():
    def head(a, b):
        one, two = HardSwish(name='one')(a), HardSwish(name='two')(b)
        product = layers.Multiply(name='product')([one, two])  # a 36th
        six = layers.ReLU(6.0, name='six')(b)
        return {'x': layers.Add()([six, one]), 'y': layers.Add()([product, one]), 'z': one}

    assert ops(check(small_head(head)))['scale'] >= 3


def test_what_is_not_linear_gets_what_was_trained():
    def head(a, b):
        x = layers.ReLU(6.0)(HardSwish(name='one')(a))
        y = layers.Activation('sigmoid')(HardSwish(name='two')(b))
        return layers.Add()([HardSwish(name='three')(HardSwish(name='four')(x)), y])

    check(small_head(head))


def test_linear_paths_carry_the_factor_to_the_next_convolution():
    def head(a, b):
        x = layers.ReLU()(HardSwish(name='swish')(a))
        x = layers.AveragePooling2D(3, strides=2, padding='same')(x)
        x = layers.UpSampling2D(2)(x)
        x = layers.Concatenate()([x, HardSwish()(b)])
        x = layers.GlobalAveragePooling2D(keepdims=True)(x)
        return layers.Reshape((2,))(layers.Conv2D(2, 1)(layers.Reshape((1, 1, 8))(x)))

    assert not ops(check(small_head(head)))['scale']


def test_a_gate_whose_convolution_has_another_consumer_is_an_op_of_its_own():
    def head(a, b):
        gated = layers.Multiply()([b, HardSigmoid(name='gate')(a)])
        return {'out': layers.Conv2D(2, 1)(gated), 'other': a}

    graph = check(small_head(head))
    assert (graph.nodes['gate'].op, graph.nodes['a'].activation) == ('shift_relu6', 'linear')


def test_a_gate_may_be_an_output():
    graph = check(small_head(lambda a, b: [HardSigmoid(name='gate')(a), b]))
    assert graph.outputs == {'gate': 'a/unscale', 'b': 'b'}


def test_a_relu_that_shares_its_convolution_stays():
    graph = check(small_head(lambda a, b: [layers.ReLU(name='relu')(a), layers.Add()([a, b])]))
    assert graph.nodes['relu'].op == 'relu'


def test_two_batch_norms_after_another_are_folded():
    def head(a, b):
        return layers.BatchNormalization()(layers.BatchNormalization(scale=False)(a))

    image = tf_keras.Input((32, 32, 3))
    model = tf_keras.Model(image, head(layers.Conv2D(4, 3, name='a')(image), None))
    for layer in model.layers[2:]:
        layer.moving_mean.assign(RNG.normal(size=4))
        layer.moving_variance.assign(RNG.uniform(0.1, 2, size=4))
    assert [node.op for node in check(model)] == ['input', 'conv']


@pytest.mark.parametrize(
    ('head', 'source'),
    [
        (lambda a, b: layers.BatchNormalization(name='bn')(layers.Add(name='sum')([a, b])), 'sum'),
        (lambda a, b: layers.BatchNormalization(name='bn')(layers.ReLU(name='relu')(a)), 'relu'),
        (lambda a, b: layers.Add()([layers.BatchNormalization(name='bn')(a), a]), 'a'),
    ],
)
def test_a_batch_norm_that_cannot_be_folded_is_named(head, source):
    with pytest.raises(ValueError, match=f'batch normalisation bn follows {source} .*no rule fold'):
        deploy_graph(small_head(head), hard_swish='fused')


def test_the_model_stays_as_it_is(spec):
    model = normalize(build_model(spec, resolution=32, num_classes=3))
    before = [w.copy() for w in model.get_weights()]
    deploy_form(model, hard_swish='decomposed')
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_layers_are_saved_and_loaded(tmp_path):
    def head(a, b):
        return HardSwish(name='swish')(a)

    model = deploy_form(small_head(head), hard_swish='decomposed')
    assert any(isinstance(layer, Scale) for layer in model.layers)
    model.save(tmp_path / 'model.keras')
    loaded = tf_keras.models.load_model(tmp_path / 'model.keras')
    np.testing.assert_array_equal(loaded(IMAGES), model(IMAGES))


def test_many_maps_are_joined_in_the_order_that_they_have():
    image = tf_keras.Input((32, 32, 3), name='image')
    maps = []
    for i in range(11):
        x = layers.Conv2D(2, 3, strides=2 + i, name=f'map_{i}')(image)
        maps.append(layers.Reshape((-1, 2), name=f'flat_{i}')(x))
    model = tf_keras.Model(image, layers.Concatenate(axis=1, name='all')(maps))
    graph = check(model, ['fused'])
    joins = [len(node.inputs) for node in graph if node.op == 'concat']
    assert joins == [5, 5, 3]  # XNNPACK takes five
