import dataclasses

import pytest

from mobilenet_v3.spec import (
    BlockSpec,
    ConvSpec,
    Normalize,
    SqueezeExcite,
    endpoints,
    explicit_padding,
    make_divisible,
    place,
    strided_side,
)
from mobilenet_v3.tables import SPECS, get_spec
from mobilenet_v3.transforms import with_output_stride


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (16, 16),
        (18, 24),
        (24 * 0.75, 24),
        (11.9, 16),
        (8 * 0.35, 8),
        (30, 32),
        (84, 88),
        (240 / 4, 64),
    ],
)
def test_make_divisible_rounds_to_eights_and_never_below_90_percent(value, expected):
    assert make_divisible(value) == expected
    assert make_divisible(value) >= 0.9 * value


def test_squeeze_is_a_quarter_of_the_expansion_in_v3_and_of_the_input_in_mnasnet():
    assert SqueezeExcite().width(40, 120) == 32  # 30, rounded to eights
    mnasnet = SqueezeExcite(relative_to='input', gate='sigmoid', divisor=1)
    assert mnasnet.width(40, 120) == 10


@pytest.mark.parametrize(
    ('name', 'se'), [('large', {4, 5, 6, *range(11, 16)}), ('small', {1, *range(4, 12)})]
)
def test_squeeze_and_excite_stands_in_the_rows_of_the_released_code(name, se):
    blocks = get_spec(name).blocks
    assert {i for i, block in enumerate(blocks, start=1) if block.se} == se


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('large', {'C4': 'bneck_13/expand', 'C5': 'last', 'C3': 'bneck_7/expand'}),
        ('small', {'C4': 'bneck_9/expand', 'C5': 'last', 'C1': 'stem'}),
        ('v1', {'C4': 'bneck_11', 'C5': 'last'}),
        ('v2', {'C4': 'bneck_14/expand', 'C5': 'last'}),
    ],
)
def test_endpoints_are_where_the_paper_attaches_its_heads(name, expected):
    found = endpoints(get_spec(name))
    assert list(found) == ['C1', 'C2', 'C3', 'C4', 'C5']
    assert expected.items() <= found.items()


@pytest.mark.parametrize('output_stride', [32, 16, 8])
@pytest.mark.parametrize('name', SPECS)
def test_output_stride_turns_later_strides_into_dilation(name, output_stride):
    spec = with_output_stride(get_spec(name), output_stride)
    placed = place(spec)
    stride = spec.stem.stride
    for p in placed:
        stride *= p.stride
        # The field of view of a block is what it was: stride taken × dilation of the blocks after it.
        assert stride <= output_stride
    assert stride == output_stride
    nominal = placed[-1].nominal_stride
    assert nominal == 32
    assert placed[-1].dilation == nominal // output_stride


def test_the_block_whose_stride_is_dropped_is_not_dilated_itself():
    placed = place(with_output_stride(get_spec('large'), 16))
    assert [(p.stride, p.dilation) for p in placed[12:]] == [(1, 1), (1, 2), (1, 2)]


def test_residuals_are_where_shape_is_kept():
    residual = [p.name for p in place(get_spec('small')) if p.has_residual]
    assert residual == [f'bneck_{i}' for i in (3, 5, 6, 8, 10, 11)]
    assert not any(p.has_residual for p in place(get_spec('v1')))


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: BlockSpec(4, 16, 16, None, 'relu', 1), 'kernel is 4; expected an odd number'),
        (lambda: BlockSpec(3, 16, 16, None, 'relu', 3), 'stride is 3; expected 1 or 2'),
        (lambda: BlockSpec(3, 16, 0, None, 'relu', 1), 'filters is 0; expected at least 1'),
        (
            lambda: BlockSpec(3, 16, 16, None, 'gelu', 1),
            "activation is 'gelu'; expected one of linear",
        ),
        (lambda: ConvSpec(1, 8, 'relu', scaling='no'), "scaling is 'no'; expected one of width"),
        (lambda: SqueezeExcite(ratio=0), r'ratio is 0; expected a fraction in \(0, 1\]'),
        (
            lambda: SqueezeExcite(gate='tanh'),
            "gate is 'tanh'; expected one of hard_sigmoid, sigmoid",
        ),
        (
            lambda: dataclasses.replace(get_spec('v2'), output_stride=4),
            'output_stride is 4; expected one of 8, 16, 32',
        ),
        (
            lambda: dataclasses.replace(get_spec('v2'), dropout=1.0),
            'dropout is 1.0; expected a rate',
        ),
        (lambda: dataclasses.replace(get_spec('v2'), blocks=()), 'expected at least one block'),
        (
            lambda: dataclasses.replace(
                get_spec('v1'), blocks=(BlockSpec(3, 8, 16, None, 'relu', 1),)
            ),
            r'blocks\[0\].expansion is 8, narrower than its input of 32',
        ),
    ],
)
def test_a_spec_that_cannot_be_built_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_unknown_model_is_answered_with_the_nearest_name():
    with pytest.raises(ValueError, match="unknown model 'larg'; did you mean 'large'"):
        get_spec('larg')


def test_images_are_normalized_as_the_weights_expect():
    scale, shift = Normalize(mean=(0.485,), std=(0.229,)).scale_and_shift()
    for pixel in (0, 100, 255):
        ours = pixel / 127.5 - 1
        assert ours * scale[0] + shift[0] == pytest.approx((pixel / 255 - 0.485) / 0.229)


@pytest.mark.parametrize(
    ('mean', 'std', 'message'),
    [
        ((0.5, 0.5), (0.5, 0.5), r'mean is \(0.5, 0.5\); expected a number for each input channel'),
        ((0.5,), (0.5, 0.5, 0.5), 'std is .* expected as many numbers as mean'),
        ((0.5,), (0.0,), 'std is .* expected numbers above 0'),
    ],
)
def test_impossible_normalization_is_refused(mean, std, message):
    with pytest.raises(ValueError, match=message):
        Normalize(mean, std)


def test_an_unknown_padding_is_refused():
    with pytest.raises(ValueError, match="padding is 'valid'; expected one of same, symmetric"):
        dataclasses.replace(SPECS['large'], padding='valid')


def test_a_squeeze_width_of_its_own():
    assert SqueezeExcite(squeezed=20).width(in_channels=16, expansion=64) == 20
    with pytest.raises(ValueError, match='squeezed is 0; expected at least 1, or null'):
        SqueezeExcite(squeezed=0)


@pytest.mark.parametrize(
    ('padding', 'stem', 'zeros', 'sides'),
    [
        ('same', False, None, (8, 8)),
        ('symmetric', False, (1, 1), (8, 8)),
        ('after', False, (0, 1), (8, 7)),
        ('after', True, None, (8, 8)),
    ],
)
def test_padding_of_a_strided_3x3(padding, stem, zeros, sides):
    spec = dataclasses.replace(SPECS['v1'], padding=padding)
    assert explicit_padding(spec, 3, 2, stem=stem) == zeros
    assert explicit_padding(spec, 3, 1, stem=stem) is None
    assert tuple(strided_side(side, 3, 2, zeros) for side in (16, 15)) == sides
