# Two commands matter: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
STAMP   = $(VENV)/.installed
RUNS    = $(VENV)/.runs
# One process a core; a file's tests stay together, so that its fixtures are made once.
JOBS   ?= auto
PYTEST  = $(BIN)/python -m pytest -q

.DEFAULT_GOAL := help
.PHONY: help demo test check lint types rooms dead words docs man architecture pytest trial fuzz fuzz-engine \
    mutants evil dashboards test-containers test-systemd sim soak soak-standby soak-ring crash crash-points sim-dht bench-grape bench-network bench-gossip bench-scale bench-fairness bench-krpc \
    bench-store bench-market bench-growth bench-rpc news changelog release test-release clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

$(STAMP): pyproject.toml setup.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $(RUNS) $@

$(RUNS): pyproject.toml setup.py  # without what only the tests need
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	touch $@

demo: $(RUNS) ## three grapes, two peers and a trade on loopback, until Ctrl-C (ONCE=1: end by itself)
	@$(BIN)/python -m grenache_py.demo $(if $(ONCE),--once)

test: check docs pytest ## everything CI runs: check, the documents, then the whole suite

check: lint types rooms dead words ## style, types, import rules, unused code, spelling

lint: $(STAMP) ## ruff: rules and layout
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy

rooms: $(STAMP) ## import-linter: who may import whom
	$(BIN)/lint-imports

dead: $(STAMP) ## vulture: code that nothing uses
	$(BIN)/vulture

words: $(STAMP) ## codespell, doc8 and sphinx-lint: spelling, and the layout of the documents
	$(BIN)/codespell
	$(BIN)/doc8 --quiet
	$(BIN)/sphinx-lint *.rst docs changelog.d

SITE = docs/_build/html
docs: $(STAMP) ## the documents as a site, docs/_build/html, without a warning or a dead link
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[docs]'
	rm -rf docs/_build
	$(BIN)/python -m sphinx -b html -n -W --keep-going -q -d docs/_build/doctrees -c docs . $(SITE)
	$(BIN)/python -m tests.site_links $(SITE)

man: $(STAMP) ## write the manual pages anew, man/, from the commands
	$(BIN)/python -m tests.test_man

architecture: $(STAMP) ## write ARCHITECTURE.rst's list of modules anew
	$(BIN)/python -m tests.test_architecture

pytest: $(STAMP) ## the suite alone (T=tests/dht for a part, JOBS=0 for one process)
	$(if $(CONTAINERS),$(BIN)/pip install --quiet --disable-pip-version-check -e '.[containers]')
	$(PYTEST) -n $(JOBS) --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(T)

trial: $(STAMP) ## the suite's TestCases under Twisted's own runner
	$(BIN)/python -m twisted.trial $$(grep -rlE 'trial.unittest' tests --include='test_*.py')

FUZZ_PARSERS = $(patsubst tests/fuzz/target_%.py,%,$(wildcard tests/fuzz/target_*.py))
FUZZ_SECONDS ?= 600
SOAK_SECONDS ?= 600
fuzz: $(STAMP) ## fuzz every parser, guided by coverage (FUZZ_PARSERS="krpc http", FUZZ_SECONDS=600)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[fuzz]'
	for parser in $(FUZZ_PARSERS); do \
	    $(BIN)/python -m tests.fuzz $$parser --seconds $(FUZZ_SECONDS) || exit 1; done

SAMPLE ?= 1000
SEED   ?= 1
ROOMS  ?= market,home,fills,replication,signed_log
GOAL   ?= 0
mutants: $(STAMP) ## change the core a little, again and again: do the unit tests notice? (SAMPLE=1000, SEED=1, ROOMS=market,home, GOAL=92; RECORD=file to go on from)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[mutants]'
	$(BIN)/python -m tests.mutants --sample $(SAMPLE) --seed $(SEED) --rooms $(ROOMS) --goal $(GOAL) \
	    $(if $(RECORD),--record $(abspath $(RECORD)))

EVIL_SECONDS ?= 30
evil: $(STAMP) ## real daemons under attack by who has only sockets (EVIL_SECONDS=30, CPU=1, ATTACKS="silent-peer guesses")
	$(BIN)/python -m tests.evil --seconds $(EVIL_SECONDS) $(if $(CPU),--cpu) $(ATTACKS)

test-containers: $(STAMP) ## the image and the compose file under Podman (root; BASE=image, SHORT=1: what CI runs)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[containers]'
	CONTAINERS=1 SHORT=$(SHORT) $(PYTEST) tests/containers tests/test_container_files.py $(T)

test-systemd: $(STAMP) ## the operator's guide on a machine of its own that systemd runs (root; SHORT=1: what CI runs)
	SYSTEMD=1 SHORT=$(SHORT) $(PYTEST) tests/systemd $(T)

SEQUENCES ?= 200000
fuzz-engine: $(STAMP) ## the market against the naive one, longer (SEQUENCES=200000, 5 min)
	ENGINE_SEQUENCES=$(SEQUENCES) $(PYTEST) -n $(JOBS) --dist load tests/exchange/market/test_local_market.py \
	    tests/exchange/market/test_matching.py tests/exchange/home/test_home_market.py

SEEDS ?= 1000
sim: $(STAMP) ## the exchange under simulated trouble (SEEDS=1000, START=0)
	$(BIN)/python -m tests.sim.exchange --seeds $(SEEDS) --start $(or $(START),0)

KILLS ?= 200
crash: $(STAMP) ## kill -9 a loaded daemon again and again, hold it to its promises (KILLS=200, 8 min)
	$(BIN)/python -m tests.crash --kills $(KILLS)

POINTS ?= 1000
crash-points: $(STAMP) ## kill a store at each of its calls to the disk, from journal to tables and at a start (strace; POINTS=1000, 10 min)
	$(BIN)/python -m tests.crash.points --kills $(POINTS)

MINUTES ?= 2
soak: $(STAMP) ## real peers and grapes: kill -9, SIGSTOP, restarts, network cuts, an audit (MINUTES=2)
	$(BIN)/python -m tests.soak --minutes $(MINUTES)

FAILOVERS ?= 500
soak-standby: $(STAMP) ## two daemons on a database with a standby, all that may go wrong, an audit (FAILOVERS=500, 1 h; JSON=file)
	$(BIN)/python -m tests.failovers --failovers $(FAILOVERS) $(JSON_TO)

# JSON=file: the figures as JSON too.
JSON_TO = $(if $(JSON),--json $(JSON))

bench-network: $(STAMP) ## fills, replication and joining among real peers on loopback
	$(BIN)/python -m benchmarks.exchange.real_peers $(JSON_TO) --write docs/benchmarks/exchange-network.rst

sim-dht: $(STAMP) ## rings of up to 2000 DHT nodes on a virtual clock, loss and churn (3 min)
	$(BIN)/python -m benchmarks.dht.ring --svg docs/dht-scaling.svg

bench-grape: $(STAMP) ## every figure of a grape beside the Node grape's (needs npm; wrk if there is one)
	$(BIN)/python -m benchmarks.grape.side_by_side $(JSON_TO) --write docs/benchmarks/grape.rst

soak-ring: $(STAMP) ## a ring of Node's grapes and ours, members killed at random (SOAK_SECONDS=600)
	$(BIN)/python -m tests.interop.ring_soak --seconds $(SOAK_SECONDS)

bench-gossip: $(STAMP) ## the exchange network at scale, on a virtual clock: gossip, bandwidth, joining, memory (10 min)
	$(BIN)/python -m benchmarks.exchange.report --write docs/benchmarks/exchange-scale.rst --svg docs/exchange-scale.svg

bench-scale: $(STAMP) ## what an idle home, an order and a quiet second cost a peer among 10,000 homes (15 min)
	$(BIN)/python -m benchmarks.exchange.scale $(JSON_TO) --write docs/benchmarks/scale.rst --svg docs/scale.svg

dashboards: $(STAMP) ## the Grafana dashboards as pictures, from a real Prometheus and real daemons (2 min)
	$(BIN)/python -m benchmarks.dashboards --write docs

bench-fairness: $(STAMP) ## what view-fair is worth, beside strict price-time order over all homes (1 min)
	$(BIN)/python -m benchmarks.exchange.fairness

bench-krpc: $(STAMP) ## KRPC answers a second beside the Node grape (needs npm)
	$(BIN)/python -m benchmarks.dht.krpc

bench-rpc: $(STAMP) ## RPC requests a second beside the Node packages (needs npm), and asyncio beside Twisted
	$(BIN)/python -m benchmarks.rpc $(JSON_TO)
	$(BIN)/python -m benchmarks.rpc --aio $(JSON_TO)

bench-store: $(STAMP) ## commits of this disk, a start from 1,000,000 orders, and a daemon on SQLite and PostgreSQL (6 min, 3 GB)
	$(BIN)/python -m benchmarks.store --write docs/benchmarks/store.rst
	$(BIN)/python -m benchmarks.databases $(JSON_TO) --write docs/benchmarks/databases.rst

bench-market: $(STAMP) ## the market: engine beside other engines, orders through the socket
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[bench]'
	$(BIN)/python -m benchmarks.market.engine $(JSON_TO) --write docs/benchmarks/market-engine.rst
	$(BIN)/python -m benchmarks.market.client_port $(JSON_TO) --write docs/benchmarks/market-socket.rst

bench-growth: $(STAMP) ## an order's latency with 1,000 to 1,000,000 open orders, and 1 to 4,000 connections (10 min)
	$(BIN)/python -m benchmarks.market.growth $(JSON_TO) --svg docs/growth.svg --write docs/benchmarks/growth.rst

news: $(STAMP) ## the changelog entries that wait for a release
	$(BIN)/towncrier build --draft

changelog: $(STAMP) ## collect them into CHANGELOG.rst as this version's, and remove them
	$(BIN)/towncrier build --yes --version $$($(BIN)/python -c 'import grenache_py; print(grenache_py.__version__)')

release: $(STAMP) ## build, check and sign what a release has, into dist/VERSION (KEY=ssh-key or GPG_KEY=name, IMAGE=no)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[release]'
	@PYTHON=$(abspath $(BIN)/python) .ci/release

test-release: $(STAMP) ## make release in a clone, with a key of its own (SHORT=1: no image)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[release]'
	RELEASE=1 SHORT=$(SHORT) $(PYTEST) tests/release $(T)

clean: ## remove what the targets above made
	rm -rf $(VENV) build dist docs/_build *.egg-info _trial_temp*
