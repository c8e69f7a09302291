"""What the page does when its server was started again, in Node: page/page.js without a browser."""

import json
import shutil

import pytest

from benchmark.browser.testing import PAGE, run_module

# LiteRT.js, which is not installed everywhere, runs nothing here; elements take whatever is set.
BROWSER = """
import { register } from 'node:module';
const runtime = `
  export const loadLiteRt = async () => {}, unloadLiteRt = () => {};
  export const loadAndCompile = async () => (
    { delete() {}, getInputDetails: () => [], run: async () => [] });
  export class Tensor {}`;
const hook = `export const resolve = (name, context, next) => name === '@litertjs/core'
  ? { url: 'data:text/javascript,${encodeURIComponent(runtime)}', shortCircuit: true }
  : next(name, context);`;
register(`data:text/javascript,${encodeURIComponent(hook)}`);
// The page has gone elsewhere, or has stopped and says why.
const posted = [];
const tell = (values) => { console.log(JSON.stringify({ ...values, posted })); process.exit(); };
class Element extends EventTarget {
  children = []; dataset = {};
  classList = { toggle: (_, isTrouble) => isTrouble && tell({ trouble: this.textContent }) };
  tBodies = [{ replaceChildren() {} }];
  append(...items) { this.children.push(...items); }
  replaceChildren() { this.children = []; }
  click() { this.dispatchEvent(new Event('click')); }
}
const elements = {};
const document = Object.assign(new Element(), {
  hidden: false,
  getElementById: (id) => elements[id] ??= new Element(),
  createElement: () => new Element(),
});
// Answers of the server by what is asked: a status and values; the last one stays.
async function fetch(address, { body } = {}) {
  if (body) posted.push([address, JSON.parse(body)]);
  const told = ANSWERS[address];
  const [status, values] = told.length > 1 ? told.shift() : told[0];
  return { ok: status < 400, status, json: async () => values, arrayBuffer: async () => values };
}
const browser = {
  document, fetch,
  window: { crossOriginIsolated: false, devicePixelRatio: 1 },
  screen: { width: 1, height: 1 },
  navigator: { userAgent: 'Node' },
  localStorage: { getItem: () => null, setItem() {} },
  location: { search: '?start', replace: (address) => tell({ address }) },
};
for (const [name, value] of Object.entries(browser)) {
  Object.defineProperty(globalThis, name, { value });  // some Nodes have one of their own
}
"""

pytestmark = pytest.mark.skipif(not shutil.which('node'), reason='no node; apt install nodejs')


def run(next_answers):
    """Starts the page of one thread; where it goes or why it stops, and what it has posted."""
    protocol = {'threads': 1, 'rounds': 1, 'warmup_runs': 1, 'runs_per_round': 1}
    answers = {
        '/measurement': [[200, {'protocol': protocol, 'models': []}]],
        '/hello': [[200, {'token': 'ab'}]],
        '/models/cd': [[200, []]],
        '/next': next_answers,
    }
    page = json.dumps((PAGE / 'page.js').as_uri())
    script = f'const ANSWERS = {json.dumps(answers)};\n{BROWSER}\nawait import({page});'
    return run_module(script)


def test_a_page_whose_server_was_started_again_reloads_itself():
    told = run([[200, {'kind': 'wait', 'done': 0, 'turns': 0}], [401, {'error': 'reload it'}]])
    assert told['address'] == '/?start'
    assert [address for address, _ in told['posted']] == ['/hello', '/next', '/next']


def test_an_answer_tells_the_threads_that_ran():
    job = {'kind': 'check', 'name': 'a', 'sha256': 'cd', 'number': 1, 'done': 0, 'turns': 0}
    told = run([[200, {**job, 'threads': 2}], [400, {'error': 'threads is 1'}]])
    assert told['trouble'] == 'threads is 1'
    _, answer = told['posted'][-1]
    assert answer == {
        'number': 1,
        'sha256': 'cd',
        'threads': 1,
        'refused': False,
        'token': 'ab',
    }
