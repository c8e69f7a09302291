import itertools
import json

import numpy as np
import pytest
import tensorflow as tf

from export import finetune as module
from export.calibrate import observe
from export.deploy import deploy_graph
from export.finetune import QuantizedTask, finetune, quantized_run
from export.graph import build
from export.quantize import Observing, layer_configs, to_pixel_grid
from export.quantizers import RangeQuantizer
from train.distill import checksum
from train.metrics_file import read_metrics
from train.session import RESULTS_FILE
from train.trainer import Trainer

LOGITS = np.array([[1.0, 0.0, -1.0], [0.5, 2.0, 0.0]], np.float32)
LABELS = np.array([1, 2])

# One step of quantization-aware training on two virtual CPUs.
MIRRORED = """
import json
import sys
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices('CPU')[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])
from configs import quantize
from export import stage
from export.start import from_run
from train.trainer import Trainer

recipe = quantize.get_config()
recipe.update_from_flattened_dict({
    'quantize.calibration_images': 8, 'quantize.search_images': 0, 'quantize.observe_epochs': 0.4,
    'train.batch_size': 4, 'train.epochs': 0.4, 'eval.batch_size': 4,
})
replicas = []
train = Trainer.train
def spy(self, iterator, count):
    replicas.append(self.strategy.num_replicas_in_sync)
    return train(self, iterator, count)
Trainer.train = spy
paths = stage.export(from_run(sys.argv[1]), stage.Options('out', ('int8',)), recipe, strategy)
print(json.dumps({'paths': paths, 'replicas': replicas}))
"""


@pytest.fixture(scope='module')
def graph(tiny_model):
    return deploy_graph(tiny_model, hard_swish='decomposed')


@pytest.fixture(scope='module')
def ranges(graph, soft_images):
    return observe(graph, soft_images(16))


@pytest.fixture
def make_run(tiny_trained, tiny_recipe):
    """Makes the run of the recipe with some fields changed."""

    def make(**changes):
        recipe = tiny_recipe()
        recipe.update_from_flattened_dict(changes)
        return quantized_run(tiny_trained.run, recipe, tiny_trained.model, 10_000)

    return make


@pytest.fixture
def make_task(make_run, graph, ranges):
    def make(**changes):
        return QuantizedTask(make_run(**changes).make_task(), graph, ranges, Observing())

    return make


# ------------------------------------------------------------------------------------- loss


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def test_without_a_teacher_the_loss_is_the_tasks(make_task):
    task = make_task(**{'distill.weight': 0.0})
    batch = {'label': tf.constant(LABELS), 'image': tf.fill([2, 32, 32, 3], np.nan)}
    expected = -log_softmax(LOGITS)[range(2), LABELS]
    np.testing.assert_allclose(task.loss(tf.constant(LOGITS), batch), expected, rtol=1e-5)


def test_the_teacher_is_the_float_network_on_the_same_images(make_task, tiny_model, soft_images):
    task = make_task(**{'distill.weight': 1.0})
    images = soft_images(2)
    batch = {'label': tf.constant(LABELS), 'image': to_pixel_grid(images)}
    taught = tiny_model(images, training=False).numpy()
    expected = -(np.exp(log_softmax(taught)) * log_softmax(LOGITS)).sum(axis=1)
    np.testing.assert_allclose(task.loss(tf.constant(LOGITS), batch), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ('field', 'value'),
    [('weight', -0.1), ('weight', 1.1), ('weight', float('nan')), ('temperature', 0.0)],
)
def test_a_distillation_out_of_range_is_refused(make_run, field, value):
    message = r'config\.distill has weight .* and temperature .*; expected a weight in \[0, 1\]'
    with pytest.raises(ValueError, match=message):
        make_run(**{f'distill.{field}': value})


@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        ('train.epochs', 0.0, r'config\.train\.epochs is 0\.0; expected above 0'),
        ('log_every_steps', 0, r'config\.log_every_steps is 0; expected above 0'),
        ('checkpoint.keep', 0, r'config\.checkpoint\.keep is 0; expected above 0'),
        ('train.weight_decay', 1e-5, 'weight_decay 1e-05 and precision float32; expected 0 and'),
        ('train.precision', 'mixed_bfloat16', 'precision mixed_bfloat16; expected 0 and float32'),
    ],
)
def test_a_recipe_out_of_range_is_refused(make_run, field, value, message):
    with pytest.raises(ValueError, match=message):
        make_run(**{field: value})


# ----------------------------------------------------------------------------- task and run


def test_batches_are_on_the_grid_of_the_quantized_input(make_task, make_run, tiny_trained):
    # Evaluation and training take the float task's images, half a step lower.
    task, plain = make_task(), make_run().make_task()
    raw = next(iter(tiny_trained.source.val.examples()))
    ours, theirs = (
        t.eval_batch(next(iter(tf.data.Dataset.from_tensors(raw).map(t.eval_example).batch(1))))
        for t in (task, plain)
    )
    np.testing.assert_allclose(ours['image'] + 0.5 / 127.5, theirs['image'], atol=1e-6)
    assert ours['label'].numpy().tolist() == theirs['label'].numpy().tolist()


def test_the_recipe_replaces_its_parts_of_the_run_only(make_run, tiny_trained, tiny_recipe):
    config, before, recipe = make_run().config, tiny_trained.run.config, tiny_recipe()
    assert config.train.to_dict() == recipe.train.to_dict()
    assert config.distill.to_dict() == recipe.distill.to_dict()
    for part in ('model', 'data', 'augment'):
        assert config[part].to_dict() == before[part].to_dict()
    assert config.quantize.source == checksum(tiny_trained.model)
    assert before.quantize.source == ''


# --------------------------------------------------------------------------------- training


@pytest.fixture
def spied(monkeypatch):
    """The trainers of runs, and the ranges of a tensor before each step and at the end."""
    seen = {'trainers': [], 'ranges': []}
    train = Trainer.train

    def ranges_of(trainer):
        config = layer_configs(trainer.model)['stem/act']
        return float(config.output.low), float(config.output.high)

    def spy(trainer, iterator, count):
        seen['trainers'].append(trainer)
        seen['ranges'].append(ranges_of(trainer))
        loss = train(trainer, iterator, count)
        seen['last'] = ranges_of(trainer)
        return loss

    monkeypatch.setattr(Trainer, 'train', spy)
    return seen


def run_finetune(make_run, tiny_trained, graph, ranges, folder, **changes):
    return finetune(make_run(**changes), tiny_trained.source, graph, ranges, str(folder))


@pytest.mark.parametrize(('epochs', 'moving'), [(0.0, 0), (0.8, 2)])
def test_ranges_move_in_the_epochs_of_observing_only(
    make_run, tiny_trained, graph, ranges, tmp_path, spied, epochs, moving
):
    changes = {'quantize.observe_epochs': epochs, 'quantize.observer_decay': 0.5}
    run_finetune(make_run, tiny_trained, graph, ranges, tmp_path, **changes)
    seen = [*spied['ranges'], spied['last']]
    assert seen[0] == pytest.approx(ranges['stem/act'])
    moved = [before != after for before, after in itertools.pairwise(seen)]
    assert moved == [True] * moving + [False] * (5 - moving)


def test_averaging_weights_works_where_it_is_asked_for(
    make_run, tiny_trained, graph, ranges, tmp_path, spied, soft_images
):
    changes = {'ema.decay': 0.9, 'quantize.observe_epochs': 0.8, 'schedule.learning_rate': 1e-3}
    averaged = run_finetune(make_run, tiny_trained, graph, ranges, tmp_path, **changes)
    trainer = spied['trainers'][-1]
    assert averaged is trainer.averaged
    kernels = [[w.numpy() for w in model.trainable_weights] for model in (averaged, trainer.model)]
    assert any((a != r).any() for a, r in zip(*kernels, strict=True))
    answers = averaged(to_pixel_grid(soft_images(8)), training=False).numpy()
    assert np.isfinite(answers).all()
    assert answers.std() > 0
    lines = read_metrics(str(tmp_path))
    assert lines[-1]['step'] == 5
    assert {'eval/raw/top1', 'eval/averaged/top1'} <= lines[-1].keys()


def test_training_moves_kernels_and_biases_by_the_gradient(
    make_run, tiny_trained, graph, ranges, tmp_path, spied
):
    # Rounding has no gradient of its own: it passes through.
    start = {n.name: (n.kernel.copy(), n.bias.copy()) for n in graph if n.kernel is not None}
    run_finetune(make_run, tiny_trained, graph, ranges, tmp_path)
    configs = layer_configs(spied['trainers'][-1].model)
    for name, (kernel, bias) in start.items():
        assert (configs[name].weight.kernel.numpy() != kernel).any(), name
        assert (configs[name].weight.bias.numpy() != bias).any(), name


def test_a_stopped_training_gives_no_model(
    make_run, tiny_trained, graph, ranges, tmp_path, monkeypatch
):
    monkeypatch.setattr(module.loop, 'train', lambda *a, **k: None)
    assert run_finetune(make_run, tiny_trained, graph, ranges, tmp_path) is None


def test_a_task_starts_from_the_float_weights_and_the_ranges(make_task, graph, ranges):
    model = make_task().build()
    for name, config in layer_configs(model).items():
        if config.weight is not None:
            np.testing.assert_array_equal(config.weight.kernel, graph.nodes[name].kernel)
            if name != 'stem/conv':  # which takes in half a step of the image
                np.testing.assert_array_equal(config.weight.bias, graph.nodes[name].bias)
        if isinstance(config.output, RangeQuantizer):
            assert float(config.output.high) >= max(ranges[name][1], 0.0) * (1 - 1e-6)


def test_the_graph_and_its_teacher_are_left_alone(make_task, graph, soft_images):
    before = build(graph)(soft_images(2)).numpy()
    make_task().build()
    np.testing.assert_array_equal(build(graph)(soft_images(2)), before)


@pytest.mark.slow
def test_two_replicas_take_a_step(tiny_run, run_python, tmp_path):
    result = run_python('-c', MIRRORED, str(tiny_run), cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    assert json.loads(result.stdout.splitlines()[-1])['replicas'] == [2]
    folder = tmp_path / 'out' / 'tiny_decomposed_training'
    assert json.loads((folder / RESULTS_FILE).read_text())['step'] == 1
    card = json.loads((tmp_path / 'out' / 'tiny_int8.json').read_text())
    assert card['evaluation']['layers']['first_departing'] is None


@pytest.mark.parametrize(('images', 'share'), [(1_000, 0.1), (10_000, 1.0), (50_000, 1.0)])
def test_few_images_take_a_lower_rate(tiny_trained, tiny_recipe, images, share):
    recipe = tiny_recipe()
    rate = recipe.schedule.learning_rate
    run = quantized_run(tiny_trained.run, recipe, tiny_trained.model, images)
    assert run.config.schedule.learning_rate == pytest.approx(rate * share)
    assert recipe.schedule.learning_rate == rate
    assert recipe.quantize.source == ''


def test_a_full_rate_below_one_image_is_refused(make_run):
    with pytest.raises(ValueError, match='full_rate_images is 0; expected at least 1'):
        make_run(**{'quantize.full_rate_images': 0})
