import dataclasses
import json

import numpy as np
import pytest

from mobilenet_v3.spec_file import load_model_spec
from search.channels.criteria import CRITERIA
from search.channels.narrow import narrow
from search.trials import training
from search.trials.holdout import hold_out
from search.trials.training import (
    Training,
    make_trainer,
    read_arrays,
    read_state,
    save_state,
    settling,
)
from search.trials.trial import Trial
from search.widths import shrink, widths
from train.data.source import open_source
from train.run import Run


@pytest.fixture(scope='module')
def spec(tiny_spec):
    return load_model_spec(str(tiny_spec))


@pytest.fixture(scope='module')
def narrow_spec(spec):
    return shrink(spec, {w.name: w for w in widths(spec)}['expansion_3'], 16)


@pytest.fixture(scope='module')
def parent(tiny_config, spec, tmp_path_factory):
    """Trained from random weights, for 6 steps; the folder and the outcome."""
    folder = tmp_path_factory.mktemp('trials')
    train = make(tiny_config(), folder, steps=6)
    return folder, train(Trial('parent', spec))


def make(config, folder, steps=2, **options):
    return Training(config.to_json(), steps, 3, str(folder), keeps_weights=True, **options)


def test_a_trial_has_an_accuracy_on_images_held_out(parent):
    folder, outcome = parent
    # A third of ten images: four.
    assert outcome.accuracy in [0, 0.25, 0.5, 0.75, 1]
    assert outcome.seconds > 0
    assert (folder / 'parent' / 'weights.npz').is_file()


@pytest.mark.parametrize(('steps', 'momentum'), [(4, 0.5), (100, 0.9), (10_000, 0.99)])
def test_statistics_settle_within_a_short_training(spec, steps, momentum):
    assert spec.batch_norm_momentum == 0.99
    assert settling(spec, steps).batch_norm_momentum == pytest.approx(momentum)


def test_the_same_trial_has_the_same_weights(parent, tiny_config, spec):
    folder, outcome = parent
    again = make(tiny_config(), folder, steps=6)(Trial('again', spec))
    assert again.accuracy == outcome.accuracy
    first, second = (read_state(folder / name)[0] for name in ('parent', 'again'))
    for key, array in first.items():
        np.testing.assert_array_equal(second[key], array, err_msg=key)


def test_a_narrower_trial_starts_from_its_parents_weights(
    parent, tiny_config, spec, narrow_spec, monkeypatch
):
    folder, _ = parent
    started = []

    def look(trainer, source, steps, start_step):
        started.append(read_arrays(trainer))
        return 0.5

    monkeypatch.setattr(training, 'train_and_judge', look)
    make(tiny_config(), folder)(Trial('child', narrow_spec, parent='parent'))
    arrays, known = read_state(folder / 'parent')
    assert known == spec
    expected = narrow(arrays, spec, narrow_spec, CRITERIA['l2'])
    (arrays,) = started
    assert arrays.keys() == expected.keys()
    for key, array in arrays.items():
        np.testing.assert_array_equal(array, expected[key], err_msg=key)
    # Weights, averages, and what RMSProp has gathered.
    assert {key.split('/')[0] for key in arrays} == {'model', 'averaged', 'mean_square', 'momentum'}


def test_fine_tuning_moves_weights_and_averages(parent, tiny_config, narrow_spec):
    folder, _ = parent
    outcome = make(tiny_config(), folder)(Trial('tuned', narrow_spec, parent='parent'))
    assert outcome.accuracy is not None
    before = narrow(*read_state(folder / 'parent'), narrow_spec, CRITERIA['l2'])
    after, known = read_state(folder / 'tuned')
    assert known == narrow_spec
    for key in ('model/bneck_3/expand/conv/0', 'averaged/bneck_3/expand/bn/2'):
        assert after[key].shape == before[key].shape
        assert np.any(after[key] != before[key])


def test_trials_of_another_turn_are_trained_on_the_batches_that_follow(
    tiny_config, spec, tmp_path, monkeypatch
):
    asked = []

    def look(split, task, **options):
        asked.append(options['start_step'])
        return train_batches(split, task, **options)

    train_batches = training.pipeline.train_batches
    monkeypatch.setattr(training.pipeline, 'train_batches', look)
    for turn in (0, 1, 3):
        make(tiny_config(), tmp_path)(Trial(f'turn_{turn}', spec, turn=turn))
    assert asked == [0, 2, 6]


def test_a_trial_that_diverges_has_no_accuracy_and_leaves_no_weights(parent, tiny_config, spec):
    config = tiny_config()
    config.schedule.learning_rate = 1e30
    outcome = make(config, parent[0], steps=25)(Trial('diverged', spec))
    assert outcome.accuracy is None
    assert not (parent[0] / 'diverged').exists()


def test_weights_that_are_missing_or_damaged_are_named(parent, tiny_config, narrow_spec, tmp_path):
    train = make(tiny_config(), tmp_path)
    with pytest.raises(
        ValueError, match=r'cannot be read from .*parent/weights.npz: .*trained again'
    ):
        train(Trial('child', narrow_spec, parent='parent'))
    (tmp_path / 'parent').mkdir()
    content = (parent[0] / 'parent' / 'weights.npz').read_bytes()
    (tmp_path / 'parent' / 'weights.npz').write_bytes(content[:-1000])
    with pytest.raises(ValueError, match='cannot be read from'):
        train(Trial('child', narrow_spec, parent='parent'))


def test_what_was_saved_is_read(tiny_config, spec, tmp_path):
    source = open_source(tiny_config().data)
    trainer = make_trainer(Run(tiny_config(), spec, source.labels), source, 1)
    save_state(tmp_path, trainer, spec)
    arrays, known = read_state(tmp_path)
    assert known == spec
    assert arrays.keys() == read_arrays(trainer).keys()


def images_of(split):
    return [example['image'].numpy() for example in split.examples()]


def labels_of(split):
    return [int(example['label']) for example in split.examples()]


@pytest.mark.parametrize('streamed', [False, True])
def test_held_out_images_are_not_trained_on(tiny_config, streamed):
    source = open_source(tiny_config().data)
    if streamed:
        train = dataclasses.replace(source.train, subset=None)
        source = dataclasses.replace(source, train=train)
    judged = hold_out(source, 3, buffer=100)
    assert (judged.train.num_examples, judged.val.num_examples) == (6, 4)
    every, held = images_of(source.train), images_of(judged.val)
    # One of each three, of the last one, too.
    assert [i // 3 for i, image in enumerate(every) if image in held] == [0, 1, 2, 3]
    assert images_of(judged.train) == [image for image in every if image not in held]
    trained = {e['image'].numpy() for e in judged.train.shuffled(0, 0).take(12)}
    assert trained == set(every) - set(held)


def test_a_list_that_has_its_classes_by_turns_keeps_each_on_both_sides(tiny_config):
    source = open_source(tiny_config().data)
    numbers = [number for _ in range(20) for number in (0, 4, 9)]  # of three classes
    turns = dataclasses.replace(source, train=source.train.subset(numbers))
    judged = hold_out(turns, 3, buffer=100)
    assert set(labels_of(judged.val)) == set(labels_of(judged.train)) == {0, 1, 2}


def test_what_is_left_of_a_sorted_folder_is_shuffled_as_a_whole(tiny_config):
    source = open_source(tiny_config().data)  # three classes, one after the other
    judged = hold_out(source, 3, buffer=1)
    shuffled = judged.train.shuffled(0, 0).take(6)
    assert [int(example['label']) for example in shuffled] != sorted(labels_of(judged.train))


def test_a_background_shifts_the_labels_of_what_is_left(tiny_config):
    plain = tiny_config().data
    config = tiny_config().data
    config.background = True
    left, shifted = (hold_out(open_source(c), 3, buffer=100).train for c in (plain, config))
    assert labels_of(shifted) == [label + 1 for label in labels_of(left)]


def test_a_batch_in_parts_is_the_same_batch(tiny_config, spec):
    """The logits' bias moves by the mean over the batch, however many parts it comes in."""
    moves = []
    for parts in (1, 2):
        config = tiny_config()
        config.train.parts = parts
        source = open_source(config.data)
        trainer = make_trainer(Run(config, spec, source.labels), source, 1)
        training.train_and_judge(trainer, source, 1)
        bias = trainer.model.trainable_weights[-1]
        moves.append(trainer.optimizer.get_slot(bias, 'momentum').numpy())
    assert np.linalg.norm(moves[1]) == pytest.approx(np.linalg.norm(moves[0]), rel=0.3)


def test_nothing_is_held_out_where_none_is_asked_for(tiny_config):
    source = open_source(tiny_config().data)
    assert hold_out(source, 0, buffer=100) is source
    for every in (1, -2, 11):
        with pytest.raises(
            ValueError, match=f'search.holdout is {every}; expected 0, or 2 to the 10'
        ):
            hold_out(source, every, buffer=100)


def test_a_training_reaches_processes_as_plain_values(tiny_config, tmp_path):
    values = dataclasses.asdict(make(tiny_config(), tmp_path))
    assert json.loads(json.dumps(values)) == values
