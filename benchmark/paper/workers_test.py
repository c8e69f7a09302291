import os
import signal
import time

import pytest

from benchmark.paper.workers import run_apart


def write_name(path):
    """What the tests' processes do: the file's name says how it goes."""
    name = os.path.basename(path)
    if name.startswith('bad'):
        raise ValueError(f'{name} is\nbad')
    if name.startswith('bug'):
        raise KeyError(name)
    if name.startswith('killed'):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith('exits'):
        os._exit(3)
    if name.startswith('hangs'):
        time.sleep(600)
    with open(path, 'w', encoding='utf-8') as file:
        file.write(f'{os.environ.get("GREETING")} {os.getpid()}')


def run(folder, names, processes=2):
    items = [str(folder / name) for name in names]
    done = run_apart(write_name, items, processes=processes, environment={'GREETING': 'hello'})
    return {os.path.basename(item): problem for item, problem in done}


def test_every_item_is_done_by_as_many_processes_as_asked(tmp_path):
    names = [f'good{i}' for i in range(6)]
    assert run(tmp_path, names) == dict.fromkeys(names)
    texts = [(tmp_path / name).read_text().split() for name in names]
    assert {text[0] for text in texts} == {'hello'}
    assert 1 <= len({text[1] for text in texts} - {str(os.getpid())}) <= 2
    assert 'GREETING' not in os.environ


def test_items_are_taken_in_their_order(tmp_path):
    assert list(run(tmp_path, ['b', 'a', 'c'], processes=1)) == ['b', 'a', 'c']


def test_one_that_fails_does_not_lose_the_others(tmp_path, capfd):
    problems = run(tmp_path, ['bad', 'a', 'killed', 'b', 'exits', 'bug', 'c'])
    assert {name for name, problem in problems.items() if problem is None} == {'a', 'b', 'c'}
    assert problems['bad'] == 'bad is bad'
    assert problems['bug'] == "KeyError: 'bug'"
    assert problems['killed'] == (
        'its process was killed (SIGKILL); with fewer processes each has more memory'
    )
    assert problems['exits'] == 'its process ended with exit code 3'
    # A bug keeps its traceback, what a person can mend has none.
    assert capfd.readouterr().err.count('Traceback') == 1


def test_no_items_need_no_process(tmp_path):
    assert run(tmp_path, []) == {}


def test_leaving_early_ends_the_processes(tmp_path):
    items = [str(tmp_path / name) for name in ('a', 'hangs1', 'hangs2')]
    done = run_apart(write_name, items, processes=2, environment={})
    assert next(done) == (items[0], None)
    (pid,) = [int((tmp_path / 'a').read_text().split()[1])]
    done.close()  # waits for them
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
