"""Measures .tflite files in a browser, such as that of a phone without a cable.

    python -m benchmark.web --models=exported --output=results.json                 # this machine's
    python -m benchmark.web --models=exported --output=results.json --host=0.0.0.0  # a phone's

Serves a page that loads the files with LiteRT.js and posts what they took; open it and press Start.
It ends when all is measured. Interrupted, or with the page closed, it keeps what was measured beside
--output; the same command and the same browser go on with the rest.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from benchmark import latency, measuring_flags, results, session
from benchmark.browser import hosts, web_server
from benchmark.browser.browser import BrowserDevice
from benchmark.device import Case, DeviceError
from benchmark.journal import Journal, interrupted
from benchmark.main import check_output
from benchmark.measuring_flags import (
    define_models_flag,
    define_protocol_flags,
    find_models,
    read_protocol,
)
from train import cli

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the flags."""
    define_models_flag()
    define_protocol_flags()
    flags.DEFINE_string(
        'host',
        '127.0.0.1',
        'Address to listen on. 0.0.0.0 lets phones in, and all others in the same network.',
    )
    flags.DEFINE_integer('port', 8000, 'Port to listen on; 0 takes a free one.', 0, 65535)
    flags.DEFINE_string('output', 'results.json', 'Where the figures go, as JSON.')
    flags.adopt_module_key_flags(measuring_flags)  # so that --help shows them


def main() -> None:
    """Reads the flags, serves and reports."""
    protocol = read_protocol()
    cases = session.cases_of(find_models(FLAGS.models))
    for case in cases:
        results.card_name(case.file)  # a broken card is found before the minutes of measuring
    output = Path(FLAGS.output)
    check_output(output, [case.file for case in cases])
    device = BrowserDevice(web_server.runtime_version())
    server = web_server.Server(
        (FLAGS.host, FLAGS.port),
        web_server.routes_of(cases),
        measurement_of(cases, protocol),
        device,
        isolated=protocol.threads > 1,
    )
    with server:
        print(invitation(FLAGS.host, server.server_port, protocol.threads), flush=True)
        try:
            measure(device, cases, protocol, output)
        except DeviceError as error:
            device.end(error=str(error))
            raise


def measurement_of(cases: Sequence[Case], protocol: session.Protocol) -> dict[str, Any]:
    """What the page shows before it begins."""
    names = ('name', 'sha256', 'size_bytes')
    return {
        'protocol': dict(vars(protocol)),
        'models': [{name: getattr(case, name) for name in names} for case in cases],
    }


def measure(
    device: BrowserDevice, cases: Sequence[Case], protocol: session.Protocol, output: Path
) -> None:
    """Measures in the first browser that says hello; prints a table and writes `output`.

    Raises:
      DeviceError: the browser refuses every file, or one fails in the middle.
      ValueError: interrupted. What was measured is in the journal in either case.
    """
    opened = []
    try:
        device.wait_for_page()
        print(f'{device.name} measures', flush=True)
        refusals = device.refusals(cases, threads=protocol.threads)
        taken = [case for case in cases if case.name not in refusals]
        refused = [f'{name}: left out, because {why}' for name, why in refusals.items()]
        if not taken:
            raise DeviceError(f'the browser refuses every file; {"; ".join(refused)}')
        header = session.header(device, taken, protocol)
        with Journal(session.journal_path(output, device), header) as journal:
            opened.append(journal)
            latencies = session.measure(
                device, taken, protocol, journal=journal, progress=_progress_of(device)
            )
            warnings = [*refused, *journal.warnings]
            warnings += coarse_clock(latencies, protocol, journal.facts)
            entry = results.device_entry(device.name, journal.facts, warnings, taken, latencies)
            results.write_results(output, protocol, [entry])
            journal.remove()
    except KeyboardInterrupt:  # the page waits for the same command
        raise interrupted(*opened) from None
    print(f'{device.name}\n{latency.table(latencies)}')
    print(''.join(f'warning: {warning}\n' for warning in warnings), end='')
    print(f'written to {output}')
    device.end(**{name: entry[name] for name in ('models', 'ratios', 'warnings')})


def coarse_clock(
    latencies: Sequence[latency.Latency], protocol: session.Protocol, facts: dict[str, Any]
) -> list[str]:
    """Names the files of which a sample is the mean of several runs."""
    samples = protocol.rounds * protocol.runs_per_round
    return [
        f'{each.model}: {each.runs} runs were timed as {samples} samples, because the clock of this '
        f'browser steps by {1000 * facts["clock_step_ms"]:.0f} µs; the spread is of their means'
        for each in latencies
        if each.runs > samples
    ]


def invitation(host: str, port: int, threads: int) -> str:
    """What to open where, and what to know before."""
    url = hosts.page_url(host, port)
    if hosts.is_loopback(host):
        return f'open {url} in a browser on this machine, press Start'
    lines = [
        f'open {url} on the phone, press Start; keep its screen on',
        'warning: until this ends, everyone in this network can open the page, fetch the models '
        'and post figures',
    ]
    if threads > 1:
        lines.append(
            f'warning: {threads} threads need a page that is isolated, which browsers grant to '
            'https and to localhost only; pass --threads=1 for a phone'
        )
    return '\n'.join(lines)


def _progress_of(device: BrowserDevice) -> session.Progress:
    """Shows the turns so far on the page and, where somebody looks at it, on this terminal."""

    def show(done: int, turns: int) -> None:
        device.show_progress(done, turns)
        if sys.stderr.isatty():
            end = '\n' if done == turns else ''
            print(f'\r{device.name}: turn {done} of {turns}', end=end, file=sys.stderr, flush=True)

    return show


if __name__ == '__main__':
    cli.run(main, define_flags)
