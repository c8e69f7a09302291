import sys

import pytest

from train.prove_resume import prove


@pytest.mark.slow
def test_a_killed_search_ends_with_the_same_network(
    tiny_spec, image_folder, python_environment, tmp_path
):
    command = [
        sys.executable,
        '-m',
        'search.main',
        '--algorithm=random',
        f'--seed_model={tiny_spec}',
        '--target=2x',
        '--latency=madds',
        f'--dataset=folder:{image_folder}',
        '--resolution=32',
        '--workdir=OUT',
        '--search.holdout=3',
        '--search.sampling.budget=3',
        '--search.sampling.batch=1',
        '--search.sampling.epochs=1',
        "--search.space.op=('inverted_3',)",
        '--search.space.kernel=(3,)',
        '--search.space.se=(0.0,)',
        '--search.space.skip=(True,)',
        '--search.space.width=(1.0, 0.75)',
        '--search.space.layers=(0,)',
        '--config.train.batch_size=4',
        '--config.train.epochs=2',
        '--config.eval.batch_size=4',
        '--config.log_every_steps=1',
    ]
    aims = ('write', 'any')
    proof = prove(command, tmp_path, kills=2, aims=aims, environment=python_environment)
    assert proof.hits.total() == 2
    assert proof.files > 3  # the network and the checkpoints of its training
    assert not proof.differing
