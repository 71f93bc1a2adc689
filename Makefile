# Two commands: `make demo` and `make test`. Each makes its own virtual environment in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n < 6 ? n : 6)))
TEST_WORKERS ?= $(shell echo $$(($(WORKERS) * 2)))  # tests wait for disks and processes half of the time

.PHONY: demo demo-all test test-slow bench bench-gpu check-install lint types docs docs-site clean help

help:  ## Show this help
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

demo: $(STAMP)  ## Compare agents, sleeping ones too, over two days (with SLEEPGYM_DATA=DIR: on real CLINC150)
	@if [ -n "$$SLEEPGYM_DATA" ]; then suite=clinc150; else suite=demo; fi; \
	$(BIN)/sleepgym suite $$suite --out runs/$$suite --workers $(WORKERS)

demo-all: $(STAMP)  ## Run every environment, on the files of SLEEPGYM_DATA or invented (again: go on where it stopped)
	$(BIN)/sleepgym run --env sleepgym/Jsonl-v0 --data docs/tasks/example --agent retrieval --out runs/jsonl
	$(BIN)/sleepgym suite tracks --agents frozen,retrieval --out runs/tracks --workers $(WORKERS)

test: $(STAMP)  ## Run the fast tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist worksteal

test-slow: $(STAMP)  ## Run the slow tests too
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist worksteal -m 'slow or not slow'

lint: $(STAMP)  ## Lint and check the format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)  ## Check the types of sleepgym/
	$(BIN)/pyright --pythonpath $(BIN)/python

check-install:  ## A plain install works: wheel, empty environment, tiny nights (LOWEST=1: lowest bounds)
	.ci/plain_install.sh $(PYTHON) $(if $(LOWEST),lowest,highest)

bench: $(STAMP)  ## Ratios, measured side by side in one run
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench,ray]'
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/environment.py
	$(BIN)/python benchmarks/textgen.py
	$(BIN)/python benchmarks/generating.py
	$(BIN)/python benchmarks/night.py
	$(BIN)/python benchmarks/answering.py
	$(BIN)/python benchmarks/verifying.py
	$(BIN)/python benchmarks/site.py
	$(BIN)/python benchmarks/launchers.py
	$(BIN)/python benchmarks/exam_floor.py
	$(BIN)/python benchmarks/horizon.py
	$(BIN)/python benchmarks/isolation.py --demo
	$(BIN)/python benchmarks/crash.py --instants 5

bench-gpu:  ## Decoding, training steps and nights of random models of real shapes on one GPU, with the Python that is there
	$(GPU) benchmarks/gpu_generation.py
	$(GPU) benchmarks/gpu_training.py
	$(GPU) benchmarks/gpu_night.py --shape 1b
	$(GPU) benchmarks/gpu_night.py --shape smollm2 --day cpt-200 --batch 2 --nights 1 --agents seeding,sleep,cartridge,context-distillation,naive-lora
	$(GPU) benchmarks/gpu_night.py --shape 8b --nights 1 --agents sleep,naive-lora,cartridge
	$(GPU) benchmarks/reading.py --model smollm2
bench-gpu: GPU = PYTHONPATH=.:agents:tasks:leaderboards PYTHONUNBUFFERED=1 $(PYTHON)

docs: $(STAMP)  ## Write the reference and the tables of agents from the classes, docs/results.md from the submissions
	$(BIN)/python docs/tools/reference.py
	$(BIN)/python docs/tools/agent_tables.py
	$(BIN)/python docs/tools/results.py

docs-site: $(STAMP)  ## Build the documentation's site into build/docs; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

clean:  ## Remove the virtual environment and what was built; runs are kept
	rm -rf $(VENV) dist build .pytest_cache .ruff_cache .hypothesis
