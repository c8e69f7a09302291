// Loads and runs .tflite files with LiteRT.js.

import { loadAndCompile, loadLiteRt, Tensor, unloadLiteRt } from '@litertjs/core';
import { Refused } from './server.js';
import { timeTurn } from './timing.js';

const LARGEST_32_BITS = 2 ** 32;

export class Runtime {
  constructor(threads, stepMs) {
    this.threads = threads;
    this.stepMs = stepMs;
    this.loaded = null;
    this.runsAsOne = new Map();
  }

  // Runs a file once; the reason why it cannot be run, or null.
  async check({ sha256 }) {
    try {
      const file = await this.open(sha256);
      try {
        file.free(await file.run());
      } finally {
        file.close();
      }
      return null;
    } catch (error) {
      if (error instanceof Unreachable || error instanceof Refused) throw error;
      await this.renew();
      return reasonOf(error);
    }
  }

  // Loads a file afresh and times it.
  async turn({ sha256, warmup_runs: warmupRuns, runs }) {
    const file = await this.open(sha256);
    try {
      const timed = await timeTurn({
        run: file.run,
        free: file.free,
        now: () => performance.now(),
        stepMs: this.stepMs,
        warmupRuns,
        runs,
        runsAsOne: this.runsAsOne.get(sha256) ?? 1,
      });
      this.runsAsOne.set(sha256, timed.runsAsOne);
      return timed;
    } finally {
      file.close();
    }
  }

  async open(sha256) {
    this.loaded ??= loadLiteRt('/litert/wasm/', { threads: this.threads > 1 });
    await this.loaded;
    const model = await loadAndCompile(await fetchModel(sha256), {
      accelerator: 'wasm',
      cpuOptions: { numThreads: this.threads },
    });
    const inputs = [];
    const close = () => [...inputs, model].forEach((each) => each.delete());
    try {
      for (const input of model.getInputDetails()) {
        inputs.push(new Tensor(valuesFor(input), input.shape));
      }
    } catch (error) {
      close();
      throw error;
    }
    return {
      run: () => model.run(inputs),
      free: (outputs) => outputs.forEach((output) => output.delete()),
      close,
    };
  }

  // A file that was refused may leave the runtime half way: the next one gets a new runtime.
  async renew() {
    this.loaded = null;
    try {
      unloadLiteRt();
    } catch (error) {
      console.warn('the runtime did not end cleanly:', error);
    }
  }
}

// The server cannot be reached, which is no fault of a file.
export class Unreachable extends Error {}

async function fetchModel(sha256) {
  let response;
  try {
    response = await fetch(`/models/${sha256}`);
    if (response.ok) return new Uint8Array(await response.arrayBuffer());
  } catch (error) {
    throw new Unreachable(`a model could not be fetched: ${error.message}`);
  }
  throw new Refused((await response.json()).error);
}

// As on the host: floats uniform in [-1, 1], uint8 over their whole range, from a fixed seed.
function valuesFor({ name, dtype, shape }) {
  if (shape.some((side) => side < 1)) {
    throw new Error(`input ${name} has the shape [${[...shape]}], and a browser needs a fixed one`);
  }
  const size = shape.reduce((product, side) => product * side, 1);
  let state = 1;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / LARGEST_32_BITS;
  };
  if (dtype === 'float32') return Float32Array.from({ length: size }, () => 2 * random() - 1);
  if (dtype === 'uint8') return Uint8Array.from({ length: size }, () => 256 * random());
  throw new Error(`input ${name} is ${dtype}, whose valid range is unknown`);
}

// The first line of what was thrown, fit for a message.
export function reasonOf(error) {
  const text = String(error?.message ?? error).replace(/[^\x20-\x7e]+/g, ' ').trim();
  return (text || 'LiteRT.js gives no reason').slice(0, 400);
}
