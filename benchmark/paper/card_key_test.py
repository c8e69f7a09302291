import dataclasses
import re

import pytest

from benchmark.paper import grid
from benchmark.paper.card_key import key_of
from benchmark.paper.testing import card_of
from configs import detection, segmentation
from mobilenet_v3.head_tables import SEGMENTERS
from mobilenet_v3.spec_file import to_dict
from train.run import Run, resolve_spec

LARGE = 'large_1_224_float32'
DETECTOR, SEGMENTER = 'ssdlite_v3_320_float32', 'seg_v3_rf2_lr_aspp_128_512x1024_float32'


@pytest.mark.parametrize('key', grid.ENTRIES)
def test_a_card_is_its_entry_whatever_its_names_and_training(key):
    spec = dataclasses.replace(
        grid.ENTRIES[key].spec, name='mine', dropout=0.5, batch_norm_momentum=0.9
    )
    assert key_of(card_of(key, name='a', spec=to_dict(spec))) == key


def test_a_network_without_hard_swish_has_one_form():
    assert key_of(card_of('v2_1_224_float32', hard_swish='decomposed')) == 'v2_1_224_float32'
    assert key_of(card_of('v2_1_224_int8', hard_swish='fused')) == 'v2_1_224_int8'


@pytest.mark.parametrize(
    'changes',
    [
        {'hard_swish': 'fused', 'scheme': 'int8'},  # cut to pieces: not the int8 of Table 4
        {'scheme': 'float16'},
        {'input': {'shape': [1, 224, 192, 3]}},
        {'input': {'shape': [1, 224, 224, 1]}},
        {'input': {'shape': [1, 200, 200, 3]}},
    ],
)
def test_another_file_is_none_of_the_papers(changes):
    assert key_of(card_of(LARGE, **changes)) is None


def test_a_card_without_a_task_is_a_classifiers():
    card = card_of(LARGE)
    del card['task'], card['gives']
    assert key_of(card) == LARGE


@pytest.mark.parametrize(
    ('key', 'changes'),
    [
        (DETECTOR, {'gives': 'detections'}),  # with the suppression of boxes
        (SEGMENTER, {'gives': 'labels'}),
        (DETECTOR, {'head': None}),
        (DETECTOR, {'task': 'classification', 'gives': 'logits', 'head': None}),
        (DETECTOR, {'input': {'shape': [1, 320, 300, 3]}}),
        (SEGMENTER, {'input': {'shape': [1, 1024, 512, 3]}}),
    ],
)
def test_another_file_is_none_of_the_papers_with_heads(key, changes):
    assert key_of(card_of(key, **changes)) is None


def test_a_head_is_the_same_whatever_its_dropout_and_another_with_other_channels():
    head = card_of(SEGMENTER)['head']
    assert key_of(card_of(SEGMENTER, head={**head, 'dropout': 0.5})) == SEGMENTER
    assert key_of(card_of(SEGMENTER, head={**head, 'filters': 64})) is None


@pytest.mark.parametrize('task', ['pose', ['classification'], {}, None])
def test_a_task_that_nobody_knows_is_refused(task):
    told = re.escape(repr(task))
    with pytest.raises(
        ValueError, match=f'its task is {told}, expected one of classification, det'
    ):
        key_of(card_of(LARGE, task=task))


@pytest.mark.parametrize('name', ['scheme', 'hard_swish'])
@pytest.mark.parametrize('value', [['float32'], {}, 1])
def test_a_scheme_or_form_that_is_no_text_is_refused(name, value):
    told = re.escape(repr(value))
    with pytest.raises(ValueError, match=f'its {name} is {told}, expected a text; export again'):
        key_of(card_of(LARGE, **{name: value}))


@pytest.mark.parametrize(
    'shape', [None, 'abcd', [1, 224, 3], [1, [224], 224, 3], [1, 224, {}, 3], [1, 224, 224, [3]]]
)
def test_an_input_without_a_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r'^it tells no input of shape \[1, H, W, C\]$'):
        key_of(card_of(LARGE, input={'shape': shape}))


def trained_as(config, num_classes, key):
    """The card of a run's file, as far as it tells what the file computes."""
    run = Run(config, resolve_spec(config), tuple(str(i) for i in range(num_classes)))
    head = dataclasses.asdict(run.make_task().head)
    return card_of(key, name='a run', spec=to_dict(run.spec), head=head)


@pytest.mark.parametrize('halved', [False, True])
def test_a_trained_detector_is_the_papers(halved):
    config = detection.get_config()
    config.model.name, config.detection.halve_tail = 'small', halved
    key = f'ssdlite_small{"_halved" if halved else ""}_320_float32'
    assert key_of(trained_as(config, 90, key)) == key


@pytest.mark.parametrize('row', SEGMENTERS)
def test_a_trained_segmenter_is_the_papers(row):
    config = segmentation.get_config(row)
    key = f'seg_{row}_1024x2048_float32'
    assert key_of(trained_as(config, 19, key)) == key
