import dataclasses
import hashlib
import json

import pytest

from benchmark import results
from benchmark.device import Case
from benchmark.latency import summarize, turn_of
from benchmark.paper.measured import read
from benchmark.paper.testing import card_of
from benchmark.session import Protocol

LARGE = 'large_1_224_float32'
DETECTOR, SEGMENTER = 'ssdlite_v3_320_float32', 'seg_v3_rf2_lr_aspp_128_1024x2048_float32'


def evaluated(value, dataset='imagenet2012', examples=50_000, metric='top1'):
    return {
        'evaluation': {'examples': examples, 'file': {metric: value}},
        'config': {'data': {'dataset': dataset}},
    }


@pytest.fixture
def folder(tmp_path):
    """Writes files with cards; and results of devices that measured some of them."""

    class Folder:
        path = tmp_path

        def add(self, name, card):
            content = b'1234TFL3' + name.encode()
            sha256 = hashlib.sha256(content).hexdigest()
            (tmp_path / f'{name}.tflite').write_bytes(content)
            if card is not None:
                (tmp_path / f'{name}.json').write_text(json.dumps({'sha256': sha256, **card}))
            return Case(f'{name}.tflite', tmp_path / f'{name}.tflite', sha256, 12)

        def measure(self, name, cases, device='host', ms=2.0, cpu='x', load=1.0):
            latencies = [
                summarize(
                    [turn_of([ms])] * 6,
                    model=case.name,
                    sha256=case.sha256,
                    size_bytes=12,
                    threads=1,
                    xnnpack=case.xnnpack,
                )
                for case in cases
            ]
            facts = {'cpu': cpu, 'load_average_1min': load}
            entry = results.device_entry(device, facts, [], cases, latencies)
            results.write_results(tmp_path / name, Protocol(), [entry])
            return str(tmp_path / name)

        def read(self, *names):
            return read([str(tmp_path)], names)

    return Folder()


def test_results_and_cards_are_joined_by_the_files_sum(folder):
    case = folder.add('any', card_of(LARGE, **evaluated(0.751)))
    measured = folder.read(folder.measure('r.json', [case], ms=3.0))
    (device,) = measured.devices
    assert device.latencies[LARGE].median_ms == 3.0
    assert measured.imagenet_top1(LARGE) == pytest.approx(75.1)
    assert (measured.notes, device.notes) == ((), ())


def test_every_device_is_one_of_its_own_even_with_the_same_name(folder):
    case = folder.add('any', card_of(LARGE))
    paths = [folder.measure(f'{i}.json', [case], ms=float(i)) for i in (1, 2, 3)]
    devices = folder.read(*paths).devices
    assert [d.name for d in devices] == ['host', 'host (2)', 'host (3)']
    assert [d.latency(LARGE).median_ms for d in devices] == [1.0, 2.0, 3.0]


def test_what_a_device_measured_another_time_stands_beside_it_without_ratios_between(folder):
    first = [folder.add('a', card_of(LARGE)), folder.add('b', card_of(DETECTOR))]
    second = [folder.add('c', card_of(SEGMENTER))]
    paths = folder.measure('1.json', first), folder.measure('2.json', second, ms=9.0, load=7.5)
    (device,) = folder.read(*paths).devices
    assert device.name == 'host'
    assert [device.latency(key).median_ms for key in (LARGE, DETECTOR, SEGMENTER)] == [2, 2, 9]
    assert device.ratio(LARGE, DETECTOR).median == 1
    assert device.ratio(SEGMENTER, LARGE) is device.ratio(LARGE, SEGMENTER) is None
    assert [len(go.keys) for go in device.together] == [2, 1]


def test_what_another_device_of_the_same_name_measured_stands_apart(folder):
    cases = [folder.add('a', card_of(LARGE)), folder.add('b', card_of(SEGMENTER))]
    paths = folder.measure('1.json', cases[:1]), folder.measure('2.json', cases[1:], cpu='y')
    assert [d.name for d in folder.read(*paths).devices] == ['host', 'host (2)']


def test_a_measured_file_without_a_row_is_named(folder):
    known = folder.add('known', card_of(LARGE))
    other = folder.add('other', card_of(LARGE, scheme='float16'))
    stranger = dataclasses.replace(known, name='stranger.tflite', sha256='0' * 64)
    (device,) = folder.read(folder.measure('r.json', [other, stranger])).devices
    assert device.latencies == {}
    assert device.notes == (
        'other.tflite: no row or figure of the paper is this network',
        'stranger.tflite: not matched, no card in --models has its SHA-256',
    )


def test_of_several_files_of_one_key_the_first_with_imagenets_classes_counts(folder):
    flowers = folder.add('a_flowers', card_of(LARGE, output={'shape': [1, 5]}))
    first, second = folder.add('b', card_of(LARGE)), folder.add('c', card_of(LARGE))
    (device,) = folder.read(folder.measure('r.json', [flowers, first, second])).devices
    assert device.latencies[LARGE].model == 'b.tflite'
    assert set(device.notes) == {
        'a_flowers.tflite: has 5 classes, not 1000 as in the paper',
        f'a_flowers.tflite: left aside, b.tflite is {LARGE} too',
        f'c.tflite: left aside, b.tflite is {LARGE} too',
    }


def test_a_detector_has_as_many_classes_as_its_card_has_labels(folder):
    cells = folder.add('a', card_of(DETECTOR, labels=['a', 'b', 'c']))
    coco = folder.add('b', card_of(DETECTOR, labels=[str(i) for i in range(80)]))
    (device,) = folder.read(folder.measure('r.json', [cells, coco])).devices
    assert device.latencies[DETECTOR].model == 'b.tflite'
    assert 'a.tflite: has 3 classes, not 90 as in the paper' in device.notes


def test_of_a_file_with_and_without_xnnpack_the_former_counts(folder):
    case = folder.add('a', card_of(LARGE))
    without = dataclasses.replace(case, name='a without', xnnpack=False)
    (device,) = folder.read(folder.measure('r.json', [without, case])).devices
    assert device.latencies[LARGE].xnnpack
    (device,) = folder.read(folder.measure('r.json', [without])).devices
    assert device.notes == (f'a without: {LARGE} was measured without XNNPACK only',)


def test_an_accuracy_on_other_images_is_not_comparable(folder):
    folder.add('a', card_of(LARGE, **evaluated(0.9, 'folder:mine', examples=400)))
    measured = folder.read(folder.measure('r.json', []))
    accuracy = measured.accuracies[LARGE]
    assert (accuracy.value, accuracy.comparable, accuracy.dataset) == (0.9, False, 'folder:mine')
    assert measured.imagenet_top1(LARGE) is None


@pytest.mark.parametrize(
    ('key', 'metric', 'dataset', 'comparable'),
    [
        (SEGMENTER, 'miou', 'cityscapes', True),
        (SEGMENTER, 'miou', 'folder:mine', False),
        (DETECTOR, 'map', 'coco/2017', False),  # whose test images have no annotations
    ],
)
def test_each_task_has_its_metric(folder, key, metric, dataset, comparable):
    folder.add('a', card_of(key, **evaluated(0.7, dataset, 500, metric)))
    accuracy = folder.read(folder.measure('r.json', [])).accuracies[key]
    assert (accuracy.value, accuracy.examples, accuracy.comparable) == (0.7, 500, comparable)


def test_an_accuracy_on_imagenet_goes_before_others(folder):
    folder.add('a', card_of(LARGE, **evaluated(0.9, 'folder:mine', examples=400)))
    folder.add('b', card_of(LARGE, **evaluated(0.75)))
    measured = folder.read(folder.measure('r.json', []))
    assert measured.imagenet_top1(LARGE) == 75
    assert measured.notes == (f'a.tflite: another file gives the accuracy of {LARGE}',)


def test_a_float_files_accuracy_may_be_its_networks_an_int8_files_not(folder):
    only_float = {'evaluation': {'examples': 50_000, 'float': {'top1': 0.75}}}
    folder.add('a', card_of(LARGE, **only_float))
    folder.add('b', card_of('large_1_224_int8', **only_float))
    measured = folder.read(folder.measure('r.json', []))
    assert measured.accuracies.keys() == {LARGE}


@pytest.mark.parametrize(
    ('card', 'said'),
    [
        (None, 'has no card: left out'),
        ({'sha256': 5}, 'its sha256 is 5, expected a text'),
        ({'spec': {'name': 'x'}}, 'cannot be used: stem is missing'),
        (card_of(LARGE, task=[]), 'cannot be used: its task is [], expected one of'),
        (
            card_of(LARGE, scheme=['int8']),
            "cannot be used: its scheme is ['int8'], expected a text",
        ),
        (card_of(LARGE, input={}), 'it tells no input of shape'),
        (card_of(LARGE, output={'shape': []}), 'it tells no output of shape'),
        (card_of(LARGE, **evaluated(75.0)), 'its top1 is 75.0, expected a fraction from 0 to 1'),
    ],
)
def test_a_card_that_cannot_be_used_is_named(folder, card, said):
    folder.add('a', card)
    (note,) = folder.read(folder.measure('r.json', [])).notes
    assert f'{folder.path / "a.tflite"}' in note
    assert said in note


def test_what_cannot_be_read_is_said(folder, tmp_path):
    case = folder.add('a', card_of(LARGE))
    good = folder.measure('r.json', [case])
    models = [str(tmp_path)]
    with pytest.raises(ValueError, match=r'--results is empty, expected files of benchmark.main'):
        read(models, [])
    with pytest.raises(ValueError, match=r'--models is empty, expected folders of exported files'):
        read([], [good])
    with pytest.raises(ValueError, match=r'none is no folder, expected one with .tflite files'):
        read([str(tmp_path / 'none')], [good])
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match=r'empty holds no .tflite file'):
        read([str(tmp_path / 'empty')], [good])
    with pytest.raises(ValueError, match=r'none.json is missing; run python -m benchmark.main'):
        read(models, [str(tmp_path / 'none.json')])
    (tmp_path / 'old').write_text('{"host": {}, "models": []}')
    with pytest.raises(ValueError, match=r'old holds no results of benchmark.main'):
        read(models, [str(tmp_path / 'old')])
    protocol = {'threads': 1, 'rounds': 10, 'runs_per_round': 20}
    none_measured = json.dumps({'protocol': protocol, 'devices': []})
    (tmp_path / 'none_measured').write_text(none_measured)
    with pytest.raises(ValueError, match=r'the results hold no device; measure again'):
        read(models, [str(tmp_path / 'none_measured')])


@pytest.mark.parametrize('median_ms', ['"fast"', 'NaN', '-1.0', 'true'])
def test_a_latency_that_is_none_is_said(folder, median_ms):
    path = folder.measure('r.json', [folder.add('a', card_of(LARGE))])
    values = json.loads((folder.path / 'r.json').read_text())
    values['devices'][0]['models'][0]['median_ms'] = json.loads(median_ms)
    (folder.path / 'r.json').write_text(json.dumps(values))
    with pytest.raises(
        ValueError, match=r'holds no .*a.tflite took .*expected milliseconds above 0'
    ):
        folder.read(path)
