"""What the command lines share: flags in, one call, one clear line for an error."""

import contextlib
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator

from absl import app, flags, logging

from train.reasons import reason
from train.stop_signal import Stopped

PATIENCE_SECONDS = 20  # with a program that was told to stop: those that preempt kill after 30
STOPPED = 'stopped; the same command continues'


def run(
    main: Callable[..., None],
    define_flags: Callable[[], None],
    *,
    positional: str = '',
    continues: bool = False,
) -> None:
    """Defines and parses the flags and calls `main`.

    An error that a person can mend ends the program with one line on standard error and exit code
    2; a bug keeps its traceback.

    Args:
      main: reads the flags and does the work.
      define_flags: defines them; not done at import, so that several command lines fit into one
        process.
      positional: what arguments that are no flags stand for, such as 'IMAGES': at least one is
        expected, and `main` takes their list. '' refuses them.
      continues: the same command goes on with what was stopped: SIGTERM, by which preemption is
        announced, is no error then.
    """
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # no device chatter around our output
    logging.set_verbosity(logging.WARNING)

    def parse(argv: list[str]) -> list[str]:
        with _config_errors():
            rest = flags.FLAGS(argv)
        if positional and len(rest) == 1:
            raise ValueError(f'expected {positional} beside the flags (see --help)')
        if len(rest) > 1 and not positional:
            raise ValueError(f'unexpected argument {rest[1]!r}; every option starts with --')
        return rest

    with _one_line_errors():
        if continues:
            signal.signal(signal.SIGTERM, _stop)
        # A config flag reads its overrides when it is defined, and finds unknown fields then.
        with _config_errors():
            define_flags()
        app.run(lambda argv: main(*([argv[1:]] if positional else [])), flags_parser=parse)


def _stop(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # it may come again while the first one ends the program
    # An exception is lost where it meets a callback out of C++, or it waits for a thread that waits
    # for ever. What is on disk stands a kill at any moment.
    watchdog = threading.Timer(PATIENCE_SECONDS, _end_at_once)
    watchdog.daemon = True
    watchdog.start()
    raise Stopped


def _end_at_once() -> None:
    print(STOPPED, flush=True)
    os._exit(0)


def import_tensorflow() -> None:
    """Imports TensorFlow without the lines about devices that no log level silences (2.21).

    Called at the start of a `main` that needs it, so that --help answers at once.
    """
    standard_error, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)  # the lines come from C++, past sys.stderr
    try:
        import tensorflow as tf
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)
        os.close(nowhere)
    # Every network has a step that is traced for itself; TensorFlow takes those of a search for one
    # that is traced again and again.
    tf.get_logger().addFilter(lambda record: 'tf.function retracing' not in record.getMessage())


@contextlib.contextmanager
def _config_errors() -> Iterator[None]:
    """Turns what ml_collections raises for an unknown field into a ValueError with its hint."""
    try:
        yield
    except (AttributeError, KeyError) as e:
        text = str(e.args[0])  # "'batchsize'\nDid you mean …", or the name alone
        name = re.search(r'[\w.]+', text)
        hint = re.search(r'Did you mean [^?]*\?', text)
        raise ValueError(
            f'config has no field {name[0] if name else text}. {hint[0] if hint else ""}'
        ) from e


# TensorFlow names the record, not the file.
_DAMAGED = (
    '; a file of the dataset is damaged: the same train.shard command as before finds and rewrites its '
    'own, TFDS prepares its own anew'
)


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except flags.Error as e:
        _fail(f'{e} (see --help)')
    except Stopped:
        print(STOPPED, flush=True)
        sys.exit(0)
    except KeyboardInterrupt:
        _fail('interrupted')
    except (ValueError, OSError, MemoryError) as e:
        _fail(str(e) or type(e).__name__)
    except Exception as e:
        if not type(e).__module__.startswith('tensorflow.python.framework.errors'):
            raise
        hint = _DAMAGED if type(e).__name__ == 'DataLossError' else ''
        _fail(f'TensorFlow: {reason(e)}{hint}')


def _fail(message: str) -> None:
    print('error: ' + ' '.join(message.split()), file=sys.stderr)
    sys.exit(2)
