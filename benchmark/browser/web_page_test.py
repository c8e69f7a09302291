"""The page in a real browser: headless Chromium, LiteRT.js and files as they are exported."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from benchmark.browser import web_server
from benchmark.results import read_results

CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome')
PATIENCE_S = 120

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason='no chromium; apt install chromium'),
    pytest.mark.skipif(
        not (web_server.PAGE / 'node_modules').is_dir(), reason='no LiteRT.js; run make web'
    ),
]


@pytest.fixture(scope='module')
def models(tiny_model, soft_images, tmp_path_factory):
    """A float file, int8 files with uint8 and int8 input, and one whose batch is open."""
    import tensorflow as tf

    from export.calibrate import calibrate
    from export.convert import convert_float, convert_int8
    from export.deploy import deploy_form, deploy_graph
    from export.quantize import quantized_model

    graph = deploy_graph(tiny_model, hard_swish='decomposed')
    quantized = quantized_model(graph, calibrate(graph, soft_images(8), search_images=0))
    contents = {
        'float': convert_float(deploy_form(tiny_model, hard_swish='fused')),
        'int8_inside': convert_int8(quantized, io='uint8'),
        'int8_outside': convert_int8(quantized, io='int8'),
        'open_batch': tf.lite.TFLiteConverter.from_keras_model(tiny_model).convert(),
    }
    folder = tmp_path_factory.mktemp('models')
    for name, content in contents.items():
        (folder / f'{name}.tflite').write_bytes(content)
    return folder


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


@pytest.fixture
def serve(models, free_port, python_environment, tmp_path):
    """Starts the command on files of `models`; the process, when it listens."""
    started = []

    def start(*names, rounds=2, runs=3, threads=1):
        files = ','.join(str(models / f'{name}.tflite') for name in names)
        process = subprocess.Popen(
            [
                *(sys.executable, '-m', 'benchmark.web', f'--models={files}'),
                *(f'--port={free_port}', f'--rounds={rounds}', f'--runs={runs}', '--warmup=2'),
                *(f'--threads={threads}', f'--output={tmp_path / "results.json"}'),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=python_environment,
        )
        started.append(process)
        assert process.stdout.readline().startswith(f'open http://127.0.0.1:{free_port}/')
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


class Browser:
    """Headless Chromium with one page, told what to do through a pipe (DevTools protocol)."""

    def __init__(self, folder, url):
        command_out, self._commands = os.pipe()
        self._answers, answer_in = os.pipe()
        chromium = [
            *(CHROMIUM, '--headless=new', '--no-sandbox', '--disable-gpu'),
            *(f'--user-data-dir={folder}', '--remote-debugging-pipe', 'about:blank'),
        ]
        # Chromium reads the pipe from 3 and writes to 4.
        move = f'exec "$@" 3<&{command_out} 4>&{answer_in}'
        self._process = subprocess.Popen(
            ['bash', '-c', move, 'bash', *chromium],
            pass_fds=(command_out, answer_in),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(command_out)
        os.close(answer_in)
        self._number, self._session, self._unread = 0, None, b''
        pages = self.call('Target.getTargets')['targetInfos']
        target = next(page['targetId'] for page in pages if page['type'] == 'page')
        attached = self.call('Target.attachToTarget', targetId=target, flatten=True)
        self._session = attached['sessionId']
        self.call('Page.navigate', url=url)

    def call(self, method, **params):
        self._number += 1
        message = {'id': self._number, 'method': method, 'params': params}
        if self._session:
            message['sessionId'] = self._session
        os.write(self._commands, json.dumps(message).encode() + b'\0')
        while True:
            answer = self._read()
            if answer.get('id') == self._number:
                assert 'error' not in answer, answer
                return answer['result']

    def _read(self):
        while b'\0' not in self._unread:
            content = os.read(self._answers, 1 << 16)
            assert content, 'the browser has ended'
            self._unread += content
        message, _, self._unread = self._unread.partition(b'\0')
        return json.loads(message)

    def text(self):
        """What the page shows."""
        result = self.call('Runtime.evaluate', expression='document.body?.innerText ?? ""')
        return result['result'].get('value', '')

    def close(self):
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._commands)
        os.close(self._answers)


@pytest.fixture
def browse(free_port, tmp_path):
    """Opens the page of `serve` and lets it start."""
    opened = []

    def start():
        opened.append(Browser(tmp_path / 'profile', f'http://127.0.0.1:{free_port}/?start'))
        return opened[-1]

    yield start
    for browser in opened:
        browser.close()


def until(found):
    """Waits for `found` to give something, and gives it."""
    end = time.monotonic() + PATIENCE_S
    while not (value := found()):
        assert time.monotonic() < end, 'waited too long'
        time.sleep(0.05)
    return value


def finish(process):
    """What the command printed, when it ended well."""
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    return output


def journal_of(folder):
    """The lines of the journal, the first of which holds no turn."""
    return [line for path in folder.glob('*.jsonl') for line in path.read_text().splitlines()]


def test_files_are_measured_and_refused_ones_named(serve, browse, tmp_path):
    process = serve('float', 'int8_inside', 'int8_outside', 'open_batch', rounds=6)
    page = browse()
    output = finish(process)
    [device] = read_results(tmp_path / 'results.json')['devices']
    assert device['name'].startswith('browser_chrome_')
    assert device['facts']['runtime'].startswith('LiteRT.js 2.')
    assert 'HeadlessChrome' in device['facts']['user_agent']
    assert [m['model'] for m in device['models']] == ['float.tflite', 'int8_inside.tflite']
    assert all(0 < m['p5_ms'] <= m['median_ms'] <= m['p95_ms'] for m in device['models'])
    [ratio] = device['ratios']
    assert 0 < ratio['low'] <= ratio['median'] <= ratio['high']
    warnings = '\n'.join(device['warnings'])
    assert re.search(r'^int8_outside.tflite: left out, because .*INT8', warnings, re.MULTILINE)
    assert re.search(r'^open_batch.tflite: left out, because ', warnings, re.MULTILINE)
    # Runs of so small files take less than twenty steps of Chromium's 100 µs.
    assert re.search(r'^float.tflite: \d+ runs were timed as 18 samples', warnings, re.MULTILINE)
    assert all(f'warning: {warning}\n' in output for warning in device['warnings'])
    shown = until(lambda: 'Done.' in page.text() and page.text())
    assert 'int8_inside.tflite' in shown
    assert all(warning in shown for warning in device['warnings'])


def test_a_reloaded_page_and_a_restarted_server_go_on(serve, browse, tmp_path):
    arguments = {'rounds': 30, 'runs': 5}
    process = serve('float', 'int8_inside', **arguments)
    page = browse()
    until(lambda: len(journal_of(tmp_path)) > 5)
    before = len(journal_of(tmp_path))
    page.call('Page.reload')
    until(lambda: len(journal_of(tmp_path)) > before + 5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    lines = [json.loads(line) for line in journal_of(tmp_path)]
    turns = [line for line in lines if 'turn' in line]
    assert errors.startswith(f'error: interrupted; {len(turns)} turns are kept in ')
    assert len(turns) >= before

    finish(serve('float', 'int8_inside', **arguments))
    [device] = read_results(tmp_path / 'results.json')['devices']
    for model in device['models']:
        kept = [t['turn']['median_ms'] for t in turns if t['name'] == model['model']]
        assert model['round_medians_ms'][: len(kept)] == kept
        assert len(model['round_medians_ms']) == 30
    assert not journal_of(tmp_path)


def test_threads_run_in_an_isolated_page(serve, browse, tmp_path):
    process = serve('float', threads=2)
    browse()
    finish(process)
    [device] = read_results(tmp_path / 'results.json')['devices']
    assert device['facts']['cross_origin_isolated'] is True
    assert device['models'][0]['threads'] == 2
