"""What the command lines share: flags in, one call, one clear line for an error."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator

from absl import app, flags, logging


def run(main: Callable[[], None]) -> None:
    """Parses the flags and calls `main`.

    An error that a person can mend ends the program with one line on standard error and exit code
    2; a bug keeps its traceback.
    """
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # no device chatter around our output
    logging.set_verbosity(logging.WARNING)

    def call(argv: list[str]) -> None:
        with _one_line_errors():
            if len(argv) > 1:
                raise ValueError(f'unexpected argument {argv[1]!r}; every option starts with --')
            main()

    def parse(argv: list[str]) -> list[str]:
        with _one_line_errors():
            return flags.FLAGS(argv)

    app.run(call, flags_parser=parse)


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except flags.Error as e:
        _fail(f'{e} (see --help)')
    except AttributeError as e:
        # ml_collections names the nearest field of a config in its message.
        if 'Did you mean' not in str(e) and 'Key' not in str(e):
            raise
        _fail('config: ' + str(e).strip('"'))
    except KeyboardInterrupt:
        _fail('interrupted')
    except (ValueError, OSError, MemoryError) as e:
        _fail(str(e) or type(e).__name__)
    except Exception as e:
        if not type(e).__module__.startswith('tensorflow.python.framework.errors'):
            raise
        _fail(f'TensorFlow: {str(e).splitlines()[0]}')


def _fail(message: str) -> None:
    print('error: ' + ' '.join(message.split()), file=sys.stderr)
    sys.exit(2)
