import dataclasses
import json
import shutil

import numpy as np
import pytest

from benchmark.paper import grid, grid_files, head_grid
from benchmark.paper.grid import Entry
from benchmark.paper.grid_files import Job, TrainedRun, build, check_in_one_piece, is_there
from benchmark.paper.head_grid import HeadEntry
from mobilenet_v3.cost import count
from mobilenet_v3.head_tables import Detector, Segmenter
from mobilenet_v3.heads import DetectionHead, SegmentationHead
from mobilenet_v3.spec_file import load_model_spec, to_dict
from train.card_file import card_path, read_card
from train.tflite_file import TFLiteModel, open_interpreter, read_identity

ENTRY = Entry('tiny', resolution=32)
INT8 = Entry('tiny', resolution=32, scheme='int8', hard_swish='decomposed')


@pytest.fixture(scope='module', autouse=True)
def _tiny_network(tiny_spec):
    with pytest.MonkeyPatch.context() as patch:
        spec = load_model_spec(str(tiny_spec))
        patch.setitem(grid.NETWORKS, 'tiny', spec)
        detector = Detector(spec, DetectionHead((16, 8, 8, 8)))
        patch.setitem(head_grid.DETECTORS, 'tiny_ssd', detector)
        patch.setitem(head_grid.SEGMENTERS, 'tiny_lr', Segmenter(spec, SegmentationHead(filters=8)))
        yield


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    job = Job(ENTRY, str(tmp_path_factory.mktemp('built')))
    build(job)
    return job


@pytest.fixture
def copied(built, tmp_path):
    """A copy that a test may spoil."""
    for path in (built.path, card_path(built.path)):
        shutil.copy(path, tmp_path)
    job = Job(ENTRY, str(tmp_path))
    assert is_there(job)
    return job


# Untrained


def test_a_card_says_what_the_report_looks_for(built):
    card = read_card(built.path)
    assert built.path.name == 'tiny_1_32_float32.tflite'
    assert card['sha256'] == read_identity(built.path)[0]
    assert card['input']['shape'] == [1, 32, 32, 3]
    assert (card['name'], card['scheme'], card['hard_swish']) == (ENTRY.key, 'float32', 'fused')
    assert (card['resolution'], card['method'], card['dataset']) == (32, None, None)
    assert card['spec'] == json.loads(json.dumps(to_dict(ENTRY.spec)))
    assert (card['weights'], card['run']) == ('random, normalised', None)
    assert (card['trained_steps'], card['evaluation']) == (0, None)
    assert (card['partitions'], card['outside']) == (1, {})


def test_the_activations_are_of_ordinary_size(built):
    images = np.random.default_rng(1).uniform(-1, 1, (4, 32, 32, 3)).astype(np.float32)
    answers = TFLiteModel(built.path)(images)
    assert answers.shape == (4, 1000)
    assert 1e-2 < answers.std() < 1e2


def test_the_file_holds_the_kernels_of_the_spec(built):
    interpreter = open_interpreter(built.path)
    made = {int(t) for op in interpreter._get_ops_details() for t in op['outputs']}
    made |= {detail['index'] for detail in interpreter.get_input_details()}
    kernels = sum(
        int(np.prod(detail['shape']))
        for detail in interpreter.get_tensor_details()
        if detail['index'] not in made and len(detail['shape']) == 4
    )
    layers = count(ENTRY.spec, resolution=32).layers
    affine = sum(layer.channels * (2 if layer.statistics else 1) for layer in layers)
    assert kernels == sum(layer.params for layer in layers) - affine


def test_an_int8_file_is_one_piece_with_pixels_in(tmp_path):
    job = Job(INT8, str(tmp_path))
    assert not is_there(job)
    build(job)
    assert is_there(job)
    card = read_card(job.path)
    assert (card['method'], card['partitions'], card['outside']) == ('ptq', 1, {'QUANTIZE': 2})
    assert (card['input']['dtype'], card['output']['dtype']) == ('uint8', 'uint8')


@pytest.mark.parametrize('entry', [ENTRY, INT8], ids=lambda entry: entry.scheme)
def test_a_file_is_the_same_bytes_every_time(entry, tmp_path):
    jobs = [Job(entry, str(tmp_path / name)) for name in ('a', 'b')]
    for job in jobs:
        job.path.parent.mkdir()
        build(job)
    assert jobs[0].path.read_bytes() == jobs[1].path.read_bytes()


def test_a_file_in_pieces_is_refused_and_not_left_to_be_measured(tmp_path):
    entry = dataclasses.replace(INT8, hard_swish='fused')
    with pytest.raises(
        ValueError, match=r'tiny_1_32_int8 has 8 XNNPACK partitions and 7 HARD_SWISH.* expected 1'
    ):
        build(Job(entry, str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_xnnpack_is_refused():
    with pytest.raises(ValueError, match='x has 0 XNNPACK partitions and nothing outside'):
        check_in_one_piece('x', {'partitions': 0, 'outside': {}})
    check_in_one_piece('x', {'partitions': 1, 'outside': {'QUANTIZE': 2}})


@pytest.mark.parametrize(
    ('entry', 'name', 'outputs'),
    [
        (HeadEntry('tiny_ssd', (64, 64)), 'ssdlite_tiny_ssd_64_float32', {'boxes', 'scores'}),
        (HeadEntry('tiny_ssd', (64, 64), 'int8'), 'ssdlite_tiny_ssd_64_int8', {'boxes', 'scores'}),
        (HeadEntry('tiny_lr', (32, 64)), 'segmentation/seg_tiny_lr_32x64_float32', None),
        (HeadEntry('tiny_lr', (32, 64), 'int8'), 'segmentation/seg_tiny_lr_32x64_int8', None),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_a_network_with_a_head_is_one_piece_and_its_card_tells_the_head(
    tmp_path, entry, name, outputs
):
    job = Job(entry, str(tmp_path))
    assert job.path == tmp_path / f'{name}.tflite'
    build(job)
    assert is_there(job)
    card = read_card(job.path)
    assert card['partitions'] == 1
    assert card['input']['shape'] == [1, *entry.resolution, 3]
    assert (card['task'], card['weights']) == (entry.task, 'random, normalised')
    assert card['head'] == json.loads(json.dumps(dataclasses.asdict(entry.head)))
    answers = TFLiteModel(job.path)(np.zeros((1, *entry.resolution, 3), np.float32))
    if outputs:
        assert set(answers) == outputs
        assert answers['scores'].shape[-1] == card['classes'] + 1 == 91
    else:
        assert answers.shape == (1, 32, 64, 19)


# What is there already


def test_a_cut_file_is_built_again(copied):
    content = copied.path.read_bytes()
    copied.path.write_bytes(content[:-1])
    assert not is_there(copied)
    copied.path.write_bytes(b'')
    assert not is_there(copied)
    copied.path.unlink()
    assert not is_there(copied)
    build(copied)
    assert is_there(copied)
    assert copied.path.read_bytes() == content


@pytest.mark.parametrize('text', ['', '{"a"', '[]', '{}'])
def test_a_damaged_card_is_written_again(copied, text):
    card_path(copied.path).write_text(text)
    assert not is_there(copied)


def test_a_missing_card_is_written_again(copied):
    card_path(copied.path).unlink()
    assert not is_there(copied)


@pytest.mark.parametrize('field', ['spec', 'resolution', 'scheme', 'hard_swish', 'weights', 'run'])
def test_a_file_of_something_else_is_built_again(copied, field):
    card = read_card(copied.path)
    card_path(copied.path).write_text(json.dumps({**card, field: 'other'}))
    assert not is_there(copied)


def test_a_file_of_random_weights_is_built_again_when_there_is_a_run(copied):
    run = TrainedRun('runs/x', 8, 'ab')
    assert not is_there(dataclasses.replace(copied, run=run))


# Weights of a run


@pytest.fixture
def run(tiny_run):
    results = json.loads((tiny_run / 'results.json').read_text())
    return TrainedRun(str(tiny_run), 8, 'ab', results['examples'], results['averaged'])


def test_a_float_file_answers_as_the_run_and_its_card_has_the_runs_accuracy(
    run, soft_images, image_folder, tmp_path
):
    from train.run import load_trained

    job = Job(ENTRY, str(tmp_path), run)
    build(job)
    images = soft_images(4)
    _, model, _ = load_trained(run.workdir)
    np.testing.assert_allclose(TFLiteModel(job.path)(images), model(images), atol=1e-4)
    card = read_card(job.path)
    assert (card['weights'], card['trained_steps']) == ('run', 8)
    assert card['evaluation'] == {'examples': 7, 'float': run.metrics}
    assert set(run.metrics) == {'top1', 'top5', 'loss'}
    assert card['dataset'] == f'folder:{image_folder}'
    assert card['labels'] == ['blue', 'green', 'red']
    assert card['spec'] == json.loads(json.dumps(to_dict(ENTRY.spec)))
    assert is_there(job)
    newer = dataclasses.replace(run, checkpoint='cd')
    assert not is_there(dataclasses.replace(job, run=newer))


def test_a_run_that_was_not_evaluated_gives_no_accuracy(run, tmp_path):
    job = Job(ENTRY, str(tmp_path), dataclasses.replace(run, examples=None, metrics=None))
    build(job)
    assert read_card(job.path)['evaluation'] is None


def test_an_int8_file_of_a_run_is_calibrated_on_its_training_images(run, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(
        grid_files, 'our_int8', lambda model, **options: seen.append(options) or b'....TFL3'
    )
    with pytest.raises(ValueError, match='cannot be run'):  # the card's, of such a file
        build(Job(INT8, str(tmp_path), run))
    (options,) = seen
    assert options['images'].shape == (16, 32, 32, 3)
    assert -1 <= options['images'].min() < options['images'].max() <= 1
    assert options['hard_swish'] == 'decomposed'


@pytest.mark.parametrize(
    ('fixture', 'entry'),
    [
        ('tiny_detection_run', HeadEntry('tiny_ssd', (64, 64), 'int8')),
        ('tiny_segmentation_run', HeadEntry('tiny_lr', (48, 64))),
    ],
)
def test_a_file_with_a_head_takes_the_weights_of_a_run(fixture, entry, request, tmp_path):
    workdir = request.getfixturevalue(fixture)
    results = json.loads((workdir / 'results.json').read_text())
    step, averaged = results['step'], results['averaged']
    run = TrainedRun(str(workdir), step, 'ab', results['examples'], averaged)
    job = Job(entry, str(tmp_path), run)
    build(job)
    assert is_there(job)
    card = read_card(job.path)
    assert (card['weights'], card['trained_steps'], card['task']) == ('run', step, entry.task)
    assert card['evaluation']['float'] == averaged
    assert card['partitions'] == 1


def test_a_run_that_goes_on_meanwhile_is_refused(run, tmp_path):
    with pytest.raises(ValueError, match='went on from step 4 to 8 meanwhile; wait for its end'):
        build(Job(ENTRY, str(tmp_path), dataclasses.replace(run, step=4)))
