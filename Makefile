# Each target is a line that a person could type. `make demo` and `make test` need only python3, python3-venv, make and git.
PY ?= python3
BIN := .venv/bin
SETUP := .venv/.ready
LOOPS := bms_can/columnar/kernel_digits.h bms_can/columnar/kernel_text.c bms_can/columnar/kernel_fields.c
KERNEL := bms_can/columnar/libkernel.so

.PHONY: demo demos test proofs check cover real-logs mutants bench bench-timeline power-cut crash simulate expiry socketcan socketcan-long systemd bench-live soak soak-real fuzz-raw bench-replay bench-export export-kill columnar-proof columnar-sanitized kernel false-findings setup lock clean
demo: $(SETUP)
	$(BIN)/bms-agent demo

# The story of every battery that ships, about two minutes; ends at the first that is not proven.
demos: $(SETUP)
	for profile in dbc/*.toml; do $(BIN)/bms-agent demo --battery $$profile --once --plain || exit 1; done

test: $(SETUP) $(KERNEL)
	$(BIN)/python -m pytest -n 3

check: $(SETUP)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

# The full size of the experiments that `make test` runs small; minutes.
proofs: $(SETUP)
	$(BIN)/python -m pytest -n 2 -m proof -rP

cover: $(SETUP)
	$(BIN)/python -m pytest --cov --cov-report=term-missing:skip-covered

# DIR holds pairs/ with recorded logs and their reference answers; without it these tests are skipped.
real-logs: $(SETUP)
	BMS_REAL_LOGS=$(abspath $(DIR)) $(BIN)/python -m pytest -m shared tests

bench: $(SETUP)
	$(BIN)/python -m bench

STREAMS ?= 10000
bench-timeline: $(SETUP)
	$(BIN)/python -m bench.timeline --streams $(STREAMS)

bench-live: $(SETUP)
	$(BIN)/python -m bench.live

HOURS ?= 24
soak: $(SETUP)
	$(BIN)/python -m bench.soak --hours $(HOURS)

# The same on the real clock, with the product's processes and receive path.
soak-real: $(SETUP)
	$(BIN)/python -m bench.soak_real --minutes $(or $(MINUTES),60) --series $(or $(SERIES),soak_real.csv)

fuzz-raw: $(SETUP)
	$(BIN)/python -m bench.fuzz_raw $(if $(N),--messages $(N))

power-cut: $(SETUP)
	$(BIN)/python -m bench.power_cut $(N)

crash: $(SETUP)
	$(BIN)/python -m bench.crash $(N)

STEPS ?= 100000
SEED ?= 1
simulate: $(SETUP)
	$(BIN)/python -m bench.simulate --steps $(STEPS) --seed $(SEED)

# How often inspect finds a counter or a checksum where there is none, and misses a planted one.
false-findings: $(SETUP)
	$(BIN)/python -m bench.false_findings $(N)

CASES ?= 100000
expiry: $(SETUP)
	$(BIN)/python -m bench.expiry --cases $(CASES)

# Logs as columns against cantools, the live codec and the line parser; LINES mutated lines, FRAMES random frames.
LINES ?= 1000000
FRAMES ?= 1000000
columnar-proof: $(SETUP) $(KERNEL)
	$(BIN)/python -m bench.columnar_proof --lines $(LINES) --frames $(FRAMES)

# The compiled loops under the address and undefined-behaviour sanitizers.
columnar-sanitized: $(SETUP)
	$(BIN)/python -m bench.columnar_sanitize

# Us and others on one log of N frames. The others are installed into .venv-bench.
bench-replay: $(SETUP) $(KERNEL)
	$(BIN)/python -m bench.replay $(if $(N),--frames $(N))

# Export of a log of N frames to Parquet, CSV and a wide table, against plain decoding and python-can + cantools.
bench-export: $(SETUP) $(KERNEL)
	$(BIN)/python -m bench.export $(if $(N),--frames $(N))

# Needs, as root: apt-get install --no-install-recommends user-mode-linux kmod iproute2 can-utils
GUEST := $(BIN)/python -m tests.socketcan.guest --limit
socketcan: $(SETUP)
	$(GUEST) 420 $(BIN)/python -m pytest -p no:cacheprovider -p no:xdist tests/socketcan

# Beside other work, as root: chrt -r 5 make socketcan-long (nice means nothing between sessions).
socketcan-long: $(SETUP)
	FULL_BUS_S=600 FLAPS_S=300 $(GUEST) 1800 $(BIN)/python -m pytest -p no:cacheprovider -p no:xdist tests/socketcan

# The unit under systemd, installed as docs/operations.md says. Needs, beside what socketcan needs:
# apt-get install --no-install-recommends systemd udev dbus procps python3-venv
systemd: $(SETUP)
	$(BIN)/python -m tests.systemd.wheels build/wheels
	SYSTEMD_GUEST=$(abspath build/wheels) $(BIN)/python -m tests.systemd.guest --limit 600 --memory 1280 \
		$(BIN)/python -m pytest -p no:cacheprovider -p no:xdist tests/systemd

# Kill -9 an export N times at random moments, and look at what a reader finds.
export-kill: $(SETUP) $(KERNEL)
	$(BIN)/python -m bench.export_kill $(N)

# Minutes, not seconds. What survives is explained in docs/safety.md.
mutants: .venv-mutants/.ready
	rm -rf mutants && .venv-mutants/bin/mutmut run && .venv-mutants/bin/mutmut results

.venv-mutants/.ready: requirements/mutants.lock
	$(PY) -m venv .venv-mutants
	.venv-mutants/bin/pip install --quiet --require-hashes --only-binary=:all: -r requirements/mutants.lock
	touch $@

setup: $(SETUP)

kernel: $(KERNEL)

# Without a C compiler it says so, and numpy does the work.
$(KERNEL): $(LOOPS) hatch_build.py | $(SETUP)
	$(BIN)/python hatch_build.py

$(SETUP): pyproject.toml requirements/dev.lock
	$(PY) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes --only-binary=:all: -r requirements/dev.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	touch $(SETUP)

lock:
	$(PY) -m venv .venv-lock && .venv-lock/bin/pip install --quiet uv
	.venv-lock/bin/uv pip compile --quiet --universal --generate-hashes --no-header --extra dev -o requirements/dev.lock pyproject.toml
	.venv-lock/bin/uv pip compile --quiet --universal --generate-hashes --no-header -o requirements/base.lock pyproject.toml
	.venv-lock/bin/uv pip compile --quiet --universal --generate-hashes --no-header --extra mutants -o requirements/mutants.lock pyproject.toml
	rm -rf .venv-lock

clean:
	rm -rf .venv .venv-lock .venv-mutants .venv-bench $(KERNEL) mutants build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage
