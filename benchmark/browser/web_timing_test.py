"""The page's own arithmetic, in Node: page/timing.js with a clock that tests turn."""

import shutil

import pytest

from benchmark.browser.testing import PAGE, run_module

# A clock that steps by `step` ms and moves by what runs take.
CLOCK = """
import {{ clockStep, timeTurn, whileVisible }} from '{timing}';
let time = 0;
const page = new EventTarget();
const hide = (hidden) => {{
  page.hidden = hidden;
  page.dispatchEvent(new Event('visibilitychange'));
}};
const now = (step) => () => Math.floor(time / step + 1e-9) * step;
"""

pytestmark = pytest.mark.skipif(not shutil.which('node'), reason='no node; apt install nodejs')


def run(script):
    """What a script prints as JSON."""
    module = CLOCK.format(timing=(PAGE / 'timing.js').as_uri()) + script
    return run_module(module)


def test_the_step_of_a_clock_is_found():
    script = """
    const clock = now(0.125);
    console.log(JSON.stringify(clockStep(() => { time += 0.003; return clock(); })));
    """
    assert run(script) == 0.125


def turn(run_ms, runs_as_one=1, held_up='false'):
    return run(f"""
    let calls = 0, freed = 0;
    const run = async () => {{ calls++; time += {held_up} ? 100 : {run_ms}; }};
    const timed = await timeTurn({{
      run, free: () => freed++, now: now(0.125), stepMs: 0.125, warmupRuns: 3, runs: 5,
      runsAsOne: {runs_as_one},
    }});
    console.log(JSON.stringify({{ ...timed, calls, freed }}));
    """)


def test_long_runs_are_timed_one_by_one():
    timed = turn(4)
    assert (timed['samplesMs'], timed['runsAsOne']) == ([4.0] * 5, 1)
    assert timed['calls'] == timed['freed'] == 3 + 5


def test_short_runs_are_timed_together_over_twenty_steps():
    timed = turn(0.5)
    assert (timed['samplesMs'], timed['runsAsOne']) == ([0.5] * 5, 8)  # 4 ms; 2 ms are 16 steps
    assert timed['calls'] == timed['freed'] == 3 + 5 * (1 + 2 + 4 + 8)


def test_a_run_that_was_held_up_does_not_pass_for_a_long_one():
    assert turn(0.5, held_up='calls === 4')['runsAsOne'] == 8


def test_a_file_keeps_the_number_that_its_earlier_turns_needed():
    assert turn(0.5, runs_as_one=16)['runsAsOne'] == 16


def test_a_turn_in_which_the_page_was_hidden_is_repeated():
    script = """
    let turns = 0;
    const result = await whileVisible(page, async () => {
      turns++;
      if (turns === 1) { hide(true); setTimeout(() => hide(false), 20); }
      if (turns === 2) { hide(true); hide(false); }
      return { turns };
    });
    console.log(JSON.stringify(result));
    """
    assert run(script) == {'turns': 3, 'repeated': 2}


def test_a_hidden_page_waits():
    script = """
    hide(true);
    let shown = false;
    setTimeout(() => { shown = true; hide(false); }, 20);
    console.log(JSON.stringify(await whileVisible(page, async () => ({ shown }))));
    """
    assert run(script) == {'shown': True, 'repeated': 0}
