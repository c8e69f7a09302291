# `make demo` and `make test` do everything; `make help` lists the rest.
PYTHON ?= python3
LOCK ?= requirements.lock
VENV ?= .venv
RUN := $(VENV)/bin/python
DEMO := runs/demo

.PHONY: help setup demo test test-fast lint types bazel-test aarch64 ray adbd web bench paper-grid lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/'

setup: $(VENV)/.installed ## the virtual environment with the locked packages

$(VENV)/.installed: $(LOCK) requirements-mediapipe.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || \
	  { echo "error: $$($(PYTHON) --version) is not supported; expected 3.10 to 3.13: make PYTHON=python3.12 …"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "error: cannot make $(VENV); on Debian and Ubuntu: apt install python3-venv"; exit 2; }
	@# Debian's pip 23.0 does not apply a pin to a requirement with an extra.
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r tools/pip.lock
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK)
	@# Without dependencies: its absl-py is not ours, and it needs none of it (export/metadata.py).
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-mediapipe.lock
	@touch $@

demo: setup ## train V3-Small on the built-in shapes, export, measure, report (5 minutes)
	$(RUN) -m train.main --config=configs/demo.py --workdir=$(DEMO)
	$(RUN) -m export.tflite --workdir=$(DEMO) --output=$(DEMO)/exported --quantize --config.train.epochs=1
	$(RUN) -m benchmark.main --models=$(DEMO)/exported --output=$(DEMO)/latency.json
	$(RUN) -m benchmark.run_report --workdir=$(DEMO)

# Of three at a time one mostly waits for processes that it started.
TESTS := -m pytest -n 3 --dist=loadfile

test: setup ## every test
	$(RUN) $(TESTS)

test-fast: setup ## the tests without the slow ones
	$(RUN) $(TESTS) -m 'not slow'

lint: setup ## format and lint
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .

types: setup ## types of the public functions
	$(RUN) -m mypy

bazel-test: setup ## the fast tests through Bazel 4.2, offline (BAZEL_FILTERS=-tensorflow: the pure ones)
	@command -v bazel >/dev/null || { echo 'error: no bazel; on Debian: apt install bazel-bootstrap'; exit 2; }
	BAZEL_PYTHON=$(abspath $(RUN)) bazel test //... --test_tag_filters=$(BAZEL_FILTERS)

aarch64: setup ## LiteRT for 64-bit Arm, emulated, in build/: export/aarch64_test.py then runs (170 MB)
	PYTHON=$(abspath $(RUN)) tools/aarch64/setup.sh

ray: setup ## Ray beside the locked packages: search/trials/ray_runner_test.py then runs (75 MB)
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-ray.lock

adbd: ## Android's adbd in build/: benchmark/phones/adbd_*test.py then run, as root (27 MB)
	tools/adbd/setup.sh

web: ## LiteRT.js beside the page of benchmark/web.py, which then measures in browsers (38 MB)
	@command -v npm >/dev/null || { echo 'error: no npm; on Debian: apt install npm'; exit 2; }
	npm ci --prefix benchmark/browser/page --ignore-scripts --no-audit --no-fund

bench: setup ## speed beside tf_keras.applications, in one run, as ratios (8 minutes)
	$(RUN) -m benchmark.peers --output=runs/bench.json

paper-grid: setup ## the paper's tables and figures: 237 files built, measured, reported (half an hour; on phones: MEASURE='--device=adb --serial=… --benchmark_model=…')
	$(RUN) -m benchmark.paper_grid --output=runs/paper-grid/models
	$(RUN) -m benchmark.main --models=runs/paper-grid/models --rounds=20 $(MEASURE) --output=runs/paper-grid/results.json
	@# Segmenters take up to a hundred times as long as classifiers.
	$(RUN) -m benchmark.main --models=runs/paper-grid/models/segmentation --rounds=10 --warmup=2 --runs=4 $(MEASURE) --output=runs/paper-grid/segmentation.json
	$(RUN) -m benchmark.report --models=runs/paper-grid/models,runs/paper-grid/models/segmentation \
	  --results=runs/paper-grid/results.json,runs/paper-grid/segmentation.json --output=runs/paper-grid

lock: ## resolve pyproject.toml anew into the lock files, for every Python at once
	$(PYTHON) -m venv build/uv && build/uv/bin/pip install --quiet uv
	echo pip | build/uv/bin/uv pip compile --universal --python-version 3.10 --generate-hashes \
	  --upgrade --custom-compile-command 'make lock' - -o tools/pip.lock
	build/uv/bin/uv pip compile --universal --python-version 3.10 --generate-hashes --extra dev \
	  --upgrade --custom-compile-command 'make lock' pyproject.toml -o requirements.lock
	printf 'tensorflow<2.21\ntf-keras<2.21\n' | build/uv/bin/uv pip compile --universal \
	  --python-version 3.10 --generate-hashes --extra dev --upgrade -c - \
	  --custom-compile-command 'make lock' pyproject.toml -o requirements-tf2.20.lock
	printf 'mediapipe>=1.0,<2\nopencv-python-headless>=4.10\n' | build/uv/bin/uv pip compile --universal \
	  --python-version 3.10 --no-deps --generate-hashes --upgrade \
	  --custom-compile-command 'make lock' - -o requirements-mediapipe.lock
	echo 'ray>=2.40,<3' | build/uv/bin/uv pip compile --universal --python-version 3.10 \
	  --generate-hashes --no-annotate -c requirements.lock --upgrade \
	  --custom-compile-command 'make lock' - -o requirements-ray.lock

clean: ## everything that was made, the virtual environment too
	rm -rf $(VENV) runs build .pytest_cache .mypy_cache .ruff_cache
