"""Runs pytest on the test file of one Bazel target, with only that target's imports in reach."""

import os
import sys

import pytest


class _Deselected:
    count = 0

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self.count += len(items)


def main(arguments: list[str]) -> int:
    """Returns pytest's exit code; a file whose tests are all deselected (`-m`, `-k`) passes."""
    # Without importlib mode, pytest would put the file's folder on the path: undeclared imports.
    options = ['-c', 'pyproject.toml', '--import-mode=importlib', '-p', 'no:cacheprovider']
    if 'TEST_TMPDIR' in os.environ:
        options.append('--basetemp=' + os.path.join(os.environ['TEST_TMPDIR'], 'pytest'))
    if 'XML_OUTPUT_FILE' in os.environ:
        options.append('--junitxml=' + os.environ['XML_OUTPUT_FILE'])
    if 'TESTBRIDGE_TEST_ONLY' in os.environ:  # bazel test --test_filter=
        options.append('-k' + os.environ['TESTBRIDGE_TEST_ONLY'])
    deselected = _Deselected()
    code = pytest.main(options + arguments, plugins=[deselected])
    if code == pytest.ExitCode.NO_TESTS_COLLECTED and deselected.count:
        return 0
    return int(code)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
