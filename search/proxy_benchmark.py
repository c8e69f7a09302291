"""Trains every architecture of a small space for a short while: a landscape to compare algorithms on.

    python -m search.proxy_benchmark --dataset=folder:../shared/data/cifar10 --processes=2 \\
        --workdir=runs/proxy --output=search/proxy_cifar10.csv

Each of the 1,024 networks is trained from scratch for --steps and judged on images held out of the
training set; the file holds a line for each: its decisions, accuracy and multiply-adds. Stopped, the
same command goes on with those that are left.
"""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from mobilenet_v3.spec import BlockSpec, ConvSpec, ModelSpec
from search.header import begin
from search.landscape import Landscape
from search.latency.model import MAdds
from search.sampling import child_of, reward
from search.space import Architecture, Space, every_architecture
from search.trials.processes import Processes
from search.trials.trial import Outcome, Outcomes, Trial, run_trials
from train import cli
from train.files import write_file

FLAGS = flags.FLAGS
RESOLUTION, NUM_CLASSES = 32, 10
HOLDOUT = 2  # few steps tell networks apart by little: many images have to judge them
LEARNING_RATE = 1e-3  # in so few steps networks learn more by it than by the recipe's
HEADER = ('architecture', 'accuracy', 'madds_m')
# Two stages of 32 kinds each. What tells little after few steps (squeeze-and-excite: at most 0.3 % of
# top-1, where noise is 1 %) is not decided; widths are far apart.
CHOICES = {
    'op': ('separable', 'inverted_6'),
    'kernel': (3, 5),
    'se': (0.0,),
    'skip': (True,),
    'width': (0.25, 0.5, 1.0, 1.5),
    'layers': (0, 1),
}


def proxy_space() -> Space:
    """The space; its statistics of BN are those of few steps."""
    blocks = tuple(
        BlockSpec(3, 3 * fan_in, filters, None, 'relu', 2)
        for fan_in, filters in ((16, 24), (24, 48))
    )
    seed = ModelSpec(
        name='proxy',
        stem=ConvSpec(3, 16, 'hard_swish', stride=2),
        blocks=blocks,
        last=ConvSpec(1, 128, 'hard_swish'),
        features=None,
        batch_norm_momentum=0.9,
    )
    return Space(seed, CHOICES)


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string('dataset', None, 'As of train.main, of 10 classes.', required=True)
    flags.DEFINE_integer('steps', 150, 'Of each network.', lower_bound=1)
    flags.DEFINE_integer('processes', 2, 'Networks that are trained at once.')
    flags.DEFINE_string('workdir', None, 'Folder of the outcomes.', required=True)
    flags.DEFINE_string('output', None, 'The landscape, as CSV.', required=True)


def main() -> None:
    """Flags to one call."""
    runner = Processes(FLAGS.processes)
    cli.import_tensorflow()
    from configs import small_data
    from search.trials.training import Training
    from train.data.source import open_source

    config = small_data.get_config()
    config.data.dataset = FLAGS.dataset
    config.model.resolution = (RESOLUTION, RESOLUTION)
    config.schedule.learning_rate = LEARNING_RATE
    config.schedule.warmup_epochs = 0.1
    workdir, space = Path(FLAGS.workdir), proxy_space()
    open_source(config.data)  # a wrong name is told before the workdir is begun
    begin(workdir, {'config': json.loads(config.to_json()), 'steps': FLAGS.steps})
    outcomes = Outcomes(workdir)
    architectures = every_architecture(space.options)
    trials = [child_of(space.spec(each)) for each in architectures]
    training = Training(config.to_json(), FLAGS.steps, HOLDOUT, str(outcomes.folder))
    done = 0

    def count(trial: Trial, outcome: Outcome) -> None:
        nonlocal done
        done += 1
        if done % 20 == 0:
            print(f'{done} trained', flush=True)

    found = run_trials(training, trials, runner, outcomes, count)
    latency = MAdds(RESOLUTION, NUM_CLASSES)
    madds = [latency.predict(space.spec(each)) for each in architectures]
    write_proxies(Path(FLAGS.output), architectures, found, madds)
    print(FLAGS.output)


def write_proxies(
    path: Path,
    architectures: Sequence[Architecture],
    outcomes: Sequence[Outcome],
    madds: Sequence[float],
) -> None:
    """Writes a line for each architecture; one that diverged has no accuracy."""
    text = io.StringIO(newline='')
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(HEADER)
    for architecture, outcome, cost in zip(architectures, outcomes, madds, strict=True):
        accuracy = '' if outcome.accuracy is None else f'{outcome.accuracy:.4f}'
        writer.writerow([''.join(map(str, architecture)), accuracy, f'{cost:.4f}'])
    write_file(path, text.getvalue().encode())


def read_proxies(path: Path, options: Sequence[int], weight: float) -> Landscape:
    """The landscape of rewards, their target the median of the multiply-adds.

    Args:
      path: what `write_proxies` wrote.
      options: of the space.
      weight: of the latency in the reward.

    Raises:
      ValueError: the file is no such file, or architectures are missing in it.
    """
    try:
        with open(path, encoding='utf-8', newline='') as file:
            header, *lines = list(csv.reader(file))
        if tuple(header) != HEADER:
            raise ValueError(f'its columns are {header}, expected {list(HEADER)}')
        rows = {
            tuple(map(int, word)): (float(accuracy) if accuracy else None, float(cost))
            for word, accuracy, cost in lines
        }
    except (OSError, ValueError) as error:
        raise ValueError(
            f'{path} holds no proxies ({error}); make it: python -m search.proxy_benchmark'
        ) from None
    missing = [each for each in every_architecture(options) if each not in rows]
    if missing:
        raise ValueError(
            f'{path} has no line for {len(missing)} architectures, the first {missing[0]}; make it '
            'again: python -m search.proxy_benchmark'
        )
    target = sorted(cost for _, cost in rows.values())[len(rows) // 2]
    rewards = {each: reward(*judged, target, weight) for each, judged in rows.items()}
    return Landscape(tuple(options), rewards)


if __name__ == '__main__':
    cli.run(main, define_flags, continues=True)
