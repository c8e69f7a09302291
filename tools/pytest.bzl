"""One `py_test` for each pytest file of a folder."""

def pytest_tests(deps, pure = {}):
    """Declares a target for every `*_test.py` of the package, so that a new file needs no change.

    Args:
      deps: what a test may import, unless `pure` says otherwise.
      pure: file -> its own deps, for the tests that run without TensorFlow. The others carry the
        tag `tensorflow`.
    """
    tests = native.glob(["**/*_test.py"])
    for test in pure:
        if test not in tests:
            fail("{} is no test of //{}".format(test, native.package_name()))
    for test in tests:
        is_pure = test in pure
        native.py_test(
            name = test[:-len(".py")],
            size = "small" if is_pure else "large",
            srcs = [test, "//tools:pytest_main.py"] + (["//:conftest.py"] if is_pure else []),
            main = "//tools:pytest_main.py",
            args = ["$(rootpath {})".format(test)],
            # The lock file stands for the installed packages: when they change, tests run again.
            data = ["//:pyproject.toml", "//:requirements.lock"],
            tags = [] if is_pure else ["tensorflow"],
            deps = pure[test] if is_pure else deps + ["//:conftest"],
        )
