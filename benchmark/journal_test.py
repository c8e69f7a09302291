import os
import resource
import threading

import pytest

from benchmark.journal import Journal, open_alone
from benchmark.latency import turn_of

HEADER = {'device': 'host', 'files': [('a', 'ab')], 'protocol': {'rounds': 2}}
TURN = turn_of([1.0, 2.0])


@pytest.fixture
def path(tmp_path):
    path = tmp_path / 'results.host.jsonl'
    with Journal(path, HEADER) as journal:
        journal.begin({'cpu': 'x'})
        journal.add(0, 'a', TURN)
        journal.add(1, 'a', TURN)
    return path


def interrupt(*arguments):
    raise KeyboardInterrupt


def turns(path, header=HEADER):
    with Journal(path, header) as journal:
        return journal.turns


def test_turns_are_there_when_it_is_opened_again(path):
    assert turns(path) == {(0, 'a'): TURN, (1, 'a'): TURN}


@pytest.mark.parametrize('cut', [1, 5, 60])
def test_half_a_line_of_a_kill_is_cut_off_and_written_anew(path, cut):
    path.write_bytes(path.read_bytes()[:-cut])
    with Journal(path, HEADER) as journal:
        assert set(journal.turns) == {(0, 'a')}
        journal.add(1, 'a', TURN)
    assert turns(path) == {(0, 'a'): TURN, (1, 'a'): TURN}


@pytest.mark.parametrize('turns_before', [0, 1])
def test_a_turn_that_ctrl_c_finds_written_is_counted_and_kept(tmp_path, monkeypatch, turns_before):
    path = tmp_path / 'results.host.jsonl'
    with Journal(path, HEADER) as journal:
        journal.begin({'cpu': 'x'})
        for round_index in range(turns_before):
            journal.add(round_index, 'a', TURN)
        monkeypatch.setattr(os, 'fsync', interrupt)
        with pytest.raises(KeyboardInterrupt):
            journal.add(turns_before, 'a', TURN)
        assert journal.kept.startswith(f'{turns_before + 1} turns are kept in ')
    assert len(turns(path)) == turns_before + 1


@pytest.mark.parametrize('size', [0, 10])
def test_a_kill_at_the_first_line_begins_anew(path, size):
    path.write_bytes(path.read_bytes()[:size])
    assert turns(path) == {}


def test_the_journal_of_another_measurement_is_kept(path):
    content = path.read_bytes()
    with pytest.raises(
        ValueError, match=r'holds 2 turns of another .* in protocol.rounds \(2 there, 3 here\);'
    ):
        Journal(path, {**HEADER, 'protocol': {'rounds': 3}})
    assert path.read_bytes() == content


def test_a_journal_without_turns_makes_way_and_is_not_left_behind(path):
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    with Journal(path, {**HEADER, 'device': 'phone'}):
        assert b'phone' in path.read_bytes()
    assert not path.exists()


def test_of_files_only_that_they_differ_is_told(path):
    with pytest.raises(ValueError, match=r'differs in files; give'):
        Journal(path, {**HEADER, 'files': [('b', 'ab')]})


def test_who_waits_for_a_file_gets_it_when_it_is_closed_or_removed(path):
    told = []

    def wait():
        with open_alone(path, wait=True) as file:
            told.append('second')
            file.write(b'2')

    with open_alone(path) as first:
        with pytest.raises(BlockingIOError):
            open_alone(path)
        second = threading.Thread(target=wait)
        second.start()
        second.join(0.2)  # it would be through by now
        told.append('first')
        first.write(b'1')
        path.unlink()
    second.join()
    assert told == ['first', 'second']
    assert path.read_bytes() == b'2'


def test_two_measurements_do_not_write_one_journal(path):
    with Journal(path, HEADER) as journal:
        with pytest.raises(ValueError, match=r'another measurement is writing .*jsonl; wait for'):
            Journal(path, HEADER)
        journal.add(2, 'a', TURN)
    assert len(turns(path)) == 3


def test_warnings_are_those_of_every_session(path):
    for warnings in (['hot'], ['hot', 'dark'], ['3 turns', 'dark']):
        with Journal(path, HEADER) as journal:
            journal.begin({'cpu': 'x', 'load': len(warnings[0])})
            journal.warn(['2 turns'])
            journal.warn(warnings)
    with Journal(path, HEADER) as journal:
        journal.warn(['of nothing'])
        assert journal.warnings == ['hot', 'dark', '3 turns']
        assert journal.facts == {'cpu': 'x', 'continued': [{'load': 3}, {'load': 3}, {'load': 7}]}


@pytest.fixture
def full_disk():
    """Files do not grow any more beyond some bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_is_told_with_the_file_and_what_is_in_it_stays(path, full_disk):
    with Journal(path, HEADER) as journal:
        full_disk(path.stat().st_size + 10)  # half of the line can be written
        with pytest.raises(
            ValueError, match=r'host.jsonl cannot be written \(File too large\); wh'
        ):
            journal.add(2, 'a', TURN)
        assert set(journal.turns) == {(0, 'a'), (1, 'a')}
        full_disk(resource.RLIM_INFINITY)
        journal.add(3, 'a', TURN)
    assert set(turns(path)) == {(0, 'a'), (1, 'a'), (3, 'a')}


def test_a_disk_that_is_full_at_the_first_line_leaves_no_file(tmp_path, full_disk):
    full_disk(10)
    with pytest.raises(ValueError, match='cannot be written'):
        Journal(tmp_path / 'j', HEADER)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'content',
    [
        b'no JSON\n',
        b'{}\n{"round": 1}\n',
        b'{}\n{"warnings": []}\n',
        b'{}\n{"facts": 1}\n',
        b'[]\n[]\n',
        b'\xff\n',
    ],
)
def test_a_file_of_something_else_is_kept(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'is no journal of a measurement .*; remove it, or'):
        Journal(path, HEADER)
    assert path.read_bytes() == content
