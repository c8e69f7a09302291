import json

import pytest

from mobilenet_v3.spec_file import to_dict
from mobilenet_v3.tables import SPECS


@pytest.fixture(scope='module')
def refused(run_commands, image_folder, tmp_path_factory):
    """What command lines with one fault end with."""
    folder = tmp_path_factory.mktemp('refused')
    values = to_dict(SPECS['small'])
    values['blocks'][3]['kernel'] = 4
    (folder / 'bad.json').write_text(json.dumps(values))
    (folder / 'table.csv').write_text('device,what\n')
    good = {
        'algorithm': 'netadapt',
        'seed_model': 'small',
        'target': '0.7x',
        'latency': 'madds',
        'dataset': f'folder:{image_folder}',
        'resolution': '32',
        'workdir': str(folder / 'search'),
        'config.train.batch_size': '4',
    }
    faults = {
        'algorithm': {'algorithm': 'genetic'},
        'spec': {'seed_model': str(folder / 'bad.json')},
        'model': {'seed_model': 'smal'},
        'table': {'latency': f'table:{folder / "table.csv"}'},
        'no table': {'latency': f'table:{folder / "none.csv"}'},
        'latency': {'latency': 'phone'},
        'target': {'target': '0.01x'},
        'words': {'target': 'fast'},
        'task': {'config.task': 'detection'},
        'seed_run': {'algorithm': 'nas', 'seed_run': 'runs/seed'},
        'ray_address': {'ray_address': 'auto'},
        'device': {'device': 'adb'},
        'serial': {'serial': '8A5X0H3P2'},
        'scheme': {'scheme': 'int8'},
        'table_device': {'table_device': 'host'},
        'cluster': {'runner': 'ray', 'ray_address': 'auto', 'processes': '2'},
        'finetune': {'config.finetune.backbone_rate': '0.1'},
        'init': {'config.init.source': 'keras:imagenet'},
        'processes': {'processes': '0'},
        'field': {'search.netadapt.delt': '0.1'},
        'delta': {'search.netadapt.delta': '2.0'},
        'space': {'algorithm': 'nas', 'search.space.kernel': '(4,)'},
    }
    cases = {
        name: [f'--{flag}={value}' for flag, value in {**good, **fault}.items()]
        for name, fault in faults.items()
    }
    cases['missing'] = ['--algorithm=nas']
    return run_commands('search.main', cases, folder, imports='search.stage, train.prepare')


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('algorithm', 'value should be one of <netadapt|nas|evolution|random>'),
        ('spec', 'bad.json is not a valid spec: blocks[3].kernel is 4; expected an odd number'),
        ('model', "unknown model 'smal'; did you mean 'small'?"),
        ('table', "table.csv, line 1: column 2 is 'what', expected 'threads'"),
        ('no table', 'measure it: python -m benchmark.block_table --model='),
        ('latency', "--latency is 'phone'; expected table:FILE, host, adb or madds"),
        ('target', 'of the narrowest network that proposals can reach from small'),
        ('words', "--target is 'fast'; expected a share of the seed such as 0.7x"),
        ('task', "config.task is 'detection'; a search trains classification only"),
        ('seed_run', '--seed_run goes with --algorithm=netadapt'),
        ('ray_address', '--ray_address goes with --runner=ray'),
        ('device', '--device is what --latency says; expected --latency=host or adb'),
        ('serial', '--serial goes with --latency=host or adb, which measure'),
        ('scheme', '--scheme goes with latencies of files; --latency=madds has none'),
        ('table_device', '--table_device goes with --latency=table:FILE'),
        ('cluster', '--processes is of workers here; on --ray_address the cluster counts'),
        ('finetune', 'config.finetune keeps trained layers as they were'),
        ('init', 'give NetAdapt a trained seed by --seed_run'),
        ('processes', '--processes is 0; expected at least 1'),
        ('field', 'config has no field delt'),
        ('delta', 'search.netadapt.delta is 2.0; expected in (0, 1)'),
        ('space', '4 is no option of kernel'),
        ('missing', 'must have a value other than None'),
    ],
)
def test_bad_command_lines_end_with_one_clear_error(refused, assert_refused, name, words):
    assert_refused(refused[name], words)
