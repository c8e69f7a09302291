"""What is wrong, out of an error that says more."""

import re

# Where it happened: of a graph, TensorFlow tells that first.
_WHERE = re.compile(
    r'\s|Graph execution error:|Detected at node|<stack traces|\(\d+\) |\d+ root error'
)
# Whose error it is, in TensorFlow's names.
_OP = re.compile(r'\{\{\w+ [^}]*\}\} ?|\s*\[Op:\w+\].*$')


def reason(error: Exception) -> str:
    """The first line of an error that tells what is wrong; its type where there is none."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not _WHERE.match(line)]
    line = (telling or lines or [type(error).__name__])[0]
    return _OP.sub('', line).strip() or line.strip()
