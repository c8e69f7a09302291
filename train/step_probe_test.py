import numpy as np
import pytest
import tensorflow as tf

from configs import base
from train import checkpoint
from train.run import Run, resolve_spec
from train.step_probe import measure_needs, probe, state_variables
from train.trainer import Trainer


def test_the_state_is_what_a_checkpoint_holds(tiny_config, tmp_path):
    config = tiny_config()
    run = Run(config, resolve_spec(config), ('a', 'b', 'c'))
    trainer = Trainer(run.make_task(), tf.distribute.get_strategy(), 10.0, 100)
    checkpoint.save(str(tmp_path), trainer.checkpoint, {'step': 0}, keep=1)
    saved = checkpoint.latest(str(tmp_path))
    reader = tf.train.load_checkpoint(saved.variables)
    names = [name for name in reader.get_variable_to_shape_map() if 'OBJECT_GRAPH' not in name]
    arrays = {name: np.asarray(reader.get_tensor(name)) for name in names}
    # The checkpoint counts how often it was saved; everything else is a variable of ours.
    expected = sum(array.nbytes for name, array in arrays.items() if 'save_counter' not in name)
    variables = state_variables(trainer)
    assert sum(v.shape.num_elements() * v.dtype.size for v in variables) == expected


@pytest.fixture(scope='module')
def measured():
    """Needs of V3-Small at 96² as they are predicted, and a process that took batches of 200."""
    config = base.get_config()
    config.model.name, config.model.resolution = 'small', (96, 96)
    return measure_needs(config, 1000), probe(config, 1000, 200)


@pytest.mark.slow
def test_the_predicted_memory_is_what_is_measured(measured):
    needs, large = measured
    assert needs.memory_bytes(200) == pytest.approx(large.tensor_bytes, rel=0.15)
    assert needs.state_bytes > 4 * needs.gradient_bytes  # averages and two slots


@pytest.mark.slow
def test_so_is_that_of_the_process(measured):
    needs, large = measured
    assert needs.process_bytes(200) == pytest.approx(large.peak_bytes, rel=0.15)


def test_a_recipe_by_stages_is_measured_where_most_learns(tiny_config):
    config = tiny_config()
    whole = probe(config, 3, 2)
    config.finetune.unfreeze = ((0.0, 'head'), (2.0, 'stem'))
    assert probe(config, 3, 2).gradient_bytes == whole.gradient_bytes


def test_a_config_that_is_not_valid_is_told_across_processes(tiny_config):
    config = tiny_config()
    config.schedule.kind = 'linear'
    with pytest.raises(ValueError, match=r'config\.schedule\.kind is'):
        probe(config, 3, 2)
