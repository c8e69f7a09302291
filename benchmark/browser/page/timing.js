// Times runs with the clock of a browser, which is coarse on purpose.

// The median sample spans at least so many steps of the clock.
const STEPS_PER_SAMPLE = 20;
const MOST_RUNS_AS_ONE = 2 ** 20;
const SEEN_STEPS = 25;

// Milliseconds by which the clock steps: the median of a few, as a pause makes single ones longer.
export function clockStep(now) {
  const steps = [];
  let last = now();
  while (steps.length < SEEN_STEPS) {
    const next = now();
    if (next > last) {
      steps.push(next - last);
      last = next;
    }
  }
  return median(steps);
}

// Times one turn: untimed runs, then `runs` samples, each the mean of as many runs as the clock
// needs. `run` returns what is freed by `free`, off the clock.
export async function timeTurn({ run, free, now, stepMs, warmupRuns, runs, runsAsOne }) {
  async function span(count) {
    const results = [];
    const start = now();
    for (let i = 0; i < count; i++) results.push(await run());
    const spanMs = now() - start;
    results.forEach(free);
    return spanMs;
  }

  for (let i = 0; i < warmupRuns; i++) await span(1);
  for (let asOne = runsAsOne; ; asOne *= 2) {
    const spansMs = [];
    for (let i = 0; i < runs; i++) spansMs.push(await span(asOne));
    // Judged by all samples: a single one that was held up says nothing of the others.
    if (median(spansMs) >= STEPS_PER_SAMPLE * stepMs || asOne >= MOST_RUNS_AS_ONE) {
      return { samplesMs: spansMs.map((spanMs) => spanMs / asOne), runsAsOne: asOne };
    }
  }
}

function median(values) {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}

// Repeats `measure` until the page could be seen all the time: browsers slow down hidden ones.
export async function whileVisible(page, measure) {
  for (let repeated = 0; ; repeated++) {
    await untilVisible(page);
    let hidden = false;
    const notice = () => { hidden ||= page.hidden; };
    page.addEventListener('visibilitychange', notice);
    const result = await measure();
    // The event waits for its turn in the queue, which a measurement does not give up.
    await new Promise((resolve) => setTimeout(resolve));
    page.removeEventListener('visibilitychange', notice);
    if (!hidden && !page.hidden) return { ...result, repeated };
  }
}

function untilVisible(page) {
  return new Promise((resolve) => {
    const check = () => {
      if (page.hidden) return;
      page.removeEventListener('visibilitychange', check);
      resolve();
    };
    page.addEventListener('visibilitychange', check);
    check();
  });
}
