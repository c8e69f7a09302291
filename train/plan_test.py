import json

import pytest

from train import plan
from train.capacity import Needs, Row

# Command lines and what the last line of the error says.
BAD = {
    'unknown device': (['--devices=host,v10'], "unknown device 'v10' in --devices; did you mean"),
    'no devices': (['--devices='], '--devices is empty'),
    'unknown model': (['--model=larg'], 'larg'),
    'unknown field': (['--config.train.batchsize=3'], 'Did you mean "batch_size"'),
    'a teacher': (['--config.distill.weight=0.5'], 'what a teacher takes is not counted'),
    'no efficiency': (['--efficiency=0'], '--efficiency=0'),
    'no such folder': (['--dataset=folder:nowhere'], "there is no folder 'nowhere'"),
    'a TPU': (
        ['--task=detection', '--devices=8xtpu_v2'],
        '--tpu trains classifiers, not detection',
    ),
    'no resolution': (['--resolution=big'], '--resolution is big'),
}
ROW = Row('8xv100', 512, 1, 5.573, 32.0, 6.38, 26130.0, 8.17)


@pytest.fixture(scope='module')
def results(tmp_path_factory, image_folder, tiny_spec, run_commands):
    folder = tmp_path_factory.mktemp('plan')
    cases = {name: arguments for name, (arguments, _) in BAD.items()}
    tiny = [f'--model={tiny_spec}', f'--dataset=folder:{image_folder}', '--resolution=32']
    cases['json'] = [*tiny, '--format=json', '--config.train.batch_size=4', '--check_batch=16']
    return run_commands('train.plan', cases, folder, imports='tensorflow_datasets')


@pytest.mark.parametrize('name', BAD)
def test_a_bad_command_line_is_a_clear_line_and_exit_code_2(results, assert_refused, name):
    assert_refused(results[name], BAD[name][1])


def test_a_plan_is_made_of_what_is_measured_here(results):
    code, out, err = results['json']
    assert code == 0, err
    document = json.loads(out)
    needs = Needs(**document['needs'])
    (row,) = document['rows']
    assert row['images_per_second'] == pytest.approx(needs.images_per_second)
    assert row['images_each'] == 4
    # 10 images of 600 epochs.
    assert row['hours'] == pytest.approx(6000 / needs.images_per_second / 3600)
    assert document['check']['predicted_gb'] == pytest.approx(needs.process_bytes(16) / 1e9)
    assert document['check']['measured_gb'] > 0.1


def test_a_table_has_a_line_for_each_fleet():
    head, line = plan.table([ROW]).splitlines()
    assert head.split('  ')[0] == 'devices'
    assert line.split() == ['8xv100', '512', '1', '5.57', '32', '6.38', '2.613e+04', '8.2']


def test_a_table_in_markdown():
    assert plan.table([ROW], markdown=True).splitlines()[-1].startswith('| 8xv100 | 512 | 1 |')
