// The page: what is measured, how far it is, what came of it.

import { reasonOf, Runtime, Unreachable } from './litert.js';
import { browserId, Forgotten, post, Refused } from './server.js';
import { clockStep, whileVisible } from './timing.js';

const RETRY_MS = 2000;
const $ = (id) => document.getElementById(id);
const stepMs = clockStep(() => performance.now());
let keepAwake = false;

async function start(measurement) {
  $('start').hidden = true;
  $('progress').hidden = false;
  keepAwake = true;
  await lockScreen();
  try {
    await measure(new Runtime(measurement.protocol.threads, stepMs));
  } catch (error) {
    // A server that was started again may measure otherwise: the page, too, begins anew.
    if (error instanceof Forgotten) return location.replace('/?start');
    say(reasonOf(error), true);
    if (!(error instanceof Refused)) console.error(error);
  }
  keepAwake = false;
}

// Says hello, then does one job after the other.
async function measure(runtime) {
  const silence = () => say('The server cannot be reached; trying again …', true);
  const { token } = await post('/hello', await facts(), silence);
  let answer = {};
  for (;;) {
    const job = await post('/next', { number: 0, ...answer, token }, silence);
    $('bar').max = job.turns || 1;
    $('bar').value = job.done;
    if (job.kind === 'end') return end(job);
    answer = job.kind === 'wait' ? {} : await doJob(runtime, job);
  }
}

async function doJob(runtime, job) {
  const checks = job.kind === 'check';
  say(checks ? `Trying ${job.name}` : `${job.name}, turn ${job.done + 1} of ${job.turns}`);
  await new Promise((resolve) => setTimeout(resolve, 30)); // lets the browser show it
  const about = { number: job.number, sha256: job.sha256, threads: runtime.threads };
  for (;;) {
    try {
      if (checks) {
        const reason = await runtime.check(job);
        return reason === null ? { ...about, refused: false } : refused(about, job, reason);
      }
      const timed = await whileVisible(document, () => runtime.turn(job));
      if (timed.repeated) note('A turn was repeated: the page was hidden.');
      if (timed.runsAsOne > 1) tellAsOne(job.name, timed.runsAsOne);
      return {
        ...about,
        refused: false,
        samples_ms: timed.samplesMs,
        runs_as_one: timed.runsAsOne,
        repeated: timed.repeated,
      };
    } catch (error) {
      if (error instanceof Refused) throw error;
      if (!(error instanceof Unreachable)) return refused(about, job, reasonOf(error));
      say(`${reasonOf(error)}; trying again …`, true);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

function refused(about, job, reason) {
  note(`${job.name}: ${reason}`);
  return { ...about, refused: true, reason };
}

const toldAsOne = new Set();

function tellAsOne(name, runs) {
  if (toldAsOne.has(name)) return;
  toldAsOne.add(name);
  note(`${name}: ${runs} runs are timed as one, as the clock steps by ${(1000 * stepMs).toFixed(0)} µs.`);
}

async function facts() {
  return {
    id: browserId(),
    user_agent: navigator.userAgent,
    model: await phoneModel(),
    hardware_concurrency: navigator.hardwareConcurrency ?? 1,
    cross_origin_isolated: window.crossOriginIsolated === true,
    screen_width: screen.width,
    screen_height: screen.height,
    pixel_ratio: window.devicePixelRatio,
    clock_step_ms: stepMs,
    wake_lock: 'wakeLock' in navigator,
  };
}

// Told by Chromium on https and localhost only.
async function phoneModel() {
  const values = await navigator.userAgentData?.getHighEntropyValues(['model']);
  return values?.model ?? '';
}

async function lockScreen() {
  if (!keepAwake || document.hidden) return;
  try {
    await navigator.wakeLock.request('screen');
  } catch {
    note('The browser does not let this page keep the screen on: touch it now and then.');
  }
}

function end({ error, models, ratios, warnings }) {
  $('progress').hidden = true;
  if (error) {
    say(error, true);
    return;
  }
  say('Done. The figures are with the server, which has ended.');
  const ratioOf = new Map(ratios.map((ratio) => [ratio.model, ratio]));
  $('figures').tBodies[0].replaceChildren(...models.map((model) => row([
    model.model,
    model.median_ms.toFixed(3),
    `${model.p5_ms.toFixed(3)}–${model.p95_ms.toFixed(3)}`,
    ratioText(ratioOf.get(model.model)),
  ])));
  $('figures').hidden = false;
  $('models').hidden = true;
  $('notes').replaceChildren();
  warnings.forEach(note);
  document.documentElement.dataset.state = 'done';
}

function ratioText(ratio) {
  if (!ratio) return '1';
  const median = ratio.median.toFixed(3);
  if (ratio.low === null) return median;
  return `${median} [${ratio.low.toFixed(3)}, ${ratio.high.toFixed(3)}] ${ratio.verdict}`;
}

function row(cells) {
  const line = document.createElement('tr');
  line.append(...cells.map((text) => {
    const cell = document.createElement('td');
    cell.textContent = text;
    return cell;
  }));
  return line;
}

function say(text, isTrouble = false) {
  $('status').textContent = text;
  $('status').classList.toggle('trouble', isTrouble);
}

function note(text) {
  if ([...$('notes').children].some((each) => each.textContent === text)) return;
  const item = document.createElement('li');
  item.textContent = text;
  $('notes').append(item);
}

async function show() {
  const measurement = await (await fetch('/measurement')).json();
  const { protocol, models } = measurement;
  $('protocol').textContent = `${protocol.rounds} rounds; in each, every file is loaded afresh, run `
    + `${protocol.warmup_runs} times untimed and ${protocol.runs_per_round} times timed, `
    + `${protocol.threads === 1 ? 'one thread' : `${protocol.threads} threads`}, batch 1.`;
  $('models').tBodies[0].replaceChildren(...models.map((model) => row([
    model.name, (model.size_bytes / 1e6).toFixed(2),
  ])));
  if (protocol.threads > 1 && !window.crossOriginIsolated) {
    say(`${protocol.threads} threads need an isolated page, which browsers grant to https and `
      + 'localhost only: start the server with --threads=1.', true);
    return;
  }
  say(stepMs > 1 ? `The clock steps by ${stepMs.toFixed(1)} ms: this takes long.` : 'Ready.');
  $('start').disabled = false;
  $('start').addEventListener('click', () => start(measurement));
  document.addEventListener('visibilitychange', lockScreen);
  if (new URLSearchParams(location.search).has('start')) $('start').click();
}

show().catch((error) => say(`The server cannot be reached (${error.message}); reload.`, true));
