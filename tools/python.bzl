"""The Python of the project's virtual environment as Bazel's Python toolchain."""

_BUILD = """
load("@bazel_tools//tools/python:toolchain.bzl", "py_runtime_pair")

py_runtime(
    name = "runtime",
    interpreter_path = "{python}",
    python_version = "PY3",
    # Bazel's launcher would look for `python`, which Debian does not have.
    stub_shebang = "#!{python}",
)

py_runtime_pair(
    name = "runtime_pair",
    py3_runtime = ":runtime",
)

toolchain(
    name = "toolchain",
    toolchain = ":runtime_pair",
    toolchain_type = "@bazel_tools//tools/python:toolchain_type",
)
"""

def _python_environment(repository_ctx):
    # Found from WORKSPACE, so that a clone works wherever it lies.
    root = repository_ctx.path(Label("//:WORKSPACE")).dirname
    python = repository_ctx.os.environ.get("BAZEL_PYTHON", "") or str(root) + "/.venv/bin/python"
    if not repository_ctx.path(python).exists:
        fail("No Python at {}: make the virtual environment first (`make setup`), ".format(python) +
             "or give the absolute path of another one in BAZEL_PYTHON.")
    repository_ctx.file("BUILD", _BUILD.format(python = python))

python_environment = repository_rule(
    implementation = _python_environment,
    environ = ["BAZEL_PYTHON"],
    # The environment is not a file of the workspace: look again at each start of Bazel.
    local = True,
)
