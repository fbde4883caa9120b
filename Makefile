.DEFAULT_GOAL := help
.PHONY: help setup demo serve test fuzz check soak bench bench-retrieval bench-followups bench-precision bench-latency bench-peers bench-ttft bench-lora bench-scheduler docs lock clean
PY := .venv/bin/python
export RAY_USAGE_STATS_ENABLED := 0

help:  ## Shows the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

setup:  ## Makes .venv with everything, tools included
	@scripts/install cpu --dev

demo: setup  ## Shows memories stored, found, explained, versioned, shared, and surviving a SIGKILL
	@$(PY) examples/demo.py $(if $(INPUT),--input $(INPUT))

serve: setup  ## Runs a cluster and its REST door on ./memos-data until Ctrl-C
	@.venv/bin/memos-ray up

test: setup  ## Runs all tests: WORKERS=2
	@$(PY) -m pytest -n $(or $(WORKERS),2) --dist loadfile --durations 30

fuzz: setup  ## Runs the tests that make up their examples with others than `test`: SEED=7
	@$(PY) -m pytest -n $(or $(WORKERS),2) --hypothesis-profile random $(if $(SEED),--hypothesis-seed $(SEED)) tests/property tests/contract tests/unit

check: setup  ## Lints, types, architecture
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy && .venv/bin/lint-imports

soak: setup  ## Kills parts of a cluster during writes, and looks for losses: KILLS=200 SEED=7
	@$(PY) -m tests.fault.soak $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED))

bench: setup  ## The light benchmarks: retrieval on the shipped conversation, latency at small sizes
	@$(PY) -m benchmarks

bench-retrieval: setup  ## Retrieval quality: DATA=FILE
	@$(PY) -m benchmarks.retrieval $(if $(DATA),--data $(DATA))

bench-followups: setup  ## Retrieval for questions that lean on the turns before them
	@$(PY) -m benchmarks.followups

bench-precision: setup  ## Whether only the right memory comes back: DATA=FOLDER of PrecisionMemBench
	@$(PY) -m benchmarks.precision --data $(DATA)

bench-latency: setup  ## Latency, rates and memory with made-up texts: ARGS="--sizes 600 6000"
	@$(PY) -m benchmarks.latency $(ARGS)

bench-peers: setup  ## The same work by mem0, MemoryOS, LangGraph and LanceDB: DATA=FILE
	@scripts/install-peers && $(PY) -m benchmarks.peers $(if $(DATA),--data $(DATA)) $(ARGS)

bench-ttft: setup  ## What a KV cache saves; renews docs/performance.md: CONTEXTS=512,1024,2048,4096,8192
	@$(PY) -m benchmarks.ttft $(if $(CONTEXTS),--contexts $(CONTEXTS)) $(ARGS)

bench-lora: setup  ## Facts taught to a model, and forgotten; adapters loaded and shared: FACTS=10,50,200
	@$(PY) -m benchmarks.lora $(if $(FACTS),--facts $(FACTS)) $(ARGS)

bench-scheduler: setup  ## Which KV caches are kept, against who knows the future: DATA=FILE
	@$(PY) -m benchmarks.scheduler $(if $(DATA),--data $(DATA)) $(ARGS)

docs: setup  ## Renews what follows from the code: tables in docs/, the synchronous SDK
	@$(PY) -m scripts.write_docs

lock: setup  ## Refreshes requirements/*.txt
	@scripts/lock

clean:  ## Removes the environment and caches
	@rm -rf .venv .env-peers .mypy_cache .ruff_cache .pytest_cache .hypothesis
