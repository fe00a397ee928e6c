# Commands of the project. Each one sets up what it needs in .venv first.
# Another build of PyTorch: make test TORCH="torch --index-url ..."
PYTHON ?= python3
TORCH ?= torch
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test test-slow coverage check lint types format clean
.DEFAULT_GOAL := test

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt $(TORCH)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[offline,onnx,dev]"
	touch $@

demo: $(READY)  ## train on the demo set, evaluate, summarize a rendered video; about 5 minutes
	$(BIN)/hiersum train --overwrite True
	$(BIN)/python scripts/render_demo.py --output demo/videos
	$(BIN)/hiersum summarize demo/videos/demo_0_1040.mp4 --subtitles demo/videos/demo_0_1040.srt \
		--description demo/videos/demo_0_1040.txt --model demo/run --output demo/summaries --overwrite

test: $(READY)  ## unit tests, offline, under 3 minutes; one process a core, each with one thread
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

test-slow: $(READY)  ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

coverage: $(READY)  ## of the unit tests, branches included
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --cov

check: lint types  ## lint, format, types; .pre-commit-config.yaml names the same

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	rm -rf .typecheck && mkdir -p .typecheck/hiersum_hf  # modeling/ is mapped by setuptools, which mypy cannot follow
	ln -s $(CURDIR)/hiersum_hf/* $(CURDIR)/modeling .typecheck/hiersum_hf/
	MYPYPATH=.typecheck $(BIN)/mypy --package hiersum_hf

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv demo build dist .typecheck *.egg-info
