import json

import pytest
import tensorflow as tf

from export.card import Given, describe, make_card, make_untrained_card
from export.convert import Finish, convert_float
from export.deploy import deploy_form
from train.card_file import card_path, read_card, write_card

EVALUATION = {
    'goal': 'top1',
    'float': {'top1': 0.75},
    'keras': {'top1': 0.7},
    'file': {'top1': 0.5},
    'agreement': 0.875,
}
CARD = {'size_bytes': 2_500_000, 'partitions': 1, 'evaluation': EVALUATION}


def test_a_card_is_plain_json_of_the_file_and_its_run(tiny_trained, tmp_path):
    path = tmp_path / 'tiny_float32.tflite'
    form = deploy_form(tiny_trained.model, hard_swish='fused')
    path.write_bytes(convert_float(form, Finish(tf.nn.softmax)))
    card = make_card(
        path,
        tiny_trained.run,
        scheme='float32',
        step=8,
        evaluation=EVALUATION,
        labels=('a', 'b', 'c'),
        given=Given('probabilities', 'softmax'),
        hard_swish='fused',
        method=None,
    )
    write_card(path, card)
    assert read_card(path) == json.loads(json.dumps(card))
    assert card_path(path) == tmp_path / 'tiny_float32.json'
    assert card['name'] == 'tiny_float32'
    assert card['output'] == {
        'shape': [1, 3],
        'dtype': 'float32',
        'scale': 0.0,
        'zero_point': 0,
        'activation': 'softmax',
    }
    assert card['labels'] == ['a', 'b', 'c']  # in the place of the run's
    assert card['preprocessing'].startswith('RGB, central crop of 0.875 of each side, bilinear')
    assert card['config']['model']['resolution'] == [32, 32]
    assert card['trained_steps'] == 8


def test_a_card_of_an_untrained_file_tells_of_nothing_but_the_file(tiny_trained, tmp_path):
    path = tmp_path / 'tiny_float32.tflite'
    path.write_bytes(convert_float(deploy_form(tiny_trained.model, hard_swish='fused')))
    card = make_untrained_card(
        path,
        tiny_trained.run.spec,
        scheme='float32',
        hard_swish='fused',
        method=None,
    )
    write_card(path, card)
    assert read_card(path) == json.loads(json.dumps(card))
    assert (card['trained_steps'], card['evaluation'], card['partitions']) == (0, None, 1)
    assert card['input']['shape'] == [1, 32, 32, 3]
    assert card['spec']['name'] == 'tiny'
    assert not {'config', 'labels', 'preprocessing'} & card.keys()
    assert describe('x', card).endswith(' MB, 1 XNNPACK partition, not evaluated')


def test_a_card_in_a_line():
    assert describe('x.tflite', CARD) == (
        'x.tflite: 2.50 MB, 1 XNNPACK partition, top-1 0.5000 (float 0.7500, Keras 0.7000), '
        'agreement 0.8750'
    )
    assert '22 XNNPACK partitions,' in describe('x.tflite', {**CARD, 'partitions': 22})


@pytest.mark.parametrize(
    ('departing', 'words'), [(None, 'no layer departs'), ('stem', 'departs first at stem')]
)
def test_a_card_in_a_line_names_the_layers_that_matter(departing, words):
    layers = {'first_departing': departing, 'costliest_in_int8': {'head': 0.5, 'stem': 0.1}}
    card = {**CARD, 'evaluation': {**EVALUATION, 'layers': layers}}
    assert describe('x', card).endswith(f', {words}, costliest in int8: head')
