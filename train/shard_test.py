import pytest

# Command lines and what the last line of the error says.
BAD = {
    'no output': (['--dataset=folder:images'], 'Flag --output must have a value other than None'),
    'no dataset': (['--output=x'], 'Flag --dataset must have a value other than None'),
    'no folder': (['--dataset=folder:gone', '--output=x'], "there is no folder 'gone'"),
    'boxes': (['--dataset=voc:images', '--output=x'], 'is no dataset for classification'),
    'too many': (['--dataset=folder:images', '--output=x', '--shards=99'], '--shards is 99'),
    'no shards': (['--dataset=folder:images', '--output=y', '--shards=0'], '--shards=0'),
    'a file': (['--dataset=folder:images', '--output=cases.json', '--shards=2'], 'cases.json'),
}


@pytest.fixture(scope='module')
def results(tmp_path_factory, image_folder, run_commands):
    folder = tmp_path_factory.mktemp('shard')
    (folder / 'images').symlink_to(image_folder)
    good = ['--dataset=folder:images', '--output=records', '--shards=3']
    cases = {name: arguments for name, (arguments, _) in BAD.items()}
    return run_commands(
        'train.shard',
        {**cases, 'written': good, 'again': good},
        folder,
        imports='train.data.folder',
    )


@pytest.mark.parametrize('name', BAD)
def test_a_bad_command_line_is_a_clear_line_and_exit_code_2(results, assert_refused, name):
    assert_refused(results[name], BAD[name][1])


def test_the_second_call_finds_everything_done(results):
    ends = [results[name][1] for name in ('written', 'again')]
    assert [results[name][0] for name in ('written', 'again')] == [0, 0]
    assert ends[0].startswith('5 files written; records holds 17 examples of 3 classes')
    assert ends[1].startswith('0 files written')
