import errno
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import tf_keras

from export import metadata, stage
from export.calibrate import observe
from export.card import describe
from export.stage import Options, export
from export.start import Trained
from train import files
from train.card_file import card_path, read_card
from train.metrics_file import read_metrics
from train.tflite_file import TFLiteModel
from train.trainer import Trainer

SCHEMES = ('float32', *stage.SCHEMES)
INT8_FILES = {'.json', '.tflite', '_layers.md', '_layers.png'}


@pytest.fixture(scope='module')
def exported(tiny_trained, tiny_recipe, tmp_path_factory):
    """The folder of all schemes, the int8 one without training."""
    output = tmp_path_factory.mktemp('exported')
    export(tiny_trained, Options(str(output), stage.SCHEMES, method='ptq'), tiny_recipe())
    return output


@pytest.fixture(scope='module')
def trained_on(tiny_trained, tiny_recipe, tmp_path_factory):
    """The folder of an int8 file with training, undisturbed."""
    output = tmp_path_factory.mktemp('qat')
    export(tiny_trained, Options(str(output), ('int8',)), tiny_recipe())
    return output


@pytest.fixture
def output(exported, tmp_path):
    """A folder with the ranges that the export found, and no more."""
    shutil.copy(exported / 'tiny_decomposed_ranges.json', tmp_path)
    return tmp_path


def card(folder, scheme, form=''):
    return json.loads((folder / f'tiny_{scheme}{form}.json').read_text())


def names(folder):
    return {path.name for path in folder.iterdir()}


def changed(trained):
    """The same network with another bias."""
    model = tf_keras.models.clone_model(trained.model)
    model.set_weights(trained.model.get_weights())
    bias = model.get_layer('logits/conv').bias
    bias.assign_add([0.1, 0.0, 0.0])
    return Trained(trained.run, trained.source, model, trained.step)


# ------------------------------------------------------------------------- what is written


def test_each_scheme_is_a_file_with_a_card_and_nothing_else_is_left(exported):
    expected = {f'tiny_{scheme}{end}' for scheme in SCHEMES for end in ('.json', '.tflite')}
    expected |= {f'tiny_int8{end}' for end in INT8_FILES} | {'tiny_decomposed_ranges.json'}
    assert names(exported) == expected


@pytest.mark.parametrize('scheme', SCHEMES)
def test_the_card_says_what_the_file_is(exported, scheme):
    found = card(exported, scheme)
    assert found['scheme'] == scheme
    assert found['method'] == ('ptq' if scheme == 'int8' else None)
    decomposed = scheme in ('int8', 'int16x8')
    assert found['hard_swish'] == ('decomposed' if decomposed else 'fused')
    assert ('HARD_SWISH' in found['ops']) != decomposed
    dtype = 'uint8' if scheme == 'int8' else 'float32'
    assert found['input']['dtype'] == found['output']['dtype'] == dtype
    assert found['input']['shape'] == [1, 32, 32, 3]
    assert found['output']['activation'] == 'none (logits)'
    assert found['labels'] == ['blue', 'green', 'red']
    assert found['trained_steps'] == 8
    assert found['partitions'] == (0 if scheme == 'int16x8' else 1)  # XNNPACK has no int16
    content = (exported / f'tiny_{scheme}.tflite').read_bytes()
    assert found['size_bytes'] == len(content)
    assert found['spec']['name'] == 'tiny'
    assert '8.5' not in found['preprocessing']
    assert '32×32' in found['preprocessing']


@pytest.mark.parametrize('scheme', SCHEMES)
def test_the_card_says_how_good_the_file_is(exported, scheme):
    evaluation = card(exported, scheme)['evaluation']
    assert evaluation['examples'] == 7
    assert evaluation['float'] == card(exported, 'float32')['evaluation']['keras']
    for side in ('keras', 'file', 'float'):
        assert evaluation[side].keys() == {'top1', 'top5', 'loss'}
    assert evaluation['agreement'] >= 6 / 7
    assert evaluation['agreement_with_float'] >= 5 / 7
    assert ('kernels' in evaluation) == ('layers' in evaluation) == (scheme == 'int8')
    if scheme in ('float32', 'float16'):
        assert evaluation['max_difference'] < (1e-5 if scheme == 'float32' else 1e-2)


def test_the_card_of_int8_names_what_departs_and_what_costs(exported):
    evaluation = card(exported, 'int8')['evaluation']
    assert evaluation['layers']['first_departing'] is None
    assert evaluation['layers']['layers'] > 30
    costs = list(evaluation['layers']['costliest_in_int8'].values())
    assert costs == sorted(costs, reverse=True)
    assert 'without_xnnpack' in evaluation['kernels']
    assert evaluation['kernels']['agreement'] >= 6 / 7
    assert 'mean_steps' in evaluation
    line = describe(exported / 'tiny_int8.tflite', read_card(exported / 'tiny_int8.tflite'))
    assert '1 XNNPACK partition,' in line
    assert 'no layer departs, costliest in int8: ' in line


def test_int8_is_one_piece_of_whole_numbers(exported):
    found = card(exported, 'int8')
    assert found['float_ops'] == {}
    assert found['outside'] == {'QUANTIZE': 2}


@pytest.mark.parametrize('io', ['int8', 'float32'])
def test_int8_takes_and_gives_the_types_that_are_asked_for(
    tiny_trained, tiny_recipe, output, soft_images, exported, io
):
    options = Options(str(output), ('int8',), method='ptq', io=io, labels=('a', 'b', 'c'))
    export(tiny_trained, options, tiny_recipe())
    found = card(output, 'int8')
    assert found['input']['dtype'] == found['output']['dtype'] == io
    assert found['labels'] == ['a', 'b', 'c']
    assert ('mean_steps' in found['evaluation']['kernels']) == (io == 'int8')
    if io == 'int8':
        images = soft_images(8)
        ours, theirs = (TFLiteModel(f / 'tiny_int8.tflite')(images) for f in (output, exported))
        np.testing.assert_array_equal(ours, theirs)


def test_probabilities_are_the_softmax_of_the_logits(
    tiny_trained, tiny_recipe, output, exported, soft_images
):
    options = Options(str(output), ('int8',), method='ptq', outputs='probabilities')
    export(tiny_trained, options, tiny_recipe())
    images = soft_images(4)
    for scheme, tolerance in (('float32', 1e-5), ('int8', 1 / 256)):
        assert card(output, scheme)['output']['activation'] == 'softmax'
        logits, shares = (
            TFLiteModel(f / f'tiny_{scheme}.tflite')(images) for f in (exported, output)
        )
        expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(shares, expected, atol=tolerance)


@pytest.mark.slow
def test_a_form_that_was_asked_for_is_in_the_names(tiny_trained, tiny_recipe, tmp_path):
    options = Options(str(tmp_path), ('int8',), method='ptq', hard_swish='fused')
    export(tiny_trained, options, tiny_recipe())
    found = card(tmp_path, 'int8', '_fused')
    assert found['hard_swish'] == 'fused'
    assert found['outside'] == {'HARD_SWISH': 7, 'QUANTIZE': 2}
    assert found['partitions'] > 1
    assert {'tiny_fused_ranges.json', 'tiny_float32_fused.tflite'} <= names(tmp_path)


# ------------------------------------------------------------------------- ranges of earlier


def test_exporting_again_reuses_the_ranges_and_gives_the_same_bytes(
    tiny_trained, tiny_recipe, exported, output, monkeypatch
):
    def fail(*arguments, **options):
        raise AssertionError('calibrated again')

    monkeypatch.setattr(stage, 'calibrate', fail)
    export(tiny_trained, Options(str(output), ('int8',), method='ptq'), tiny_recipe())
    for scheme in ('float32', 'int8'):
        again = (output / f'tiny_{scheme}.tflite').read_bytes()
        assert again == (exported / f'tiny_{scheme}.tflite').read_bytes()
        ours, theirs = card(output, scheme), card(exported, scheme)
        ours.pop('exported_at'), theirs.pop('exported_at')
        assert ours == theirs


@pytest.fixture
def calibrations(monkeypatch):
    """What was calibrated, instead of that."""
    calls = []

    def spy(graph, images, **options):
        calls.append(images.shape)
        raise InterruptedError

    monkeypatch.setattr(stage, 'calibrate', spy)
    return calls


@pytest.mark.parametrize(
    'what', ['weights', 'recipe', 'loss', 'class weights', 'images', 'nothing']
)
def test_ranges_of_another_network_recipe_or_dataset_are_not_reused(
    tiny_trained, tiny_recipe, tiny_config, output, calibrations, what
):
    trained, recipe = tiny_trained, tiny_recipe()
    if what == 'weights':
        trained = changed(trained)
    elif what == 'recipe':
        recipe.distill.weight = 0.25
    elif what == 'loss':
        recipe.train.label_smoothing = 0.1
    elif what in ('class weights', 'images'):
        config = tiny_config()
        if what == 'images':
            config.augment.eval_crop = 0.5
        else:
            config.train.class_weights = (1.0, 2.0, 1.0)
        run = type(trained.run)(config, trained.run.spec, trained.run.labels)
        trained = Trained(run, trained.source, trained.model, trained.step)
    options = Options(str(output), ('int8',), method='ptq')
    if what == 'nothing':
        export(trained, options, recipe)
        assert not calibrations
        return
    with pytest.raises(InterruptedError):
        export(trained, options, recipe)
    assert calibrations == [(10, 32, 32, 3)]


# --------------------------------------------------------------------------------- training


@pytest.mark.slow
def test_training_leaves_what_a_run_leaves(trained_on):
    folder = trained_on / 'tiny_decomposed_training'
    assert [line['step'] for line in read_metrics(str(folder))][-1] == 5
    results = json.loads((folder / 'results.json').read_text())
    found = card(trained_on, 'int8')
    assert found['method'] == 'qat'
    assert found['partitions'] == 1
    assert found['evaluation']['layers']['first_departing'] is None
    assert found['evaluation']['keras']['loss'] == pytest.approx(
        results['averaged']['loss'], abs=0.05
    )
    assert names(trained_on) == {
        'tiny_float32.json',
        'tiny_float32.tflite',
        'tiny_decomposed_ranges.json',
        'tiny_decomposed_training',
        *(f'tiny_int8{end}' for end in INT8_FILES),
    }


@pytest.mark.slow
def test_training_starts_from_the_weights_and_ranges_without_it(
    tiny_trained, tiny_recipe, exported, output, soft_images
):
    recipe = tiny_recipe()
    recipe.schedule.learning_rate, recipe.train.epochs = 1e-30, 0.4
    export(tiny_trained, Options(str(output), ('int8',)), recipe)
    assert card(output, 'int8')['method'] == 'qat'
    images = soft_images(8)
    ours, theirs = (TFLiteModel(f / 'tiny_int8.tflite')(images) for f in (output, exported))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.slow
def test_training_changes_the_file(exported, trained_on):
    ours, theirs = ((f / 'tiny_int8.tflite').read_bytes() for f in (exported, trained_on))
    assert ours != theirs


@pytest.mark.slow
def test_an_interrupted_training_ends_as_if_undisturbed(
    tiny_trained, tiny_recipe, trained_on, tmp_path, monkeypatch, capsys
):
    train = Trainer.train

    def stop_at_3(trainer, iterator, count):
        loss = train(trainer, iterator, count)
        if int(trainer.optimizer.iterations) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss

    options = Options(str(tmp_path), ('int8', 'float16'))
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, 'train', stop_at_3)
        assert export(tiny_trained, options, tiny_recipe()) is None
    assert 'stopped at step 3 of 5, saved; the same command continues' in capsys.readouterr().out
    assert not (tmp_path / 'tiny_int8.tflite').exists()
    paths = export(tiny_trained, options, tiny_recipe())
    assert 'at step 3 of 5' in capsys.readouterr().out
    assert [Path(path).name for path in paths] == [
        'tiny_float32.tflite',
        'tiny_int8.tflite',
        'tiny_float16.tflite',
    ]
    undisturbed = (trained_on / 'tiny_int8.tflite').read_bytes()
    assert (tmp_path / 'tiny_int8.tflite').read_bytes() == undisturbed


@pytest.mark.slow
def test_the_training_of_another_network_is_not_continued(
    tiny_trained, tiny_recipe, trained_on, tmp_path
):
    output = shutil.copytree(trained_on, tmp_path / 'output')
    before = {path: path.read_bytes() for path in output.iterdir() if path.is_file()}
    with pytest.raises(ValueError, match=r'holds another run; use another .*--output') as raised:
        export(changed(tiny_trained), Options(str(output), ('int8',)), tiny_recipe())
    assert 'config.quantize.source: ' in str(raised.value)
    assert '\n' not in str(raised.value)
    assert {path: path.read_bytes() for path in output.iterdir() if path.is_file()} == before


# ----------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'schemes': ('int4',)}, "unknown scheme 'int4'; expected some of int8, int16x8, dynamic"),
        ({'schemes': ('',)}, "unknown scheme ''; expected some of int8"),
        ({'labels': ('a', 'b')}, '--labels names 2 classes, the network has 3'),
        (
            {'schemes': ('int16x8',), 'hard_swish': 'fused'},
            '--hard_swish=fused does not go with --scheme=int16x8: .* use --hard_swish=auto',
        ),
        (
            {'schemes': ('int8',), 'metadata': True, 'io': 'int8'},
            '--metadata does not go with --io=int8, which MediaPipe refuses; use uint8',
        ),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_made(
    tiny_trained, tiny_recipe, tmp_path, changes, message
):
    options = Options(str(tmp_path / 'output'), **changes)
    with pytest.raises(ValueError, match=message):
        export(tiny_trained, options, tiny_recipe())
    assert not (tmp_path / 'output').exists()


@pytest.mark.parametrize(('field', 'value'), [('calibration_images', 0), ('search_images', -1)])
def test_a_number_of_images_that_is_none_is_refused(
    tiny_trained, tiny_recipe, tmp_path, field, value
):
    # Of an endless stream -1 would be all.
    recipe = tiny_recipe()
    recipe.quantize[field] = value
    with pytest.raises(ValueError, match=f'config.quantize.{field} is {value}; expected'):
        export(tiny_trained, Options(str(tmp_path), ('int8',)), recipe)


@pytest.mark.parametrize('method', ['ptq', 'qat'])
@pytest.mark.parametrize(('field', 'value'), [('weight', 1.5), ('temperature', 0.0)])
def test_a_distillation_out_of_range_is_refused(
    tiny_trained, tiny_recipe, output, method, field, value
):
    recipe = tiny_recipe()
    recipe.distill[field] = value
    message = r'config.distill has weight .* expected a weight in \[0, 1\] and a temperature above'
    with pytest.raises(ValueError, match=message):
        export(tiny_trained, Options(str(output), ('int8',), method=method), recipe)


def test_an_output_that_is_a_file_is_refused(tiny_trained, tiny_recipe, tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(ValueError, match=r'cannot make --output=.*file: '):
        export(tiny_trained, Options(str(tmp_path / 'file')), tiny_recipe())


def test_a_full_disk_leaves_no_half_file(tiny_trained, tiny_recipe, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(files.os, 'fsync', full)
    with pytest.raises(OSError, match=r'No space left on device: .*tiny_float32.tflite'):
        export(tiny_trained, Options(str(tmp_path)), tiny_recipe())
    assert names(tmp_path) == set()


@pytest.mark.parametrize('layer', ['logits/conv', 'bneck_2/depthwise/bn'])
def test_a_weight_that_is_not_finite_is_named(tiny_trained, tiny_recipe, tmp_path, layer):
    poisoned = changed(tiny_trained)
    weight = poisoned.model.get_layer(layer).weights[-1]
    weight.assign(np.full(weight.shape, np.nan))
    with pytest.raises(ValueError, match=layer) as raised:
        export(poisoned, Options(str(tmp_path), ('int8',), method='ptq'), tiny_recipe())
    assert 'finite' in str(raised.value)
    assert '\n' not in str(raised.value)
    assert names(tmp_path) == set()


# --------------------------------------------------------------------------------- metadata


def test_metadata_without_mediapipe_is_refused(tiny_trained, tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(metadata, 'available', lambda: False)
    message = r'--metadata needs MediaPipe, which is not installed: pip install .*mediapipe'
    with pytest.raises(ValueError, match=message):
        export(tiny_trained, Options(str(tmp_path), metadata=True), tiny_recipe())


@pytest.fixture
def packed(tiny_trained, tiny_recipe, output):
    if not metadata.available():
        pytest.skip(f'mediapipe is not installed: {metadata.INSTALL}')
    options = Options(str(output), ('int8',), method='ptq', metadata=True, labels=('x', 'y', 'z'))
    try:
        export(tiny_trained, options, tiny_recipe())
    except ValueError as e:
        if 'apt install' in str(e):
            pytest.skip(str(e))
        raise
    return output


def test_mediapipe_loads_the_packed_files(packed, exported, soft_images):
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    images = soft_images(2)
    for scheme in ('float32', 'int8'):
        path = packed / f'tiny_{scheme}.tflite'
        found = metadata.read_metadata(path.read_bytes())
        assert found['labels'] == ['x', 'y', 'z']
        assert found['outputs'] == ['logit']
        assert card(packed, scheme)['sha256'] != card(exported, scheme)['sha256']
        scores = TFLiteModel(exported / path.name)(images)
        options = vision.ImageClassifierOptions(
            base_options=BaseOptions(model_asset_path=str(path)), max_results=3
        )
        with vision.ImageClassifier.create_from_options(options) as classifier:
            for image, expected in zip(images, scores, strict=True):
                pixels = np.round((image + 1) * 127.5).astype(np.uint8)
                answer = classifier.classify(
                    mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
                )
                theirs = {c.index: c.score for c in answer.classifications[0].categories}
                np.testing.assert_allclose([theirs[i] for i in range(3)], expected, atol=1e-4)


def test_every_file_has_its_card_beside_it(exported):
    for path in exported.glob('*.tflite'):
        assert card_path(path).is_file()


def test_ranges_may_be_the_extremes(tiny_trained, tiny_recipe, tmp_path):
    recipe = tiny_recipe()
    recipe.quantize.search_images = 0
    stage_ = stage._Stage(tiny_trained, Options(str(tmp_path), method='ptq'), recipe, None)
    graph = stage.deploy_graph(tiny_trained.model, hard_swish='decomposed')
    ranges = stage_._ranges(graph, 'decomposed')
    images = stage_._calibration_batch['image']
    assert ranges == observe(graph, images)
    saved = json.loads((tmp_path / 'tiny_decomposed_ranges.json').read_text())
    assert saved['made_of']['search_images'] == 0
