import dataclasses
import json

import pytest

from mobilenet_v3.spec_file import load_model_spec
from search import settings as declared
from search import stage
from search.latency.form import FileForm
from search.latency.model import MAdds
from search.latency.table import TableLatency
from search.latency.testing import make_table
from search.trials.trial import OneByOne
from train.prepare import prepare
from train.run import load_trained


@pytest.fixture
def make_plan(tiny_config, tmp_path):
    """Makes plans of a search that trains each network for two steps of four images."""

    def make(algorithm, target='', workdir=None, retrains=False, **changes):
        target = target or ('0.96x' if algorithm == 'netadapt' else '2x')
        config = tiny_config()
        config.train.epochs = 1.0
        settings = declared.get_config()
        settings.holdout = 3
        settings.netadapt.update(delta=0.01, steps=1, lowest=0.3)
        settings.sampling.update(budget=3, batch=2, epochs=1.0)
        settings.evolution.update(population=2, tournament=2)
        settings.space.update(
            op=('inverted_3',), kernel=(3,), se=(0.0,), skip=(True,), width=(1.0, 0.75), layers=(0,)
        )
        for name, value in changes.items():
            part, _, field = name.partition('_')
            settings[part][field] = value
        run = prepare(config, None).run
        return stage.Plan(
            algorithm,
            run,
            settings,
            MAdds(32, len(run.labels)),
            {'latency': 'madds', 'scheme': 'float32', 'target': target, 'seed_run': ''},
            workdir or tmp_path / 'search',
            OneByOne(),
            retrains,
        )

    return make


@pytest.fixture
def trained(monkeypatch):
    """The names of the trials that were trained, in their order; nothing is trained for real."""
    from search.trials import training
    from search.trials.trial import Outcome

    names = []

    def train(self, trial):
        names.append(trial.name)
        return Outcome(0.5 + 1e-3 * trial.spec.blocks[0].expansion)

    monkeypatch.setattr(training.Training, '__call__', train)
    monkeypatch.setattr(stage, 'seed_outcome', lambda *unused: Outcome(0.9))
    return names


@pytest.mark.slow
def test_netadapt_from_a_seed_to_a_trained_network(make_plan, capsys):
    plan = make_plan('netadapt', retrains=True)
    said = stage.search(plan)
    spec = load_model_spec(str(plan.workdir / 'spec.json'))
    assert spec.name == 'tiny_netadapt'
    assert plan.latency.predict(spec) <= 0.96 * plan.latency.predict(plan.seed)
    run, model, _ = load_trained(str(plan.workdir / 'retrained'))
    assert run.spec.blocks == spec.blocks
    assert model.output_shape == (None, 3)
    names = {path.name for path in plan.workdir.iterdir()}
    assert names >= {'report.md', 'report.html', 'path.png', 'log.json', 'search.json'}
    assert 'trained from scratch: top-1' in said
    # Of all proposals only the chosen ones keep their weights.
    (steps,) = json.loads((plan.workdir / 'log.json').read_text()).values()
    kept = {path.parent.name for path in plan.workdir.glob('trials/*/weights.npz')}
    assert kept == {'seed', *(step['chosen']['name'] for step in steps)}
    # Another call trains nothing.
    capsys.readouterr()
    assert stage.search(plan) == said
    assert ' s\n' not in capsys.readouterr().out


def test_every_proposal_and_the_choice_are_logged(make_plan, trained):
    plan = make_plan('netadapt')
    stage.search(plan)
    (steps,) = json.loads((plan.workdir / 'log.json').read_text()).values()
    assert [p['name'] for step in steps for p in step['proposals']] == trained
    for step in steps:
        assert step['chosen'] in step['proposals']
        assert step['chosen']['accuracy'] > 0.5
    report = (plan.workdir / 'report.md').read_text()
    assert '![path](path.png)' in report
    assert steps[0]['chosen']['change'] in report


@pytest.mark.parametrize('algorithm', ['nas', 'evolution', 'random'])
def test_every_sampler_finds_a_network_of_the_space(make_plan, trained, algorithm):
    plan = make_plan(algorithm)
    said = stage.search(plan)
    spec = load_model_spec(str(plan.workdir / 'spec.json'))
    assert spec.name == f'tiny_{algorithm}'
    assert {block.expansion % 3 for block in spec.blocks} == {0}
    (samples,) = json.loads((plan.workdir / 'log.json').read_text()).values()
    assert len(samples) == 3
    assert len(trained) == len(set(trained)) <= 3
    assert 'of the seed' in said
    assert '3 samples' in (plan.workdir / 'report.md').read_text()


def test_a_search_that_is_given_again_trains_nothing_again(make_plan, trained):
    plan = make_plan('nas')
    said = stage.search(plan)
    before = list(trained)
    assert stage.search(plan) == said
    assert trained == before


def test_another_search_in_the_same_folder_is_refused(make_plan, trained):
    plan = make_plan('nas')
    stage.search(plan)
    other = make_plan('nas', workdir=plan.workdir, nas_units=32)
    with pytest.raises(ValueError, match='holds another search, with another settings; give the'):
        stage.search(other)
    with pytest.raises(ValueError, match='with another algorithm'):
        stage.search(make_plan('random', workdir=plan.workdir))


def test_a_target_out_of_reach_is_refused_before_the_seed_is_trained(make_plan):
    plan = make_plan('netadapt', target='0.05x')
    with pytest.raises(ValueError, match=r'below the .* of the narrowest network'):
        stage.search(plan)
    assert not (plan.workdir / 'trials').exists()


@pytest.mark.parametrize('algorithm', ['netadapt', 'random'])
def test_what_is_refused_leaves_no_search_behind(make_plan, trained, algorithm):
    plan = make_plan(algorithm)
    plan.run.config.train.batch_size = 4096
    with pytest.raises(ValueError, match='more than the 6 training examples'):
        stage.search(plan)
    assert not plan.workdir.exists()


def test_the_best_within_the_target_is_found_whatever_rewards_more(make_plan, trained):
    found = {}
    for target in (9, 2):
        plan = make_plan(
            'random',
            target=f'{target}x',
            sampling_budget=16,
            sampling_reward_weight=-0.01,
            space_op=('inverted_3', 'inverted_6'),
        )
        stage.search(plan)
        spec = load_model_spec(str(plan.workdir / 'spec.json'))
        found[target] = plan.latency.predict(spec) / plan.latency.predict(plan.seed)
    assert found[2] <= 2 < found[9] <= 9
    assert len(trained) == len(set(trained))  # another target trains nothing again


@pytest.mark.slow
def test_another_target_sets_the_training_of_the_network_before_aside(make_plan, trained):
    options = {'sampling_budget': 8, 'sampling_reward_weight': -0.01, 'retrains': True}
    for number, target in enumerate((9, 2, 9, 9)):
        plan = make_plan(
            'nas', target=f'{target}x', space_op=('inverted_3', 'inverted_6'), **options
        )
        assert 'trained from scratch: top-1' in stage.search(plan)
        found = load_model_spec(str(plan.workdir / 'spec.json'))
        run, _, _ = load_trained(str(plan.workdir / 'retrained'))
        assert run.spec.blocks == found.blocks
        share = plan.latency.predict(found) / plan.latency.predict(plan.seed)
        assert f'{share:.2f} of the seed' in (plan.workdir / 'report.md').read_text()
        aside = sorted(path.name for path in plan.workdir.glob('retrained_*'))
        assert aside == ['retrained_1', 'retrained_2'][:number]


def test_a_target_that_no_sample_meets_is_told_and_more_samples_go_on(make_plan, trained):
    with pytest.raises(ValueError, match=r'none of 2 samples meets the target of .* the fastest'):
        stage.search(make_plan('random', target='0.01x', sampling_budget=2))
    stage.search(make_plan('random', sampling_budget=4))
    assert len(trained) == len(set(trained))


def test_an_evolution_without_children_is_refused(make_plan, trained):
    with pytest.raises(ValueError, match='budget is 3; expected more than the population of 3'):
        stage.search(make_plan('evolution', evolution_population=3))
    assert not trained


def test_another_latency_of_the_seed_is_another_search(make_plan, trained):
    plan = make_plan('random')
    stage.search(plan)
    changed = dataclasses.replace(plan, latency=MAdds(64, len(plan.run.labels)))
    with pytest.raises(ValueError, match='with another latency of the seed;'):
        stage.search(changed)


def test_a_space_that_the_table_does_not_hold_is_told_before_anything_is_trained(
    make_plan, trained, tmp_path
):
    plan = make_plan('random')
    form = FileForm(32, len(plan.run.labels))
    table = make_table(tmp_path / 'table.csv', form.parts(plan.seed))
    command = r"latency_grid --space .*--search\.space\.op=\"\('inverted_3',\)\" .*--device=adb"
    with pytest.raises(ValueError, match=command):
        stage.search(dataclasses.replace(plan, latency=TableLatency(table, form)))
    assert not trained


def test_widths_that_the_table_does_not_hold_are_told_with_how_narrow_they_get(
    make_plan, trained, tmp_path
):
    plan = make_plan('netadapt')
    form = FileForm(32, len(plan.run.labels))
    table = make_table(tmp_path / 'table.csv', form.parts(plan.seed))
    with pytest.raises(ValueError, match=r'search\.latency_grid --lowest=0\.3 --seed_model'):
        stage.search(dataclasses.replace(plan, latency=TableLatency(table, form)))
    assert not trained


def test_a_seed_from_elsewhere_is_judged_by_the_evaluation_set(make_plan, trained):
    plan = make_plan('netadapt')
    plan.words['seed_run'] = 'runs/seed'
    stage.search(plan)
    report = (plan.workdir / 'report.md').read_text()
    assert 'Accuracies are of the evaluation set' in report
    assert 'held out' not in report


def test_an_unknown_criterion_is_refused(make_plan):
    with pytest.raises(ValueError, match="criterion is 'l1'; expected one of l2, geometric_median"):
        stage.search(make_plan('netadapt', netadapt_criterion='l1'))


def test_children_that_all_diverge_are_told(make_plan, monkeypatch):
    from search.trials import training
    from search.trials.trial import Outcome

    monkeypatch.setattr(training.Training, '__call__', lambda self, trial: Outcome(None))
    with pytest.raises(ValueError, match='all 3 children diverged; lower'):
        stage.search(make_plan('random'))


def test_short_recipes_keep_their_shape(tiny_config):
    config = tiny_config()
    short = stage.short(config, 0.5 * config.train.epochs)
    assert short.schedule.warmup_epochs == 0.5 * config.schedule.warmup_epochs
    assert short.schedule.decay_epochs == 0.5 * config.schedule.decay_epochs
    assert config.train.epochs == 2 * short.train.epochs
