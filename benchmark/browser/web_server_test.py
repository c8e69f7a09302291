import http.client
import json
import re
import socket

import pytest

from benchmark.browser import browser, web_server
from benchmark.browser.browser import BrowserDevice
from benchmark.browser.testing import HELLO
from benchmark.browser.web_server import Server, routes_of, runtime_version
from benchmark.device import DeviceError
from benchmark.session import cases_of

MODEL = b'\x1c\0\0\0TFL3' + bytes(range(256))


@pytest.fixture
def page(tmp_path):
    """A folder with a file in each place where the page or LiteRT.js has one."""
    folder = tmp_path / 'page'
    litert = folder / 'node_modules/@litertjs'
    builds = ('internal', 'compat_internal', 'threaded_internal')
    files = [
        *(folder / name for name in web_server._PAGE_FILES),
        litert / 'core/dist/index.js',
        litert / 'wasm-utils/dist/index.js',
        *(litert / f'core/wasm/litert_wasm_{b}.{end}' for b in builds for end in ('js', 'wasm')),
    ]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'content of {file.name}')
    (litert / 'core/package.json').write_text('{"version": "2.5.3"}')
    return folder


@pytest.fixture
def cases(tmp_path):
    (tmp_path / 'a.tflite').write_bytes(MODEL)
    (tmp_path / 'secret.txt').write_text('secret')
    return cases_of([tmp_path / 'a.tflite'])


@pytest.fixture
def device(monkeypatch):
    monkeypatch.setattr(browser, '_PATIENCE_S', 0.05)
    return BrowserDevice('LiteRT.js 2.5.3')


def serve(page, cases, device, *, isolated=False):
    return Server(('127.0.0.1', 0), routes_of(cases, page), {'a': 1}, device, isolated=isolated)


@pytest.fixture
def ask(page, cases, device):
    """Asks the running server; gives (status, headers, body)."""
    with serve(page, cases, device) as server:

        def send(method, path, body=None, **headers):
            connection = http.client.HTTPConnection('127.0.0.1', server.server_port, timeout=10)
            try:
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                return response.status, response.headers, response.read()
            finally:
                connection.close()

        yield send


def post(ask, path, values, **headers):
    headers = {'Content-Type': 'application/json', **headers}
    body = values if isinstance(values, bytes) else json.dumps(values).encode()
    status, _, answer = ask('POST', path, body, **headers)
    return status, json.loads(answer)


@pytest.mark.parametrize(
    ('path', 'kind', 'content'),
    [
        ('/', 'text/html; charset=utf-8', b'content of index.html'),
        ('/?start', 'text/html; charset=utf-8', b'content of index.html'),
        ('/page.js', 'text/javascript; charset=utf-8', b'content of page.js'),
        ('/style.css', 'text/css; charset=utf-8', b'content of style.css'),
        (
            '/litert/wasm/litert_wasm_internal.wasm',
            'application/wasm',
            b'content of litert_wasm_internal.wasm',
        ),
        ('/measurement', 'application/json', b'{"a": 1}'),
    ],
)
def test_files_come_with_their_type(ask, path, kind, content):
    status, headers, body = ask('GET', path)
    assert (status, headers['Content-Type'], body) == (200, kind, content)
    assert headers['X-Content-Type-Options'] == 'nosniff'
    assert headers['Cross-Origin-Opener-Policy'] is None


def test_a_model_comes_by_its_hash_and_is_kept_by_the_phone(ask, cases):
    status, headers, body = ask('GET', f'/models/{cases[0].sha256}')
    assert (status, body) == (200, MODEL)
    assert headers['Cache-Control'] == 'max-age=86400, immutable'


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda file: file.write_bytes(MODEL + b'!'),
            r'^a.tflite has changed since the start; start the server again$',
        ),
        (
            lambda file: file.unlink(),
            r'a.tflite cannot be read \(No such file .*\), expected it as it was at the start; put '
            'it back and start the server again$',
        ),
    ],
)
def test_a_model_that_is_no_longer_what_it_was_ends_the_measurement(
    ask, cases, device, change, message
):
    change(cases[0].file)
    status, _, body = ask('GET', f'/models/{cases[0].sha256}')
    assert status == 410
    assert re.search(message, json.loads(body)['error'])
    with pytest.raises(DeviceError, match=message):
        device.turn(cases[0], threads=1, warmup_runs=1, runs=1)


def test_a_file_of_the_page_that_is_gone_is_told(ask, page):
    (page / 'timing.js').unlink()
    status, _, body = ask('GET', '/timing.js')
    assert status == 410
    assert 'timing.js cannot be read' in json.loads(body)['error']


@pytest.mark.parametrize(
    'path',
    [
        '/../secret.txt',
        '/%2e%2e/secret.txt',
        '//etc/passwd',
        '/models/../../secret.txt',
        '/models/..%2fsecret.txt',
        f'/models/{"0" * 64}',
        '/models/a.tflite',
        '/models/',
        '/litert/wasm/../../core/package.json',
        '/package.json',
        '/index.html/../../secret.txt',
        'http://127.0.0.1/secret.txt',
        '/hello',
    ],
)
def test_nothing_else_is_served(ask, path):
    status, _, body = ask('GET', path)
    assert (status, json.loads(body)) == (404, {'error': 'nothing is at this address'})


def test_an_isolated_page_is_cut_off_from_other_origins(page, cases, device):
    with serve(page, cases, device, isolated=True) as server:
        connection = http.client.HTTPConnection('127.0.0.1', server.server_port, timeout=10)
        connection.request('GET', '/')
        headers = connection.getresponse().headers
    assert headers['Cross-Origin-Opener-Policy'] == 'same-origin'
    assert headers['Cross-Origin-Embedder-Policy'] == 'require-corp'


def test_a_page_says_hello_and_waits_for_its_job(ask):
    status, answer = post(ask, '/hello', HELLO)
    assert (status, answer['name']) == (200, 'browser_chrome_140_android_01234567')
    status, job = post(ask, '/next', {'token': answer['token'], 'number': 0})
    assert (status, job) == (200, {'kind': 'wait', 'number': 0, 'done': 0, 'turns': 0})


@pytest.mark.parametrize(
    ('body', 'message'),
    [
        (b'{', 'the body is not JSON'),
        (b'{"token": NaN}', 'NaN is no JSON'),
        (b'[]', 'expected an object'),
        (b'{"number": 1}', 'token is missing'),
        (b'{"token": "ab", "number": -1}', 'number is -1, expected a whole number'),
    ],
)
def test_a_malformed_post_is_refused(ask, body, message):
    status, answer = post(ask, '/next', body)
    assert status == 400
    assert message in answer['error']


def test_who_may_post_is_told_by_the_status(ask):
    assert post(ask, '/next', {'token': 'ab', 'number': 0})[0] == 401
    assert post(ask, '/hello', HELLO)[0] == 200
    assert post(ask, '/next', {'token': 'ab', 'number': 0})[0] == 409
    assert post(ask, '/hello', {**HELLO, 'id': 'f' * 32})[0] == 409
    assert post(ask, '/measurement', {})[0] == 404


@pytest.mark.parametrize('length', [(1 << 20) + 1, '9' * 30])
def test_a_post_that_is_too_long_is_refused_unread(ask, length):
    headers = {'Content-Type': 'application/json', 'Content-Length': str(length)}
    status, received, body = ask('POST', '/next', None, **headers)
    assert status == 413
    assert received['Connection'] == 'close'
    assert 'expected up to 1048576' in body.decode()


def test_a_post_without_a_length_is_refused(ask):
    headers = {'Content-Type': 'application/json', 'Content-Length': '-5'}
    assert ask('POST', '/next', None, **headers)[0] == 411
    # Without the chunks, which would be sent to a server that has answered already.
    chunked = {'Content-Type': 'application/json', 'Transfer-Encoding': 'chunked'}
    assert ask('POST', '/next', None, **chunked)[0] == 411


def test_another_site_cannot_post_through_the_browser(ask):
    assert post(ask, '/hello', HELLO, Origin='http://elsewhere.example')[0] == 403
    assert post(ask, '/hello', HELLO, **{'Content-Type': 'text/plain'})[0] == 415


def test_a_site_that_takes_our_address_for_its_name_is_refused(ask):
    host = 'evil.example:8000'
    for path in ('/', '/measurement'):
        status, headers, body = ask('GET', path, Host=host)
        assert (status, headers['Connection']) == (421, 'close')
        assert "'evil.example:8000' is not this server; open it by its address" in body.decode()
    assert post(ask, '/hello', HELLO, Host=host, Origin=f'http://{host}')[0] == 421
    assert ask('GET', '/measurement', Host='localhost:8000')[0] == 200
    assert post(ask, '/hello', HELLO, Host='localhost:1', Origin='http://localhost:1')[0] == 200


def _has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(('::1', 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _has_ipv6(), reason='this machine has no IPv6 loopback')
def test_it_listens_on_ipv6_too(page, cases, device):
    with Server(('::1', 0), routes_of(cases, page), {}, device, isolated=False) as server:
        connection = http.client.HTTPConnection('::1', server.server_port, timeout=10)
        connection.request('GET', '/measurement')
        assert connection.getresponse().status == 200
        connection.close()


@pytest.mark.parametrize('host', ['no.such.name.invalid', '', 'a' * 70 + '.example'])
def test_a_host_that_is_none_is_told(page, cases, device, host):
    with pytest.raises(
        ValueError, match=r'cannot listen on .*:0 .*; choose another --host or --po'
    ):
        Server((host, 0), routes_of(cases, page), {}, device, isolated=False)


def test_a_missing_litert_js_is_told_with_its_remedy(page, cases):
    (page / 'node_modules/@litertjs/core/package.json').unlink()
    with pytest.raises(ValueError, match=r'expected LiteRT.js beside the page; run make web'):
        runtime_version(page)
    (page / 'node_modules/@litertjs/core/wasm/litert_wasm_internal.wasm').unlink()
    with pytest.raises(ValueError, match=r'litert_wasm_internal.wasm is missing, .* run make web'):
        routes_of(cases, page)


def test_the_version_is_the_installed_one(page):
    assert runtime_version(page) == 'LiteRT.js 2.5.3'


def test_a_port_that_is_taken_is_told(page, cases, device):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        with pytest.raises(ValueError, match=r'cannot listen on .*; choose another --host or --po'):
            Server(taken.getsockname(), routes_of(cases, page), {}, device, isolated=False)
