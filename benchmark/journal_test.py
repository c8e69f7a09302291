import pytest

from benchmark.journal import Journal
from benchmark.latency import turn_of

HEADER = {'device': 'host', 'files': [('a', 'ab')], 'protocol': {'rounds': 2}}
TURN = turn_of([1.0, 2.0])


@pytest.fixture
def path(tmp_path):
    path = tmp_path / 'results.host.jsonl'
    with Journal(path, HEADER) as journal:
        journal.add(0, 'a', TURN)
        journal.add(1, 'a', TURN)
    return path


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


@pytest.mark.parametrize('size', [0, 10])
def test_a_kill_at_the_first_line_begins_anew(path, size):
    path.write_bytes(path.read_bytes()[:size])
    assert turns(path) == {}


def test_the_journal_of_another_measurement_is_kept(path):
    content = path.read_bytes()
    with pytest.raises(ValueError, match=r'holds 2 turns of another measurement, .* in protocol;'):
        Journal(path, {**HEADER, 'protocol': {'rounds': 3}})
    assert path.read_bytes() == content


def test_a_journal_without_turns_makes_way(path):
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    assert turns(path, {**HEADER, 'device': 'phone'}) == {}
    assert b'phone' in path.read_bytes()


@pytest.mark.parametrize('content', [b'no JSON\n', b'{}\n{"round": 1}\n', b'[]\n[]\n', b'\xff\n'])
def test_a_file_of_something_else_is_kept(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'is no journal of a measurement .*; remove it, or'):
        Journal(path, HEADER)
    assert path.read_bytes() == content
