.DEFAULT_GOAL := help
.PHONY: help setup demo serve test check soak bench bench-retrieval bench-latency bench-peers lock clean
PY := .venv/bin/python
export RAY_USAGE_STATS_ENABLED := 0

help:  ## Shows the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

setup:  ## Makes .venv with everything, tools included
	@scripts/install cpu --dev

demo: setup  ## Shows memories stored, found, explained, versioned, shared, and surviving a SIGKILL
	@$(PY) examples/demo.py $(if $(INPUT),--input $(INPUT))

serve: setup  ## Runs a cluster with REST on this machine, in the foreground
	@$(PY) -m memos_ray.cli up --foreground

test: setup  ## Runs all tests
	@$(PY) -m pytest

check: setup  ## Lints, types, architecture
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy && .venv/bin/lint-imports

soak: setup  ## Kills parts at random for as long as it takes 200 kills
	@$(PY) -m tests.fault.soak --kills 200

bench: bench-retrieval bench-latency  ## Runs the benchmarks that need no other software

bench-retrieval: setup  ## Retrieval quality: DATA=FILE
	@$(PY) -m benchmarks.retrieval $(if $(DATA),--data $(DATA))

bench-latency: setup  ## Add and search latency at several sizes: SIZES=6000,100000
	@$(PY) -m benchmarks.latency $(if $(SIZES),--sizes $(SIZES))

bench-peers: setup  ## The same work by other memory systems
	@$(PY) -m benchmarks.peers

lock: setup  ## Refreshes requirements/*.txt
	@scripts/lock

clean:  ## Removes the environment and caches
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
