import pytest

from benchmark.device import DeviceError
from benchmark.host import HostDevice
from benchmark.latency import turn_of
from benchmark.phones import words
from benchmark.profiles import write_profiles
from benchmark.session import Protocol, cases_of

PROTOCOL = Protocol(rounds=1, runs_per_round=2, warmup_runs=1)


class FakeDevice(HostDevice):
    def turn(self, case, *, threads, warmup_runs, runs):
        return turn_of([case.size_bytes / 1e3] * runs)


class ProfilingDevice(FakeDevice):
    """A phone whose tool tells ops."""

    def profile(self, case, *, threads, warmup_runs, runs):
        op = words.Op('DELEGATE', 'everything', 0, 1.0, 1.5, 0.0, 1)
        return words.Profile(init=(), ops=(op,), delegated=())


@pytest.fixture(scope='module')
def cases(tiny_model, tmp_path_factory):
    from benchmark.untrained import our_float

    files = []
    for name in 'ab':
        path = tmp_path_factory.mktemp(name) / 'tiny.tflite'
        path.write_bytes(our_float(tiny_model) + name.encode())
        files.append(path)
    return cases_of(files)


def test_files_of_one_name_get_profiles_of_their_own(cases, tmp_path):
    written = write_profiles(FakeDevice(), cases, PROTOCOL, tmp_path / 'results.json')
    names = [f'results.json.host.{n}.tiny' for n in (1, 2)]
    assert [path.name for path in written] == [f'{name}.md' for name in names]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        f'{name}.{end}' for name in names for end in ('md', 'png')
    )
    assert 'bneck_4' in written[0].read_text()


def test_a_file_that_cannot_be_profiled_is_a_warning_and_the_others_go_on(cases, tmp_path, capsys):
    class Failing(FakeDevice):
        """Cannot run the first piece that it is given."""

        failed = False

        def turn(self, case, **options):
            if case.name.startswith('op ') and not self.failed:
                self.failed = True
                raise DeviceError(f'cannot run {case.name}')
            return super().turn(case, **options)

    written = write_profiles(Failing(), cases, PROTOCOL, tmp_path / 'results.json')
    assert [path.name for path in written] == ['results.json.host.2.tiny.md']
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith(f'warning: host: no profile of {cases[0].name}: cannot run op ')


def test_the_words_of_a_phones_tool_stand_beside(cases, tmp_path):
    written = write_profiles(ProfilingDevice(), cases[:1], PROTOCOL, tmp_path / 'r.json')
    assert [path.name for path in written] == [
        'r.json.host.1.tiny.md',
        'r.json.host.1.tiny.tool.md',
    ]
    assert 'DELEGATE' in written[1].read_text()


def test_a_tool_that_cannot_profile_is_a_warning(cases, tmp_path, capsys):
    class App(FakeDevice):
        def profile(self, case, **options):
            raise DeviceError('the benchmark app tells no ops')

    assert len(write_profiles(App(), cases[:1], PROTOCOL, tmp_path / 'r.json')) == 1
    assert (
        'no profile by the tool itself: the benchmark app tells no ops' in capsys.readouterr().err
    )
