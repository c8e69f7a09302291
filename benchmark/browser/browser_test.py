import threading

import pytest

from benchmark.browser import browser
from benchmark.browser.browser import BrowserDevice, TakenError, UnknownPageError
from benchmark.browser.posted import PostError
from benchmark.browser.testing import HELLO, posted
from benchmark.device import Case, DeviceError

CASE = Case('a.tflite', 'a.tflite', 'ab' * 32, 1000)
MEASURED = {
    'sha256': CASE.sha256,
    'threads': 1,
    'refused': False,
    'samples_ms': [1.0, 2.0, 3.0],
    'runs_as_one': 1,
    'repeated': 0,
}


@pytest.fixture
def device(monkeypatch):
    monkeypatch.setattr(browser, '_PATIENCE_S', 0.05)
    return BrowserDevice('LiteRT.js 2.5.3')


@pytest.fixture
def token(device):
    """Of a page that said hello."""
    return device.hello(posted(**HELLO))['token']


@pytest.fixture
def turn(device, token):
    """Asks for a turn of three runs in a thread; its result comes to the list."""
    results = []

    def ask():
        try:
            results.append(device.turn(CASE, threads=1, warmup_runs=2, runs=3))
        except DeviceError as error:
            results.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()

    def finish():
        thread.join(10)
        return results[0]

    return finish


def next_job(device, token, **answer):
    """The next job, however long it takes to be put up."""
    for _ in range(200):
        job = device.next(posted(**{'number': 0, **answer}, token=token))
        if job['kind'] != 'wait':
            return job
    raise AssertionError('no job')


def test_a_turn_goes_to_the_page_and_comes_back(device, token, turn):
    job = next_job(device, token)
    wanted = {'kind': 'turn', 'name': 'a.tflite', 'sha256': CASE.sha256, 'runs': 3}
    assert wanted.items() <= job.items()
    assert (job['threads'], job['warmup_runs']) == (1, 2)
    device.next(posted(token=token, number=job['number'], **{**MEASURED, 'runs_as_one': 4}))
    result = turn()
    assert (result.median_ms, result.min_ms, result.runs) == (2.0, 1.0, 12)


def test_an_answer_that_comes_twice_counts_once(device, token, turn):
    job = next_job(device, token)
    for _ in range(2):  # the answer to the first got lost
        answer = device.next(posted(token=token, number=job['number'], **MEASURED))
        assert answer['kind'] == 'wait'
    assert turn().runs == 3


def test_a_reloaded_page_is_given_the_open_job(device, token, turn):
    job = next_job(device, token)
    again = device.hello(posted(**HELLO))['token']
    assert next_job(device, again) == job
    with pytest.raises(TakenError, match='another page of this browser measures now; close one'):
        device.next(posted(token=token, number=job['number'], **MEASURED))
    device.next(posted(token=again, number=job['number'], **MEASURED))
    assert turn().runs == 3


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'sha256': 'cd' * 32}, 'sha256 is not that of a.tflite, which was asked for'),
        ({'threads': 2}, 'threads is 2, expected 1 here; reload the page'),
        ({'threads': 2, 'refused': True}, 'threads is 2, expected 1 here'),
        ({'samples_ms': [1.0, 2.0]}, 'samples_ms is 2 values, expected 3 numbers'),
        ({'samples_ms': [1.0, 2.0, -3.0]}, 'a value of samples_ms is -3.0, expected a number abo'),
        ({'samples_ms': [1.0, 2.0, 1e9]}, 'expected a number above 0, up to 3.6e.06'),
        ({'samples_ms': [1.0, 2.0, '3']}, "a value of samples_ms is '3'"),
        ({'runs_as_one': 0}, 'runs_as_one is 0, expected a whole number from 1'),
        ({'repeated': True}, 'repeated is True, expected a whole number'),
        ({'refused': 'no'}, "refused is 'no', expected true or false"),
        ({'extra': 1}, "'extra' is no field of this message"),
        ({'refused': True}, 'reason is missing'),
        ({'number': 10}, 'number is 10, expected up to 1'),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_and_the_job_stays(
    device, token, turn, change, message
):
    job = next_job(device, token)
    answer = {'number': job['number'], **MEASURED, **change}
    with pytest.raises(PostError, match=message):
        device.next(posted(token=token, **answer))
    assert next_job(device, token) == job
    device.next(posted(token=token, number=job['number'], **MEASURED))
    assert turn().runs == 3


def test_a_file_that_fails_in_its_turn_ends_the_measurement(device, token, turn):
    job = next_job(device, token)
    answer = {'sha256': CASE.sha256, 'threads': 1, 'refused': True, 'reason': 'out of memory'}
    device.next(posted(token=token, number=job['number'], **answer))
    assert str(turn()) == 'a.tflite: out of memory'


def test_who_waits_is_told_that_no_answer_will_come(device, token, turn):
    next_job(device, token)
    device.fail('a.tflite is gone')
    assert str(turn()) == 'a.tflite is gone'
    with pytest.raises(DeviceError, match=r'^a\.tflite is gone$'):
        device.refusals([CASE], threads=1)


def test_repeated_turns_are_told(device, token, turn):
    assert device.warnings == []
    job = next_job(device, token)
    device.next(posted(token=token, number=job['number'], **{**MEASURED, 'repeated': 2}))
    turn()
    assert device.warnings == ['2 turns were repeated: the page was hidden meanwhile']


def test_facts_are_what_the_page_told(device, token):
    facts = device.facts()
    assert facts.pop('runtime') == 'LiteRT.js 2.5.3'
    assert facts == {name: value for name, value in HELLO.items() if name != 'id'}


@pytest.mark.parametrize(
    'change',
    [
        {'id': '../../etc/passwd'},
        {'id': 'A' * 32},
        {'user_agent': 'x' * 1001},
        {'hardware_concurrency': 0},
        {'clock_step_ms': -1},
        {'pixel_ratio': '2'},
        {'screen_width': 1.5},
        {'wake_lock': 1},
        {'more': 'x'},
    ],
)
def test_a_hello_with_a_wrong_value_is_refused(device, change):
    with pytest.raises(PostError, match=next(iter(change))):
        device.hello(posted(**{**HELLO, **change}))
    device.hello(posted(**HELLO))


def test_another_browser_waits_for_its_own_measurement(device, token):
    with pytest.raises(TakenError, match='browser_chrome_140_android_01234567 measures, expected'):
        device.hello(posted(**{**HELLO, 'id': 'f' * 32}))


def test_a_page_of_an_earlier_server_is_told_to_reload(device):
    with pytest.raises(UnknownPageError, match='of an earlier server; reload it'):
        device.next(posted(token='ab', number=3, **MEASURED))


@pytest.mark.parametrize(
    ('user_agent', 'name'),
    [
        (HELLO['user_agent'], 'browser_chrome_140_android'),
        (
            'Mozilla/5.0 (Android 13; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0',
            'firefox_140_andr',
        ),
        (
            'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 '
            '(KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1',
            'browser_safari_18_ios',
        ),
        (f'{HELLO["user_agent"]} EdgA/140.0.0.0', 'browser_edge_140_android'),
        ('Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/156.0.0.0 Safari', 'chrome_156_linux'),
        ('../../etc/passwd', 'browser_01234567'),
    ],
)
def test_the_name_is_made_of_the_user_agent_and_fits_a_file(device, user_agent, name):
    device.hello(posted(**{**HELLO, 'user_agent': user_agent}))
    assert name in device.name
    assert device.name.endswith('_01234567')
    assert device.name.replace('_', '').isalnum()
