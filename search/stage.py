"""One search, read from top to bottom."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from ml_collections import ConfigDict

from mobilenet_v3.spec import ModelSpec
from mobilenet_v3.spec_file import to_dict
from search.algorithms import evolution, nas, netadapt
from search.algorithms.random_search import RandomSearch
from search.channels.criteria import CRITERIA
from search.header import begin
from search.latency.choose import parse_target
from search.latency.model import LatencyModel
from search.latency.table import TableLatency
from search.report import Facts, adapt_page, sampling_page, write_page
from search.sampling import Judge, Sample, Strategy, best, sample, within
from search.settings import check
from search.space import MNASNET, Space
from search.space_parts import space_parts
from search.trials.seed import NAME, seed_outcome
from search.trials.training import VERSION, WEIGHTS, Training, open_judged
from search.trials.trial import Outcome, Outcomes, Runner, Trial, run_trials
from search.widths import narrowest
from train import loop
from train.files import write_json
from train.run import Run
from train.stop_signal import Stopped
from train.trainer import Metrics

SPEC, LOG = 'spec.json', 'log.json'
TRIALS, RETRAINED = 'trials', 'retrained'


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is searched for, and how.

    Attributes:
      algorithm: netadapt, nas, evolution or random.
      run: that trains the seed: its config, network and classes.
      settings: as `search/settings.py` declares them.
      latency: what networks take.
      words: --latency, --scheme, --target and --seed_run as they were given.
      workdir: folder of all files; made or continued.
      runner: where trials are trained.
      retrains: whether what is found is trained from scratch.
    """

    algorithm: str
    run: Run
    settings: ConfigDict
    latency: LatencyModel
    words: dict[str, str]
    workdir: Path
    runner: Runner
    retrains: bool = True

    @property
    def seed(self) -> ModelSpec:
        """The network that the search starts from."""
        return self.run.spec

    @property
    def holdout(self) -> int:
        """As `search.trials.holdout.hold_out`; a seed from elsewhere has seen all training images."""
        return 0 if self.words['seed_run'] else self.settings.holdout


def search(plan: Plan) -> str:
    """Searches, or continues the search in its workdir; writes the network and a report.

    The same plan ends with the same network, however often it is stopped and started again: what
    algorithms do follows from outcomes, and those that are there are not trained again.

    Returns:
      What was found, for the terminal.

    Raises:
      ValueError: the target cannot be reached, a setting is out of range, the workdir holds another
        search, or trials cannot be trained.
      Stopped: a signal stopped a training; the same plan goes on.
    """
    check(plan.settings)
    seed_latency = plan.latency.predict(plan.seed)
    target = parse_target(plan.words['target'], seed_latency)
    facts = Facts(
        f'{plan.algorithm} from {plan.seed.name}',
        plan.latency.unit,
        seed_latency,
        target,
        plan.run.config.data.dataset,
        plan.words['latency'],
        'images held out of the training set' if plan.holdout else 'the evaluation set',
    )
    find = _adapt if plan.algorithm == 'netadapt' else _sample
    found, page = find(plan, target, facts)
    found = dataclasses.replace(found, name=f'{plan.seed.name}_{plan.algorithm}')
    path = _write_found(plan.workdir, to_dict(found))
    latency = plan.latency.predict(found)
    said = write_page(plan.workdir, page, facts, latency, None, path)
    if plan.retrains:
        said = write_page(plan.workdir, page, facts, latency, _retrain(plan, path), path)
    return said


# Algorithms


def _adapt(plan: Plan, target: float, facts: Facts) -> tuple[ModelSpec, str]:
    """NetAdapt from the trained seed; what it found, and the page of the way there."""
    options = plan.settings.netadapt
    if options.criterion not in CRITERIA:
        raise ValueError(
            f'search.netadapt.criterion is {options.criterion!r}; expected one of '
            + ', '.join(CRITERIA)
        )
    settings = netadapt.Settings(target, options.delta, options.lowest)
    if isinstance(plan.latency, TableLatency):
        floor = plan.latency.form.parts(narrowest(plan.seed, options.lowest))
        plan.latency.require(floor, f'--lowest={options.lowest:g} ')
    netadapt.check_target(plan.seed, plan.latency, settings)  # before the seed is trained
    source = open_judged(_data(plan.run.config), plan.holdout)
    loop.check_batches(plan.run.config, source, tf.distribute.get_strategy())
    _begin(plan, facts)
    outcomes = Outcomes(plan.workdir / TRIALS)
    accuracy = seed_outcome(plan.run, source, outcomes, plan.words['seed_run']).accuracy
    seed = netadapt.Point(NAME, '', plan.seed, facts.seed_latency, accuracy)
    training = Training(
        _fine_tuning(plan.run.config, options.rate).to_json(),
        options.steps,
        plan.holdout,
        str(outcomes.folder),
        options.criterion,
        keeps_weights=True,
    )

    def train(trials: Sequence[Trial]) -> list[Outcome]:
        return run_trials(training, trials, plan.runner, outcomes, _say)

    def on_step(steps: Sequence[netadapt.Step]) -> None:
        _log(plan, steps)
        step = steps[-1]
        print(
            f'step {len(steps)}: {step.chosen.change}, faster by at least {step.cut:.3g}',
            flush=True,
        )
        for point in step.proposals:  # only what is chosen is a parent
            if point is not step.chosen:
                (outcomes.folder_of(point.name) / WEIGHTS).unlink(missing_ok=True)

    steps = netadapt.netadapt(seed, plan.latency, train, settings, on_step)
    return steps[-1].chosen.spec, adapt_page(plan.workdir, seed, steps, facts)


def _sample(plan: Plan, target: float, facts: Facts) -> tuple[ModelSpec, str]:
    """The NAS controller or a baseline; what it found, and the page of its samples."""
    space = Space(plan.seed, dict(plan.settings.space))
    strategy = make_strategy(plan.algorithm, space.options, plan.settings)
    if isinstance(plan.latency, TableLatency):
        plan.latency.require(space_parts(space, plan.latency.form), _space_flags(plan.settings))
    options = plan.settings.sampling
    config = short(plan.run.config, options.epochs)
    source = open_judged(_data(config), plan.holdout)
    loop.check_batches(config, source, tf.distribute.get_strategy())
    _begin(plan, facts)
    outcomes = Outcomes(plan.workdir / TRIALS)
    steps = max(1, round(options.epochs * source.train.num_examples / config.train.batch_size))
    training = Training(config.to_json(), steps, plan.holdout, str(outcomes.folder))

    def train(trials: Sequence[Trial]) -> list[Outcome]:
        return run_trials(training, trials, plan.runner, outcomes, _say)

    def on_batch(samples: Sequence[Sample]) -> None:
        _log(plan, samples)
        fitting = within(samples, target)
        said = _best(fitting, plan) if fitting else 'none meets the target yet'
        print(f'{len(samples)} of {options.budget}; {said}', flush=True)

    samples = sample(
        strategy,
        Judge(space, plan.latency, train, target, options.reward_weight),
        budget=options.budget,
        batch=options.batch,
        on_batch=on_batch,
    )
    found = _choose(samples, target, plan.latency.unit)
    return space.spec(found.architecture), sampling_page(plan.workdir, samples, facts)


def _choose(samples: Sequence[Sample], target: float, unit: str) -> Sample:
    """The best of the samples that meet the target: the reward alone would trade it for accuracy.

    Raises:
      ValueError: none meets it, or all diverged.
    """
    judged = within(samples, math.inf)
    if not judged:
        raise ValueError(
            f'all {len(samples)} children diverged; lower --config.schedule.learning_rate'
        )
    fitting = within(judged, target)
    if not fitting:
        fastest = min(each.judgement.latency for each in judged)
        raise ValueError(
            f'none of {len(samples)} samples meets the target of {target:.4g} {unit}, the fastest '
            f'takes {fastest:.4g}; go on with a larger --search.sampling.budget or --target in the '
            'same --workdir, or begin another with search.sampling.reward_weight further below 0'
        )
    return best(fitting)


def _best(samples: Sequence[Sample], plan: Plan) -> str:
    judged = best(samples).judgement
    return (
        f'the best within the target: {_said(judged.accuracy)}, {judged.latency:.4g} '
        f'{plan.latency.unit}, reward {judged.reward:.4f}'
    )


def make_strategy(algorithm: str, options: Sequence[int], settings: ConfigDict) -> Strategy:
    """The strategy of that name, as its settings say.

    Raises:
      ValueError: a setting is out of range.
    """
    if algorithm == 'nas':
        return nas.Controller(options, nas.Settings(**settings.nas), settings.seed)
    if algorithm == 'evolution':
        population, budget = settings.evolution.population, settings.sampling.budget
        if budget <= population:
            raise ValueError(
                f'search.sampling.budget is {budget}; expected more than the population of '
                f'{population}, which is drawn at random: lower search.evolution.population'
            )
        return evolution.Evolution(options, evolution.Settings(**settings.evolution), settings.seed)
    return RandomSearch(options, settings.seed)


def _space_flags(settings: ConfigDict) -> str:
    """Of latency_grid, which make it measure the parts of this space."""
    chosen = {name: tuple(options) for name, options in settings.space.items()}
    changed = {name: options for name, options in chosen.items() if options != MNASNET[name]}
    said = [f'--search.space.{name}="{options}"' for name, options in changed.items()]
    return ' '.join(['--space', *said, ''])


# Configs


def _fine_tuning(config: ConfigDict, rate: float) -> ConfigDict:
    """One cosine from a share of the learning rate to 0, without warm-up."""
    config = ConfigDict(config.to_dict())
    config.schedule.kind, config.schedule.warmup_epochs = 'cosine', 0.0
    config.schedule.learning_rate *= rate
    return config


def short(config: ConfigDict, epochs: float) -> ConfigDict:
    """The recipe in fewer epochs, its warm-up and decay shortened along."""
    config = ConfigDict(config.to_dict())
    share = epochs / config.train.epochs
    config.schedule.warmup_epochs *= share
    config.schedule.decay_epochs *= share
    config.train.epochs = epochs
    return config


def _data(config: ConfigDict) -> str:
    return json.dumps(json.loads(config.to_json())['data'])


# Files


def _begin(plan: Plan, facts: Facts) -> None:
    settings, words = json.loads(plan.settings.to_json()), dict(plan.words)
    if plan.algorithm != 'netadapt':  # neither changes what a child is worth
        del settings['sampling']['budget'], words['target']
    begin(
        plan.workdir,
        {
            'algorithm': plan.algorithm,
            'seed': to_dict(plan.seed),
            'labels': plan.run.labels,
            'config': json.loads(plan.run.config.to_json()),
            'settings': settings,
            'version of trials': VERSION,
            # Another table or correction would judge what is left of the search in another way.
            'latency of the seed': facts.seed_latency,
            **words,
        },
    )


def _write_found(workdir: Path, found: dict[str, Any]) -> Path:
    """Writes what was found; where that was another network, its training is set aside."""
    path, retrained = workdir / SPEC, workdir / RETRAINED
    known = json.loads(path.read_text(encoding='utf-8')) if path.is_file() else None
    if known != json.loads(json.dumps(found)) and retrained.exists():
        taken = len(list(workdir.glob(f'{RETRAINED}_*')))
        retrained.rename(workdir / f'{RETRAINED}_{taken + 1}')
    write_json(path, found)
    return path


def _log(plan: Plan, entries: Sequence[Any]) -> None:
    """Every step or sample so far."""
    values = [dataclasses.asdict(entry) for entry in entries]
    write_json(plan.workdir / LOG, {plan.algorithm: values})


def _say(trial: Trial, outcome: Outcome) -> None:
    print(f'{trial.name}: {_said(outcome.accuracy)} in {outcome.seconds:.0f} s', flush=True)


def _said(accuracy: float | None) -> str:
    return 'diverged' if accuracy is None else f'top-1 {accuracy:.4f}'


def _retrain(plan: Plan, spec: Path) -> Metrics:
    config = ConfigDict(plan.run.config.to_dict())
    config.model.name, config.model.multiplier = str(spec), 1.0
    metrics = loop.run(config, str(plan.workdir / RETRAINED))
    if metrics is None:
        raise Stopped
    return metrics
