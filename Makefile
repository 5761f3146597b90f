# `make train` and `make test` are all a fresh checkout needs: each sets up .venv first (see
# tools/bootstrap.sh) and does nothing of the kind when that is done already.
PYTHON ?= python3
QUICKSTART ?= configs/quickstart/lrn_vgg11bn-w16_1xb4-800_scenes-128x128.py
WORK_DIR ?= work_dirs/quickstart
# iterations of `make train`; empty: what the config says
ITERS ?=
# more arguments for pytest, as in `make test ARGS='-k scenes'`
ARGS ?=

RUN := .venv/bin/python
RESULTS := mmseg_ext/benchmarks/results

.PHONY: train test test-triton lint benchmark cuda clean setup

train: setup
	@$(RUN) tools/train.py $(QUICKSTART) --work-dir $(WORK_DIR) \
	    $(if $(ITERS),--cfg-options train_cfg.max_iters=$(ITERS) train_cfg.val_interval=$(ITERS))
	@$(RUN) tools/test.py $(QUICKSTART) "$$(cat $(WORK_DIR)/last_checkpoint)" \
	    --work-dir $(WORK_DIR) --show-dir $(WORK_DIR)
	@echo "checkpoint: $$(cat $(WORK_DIR)/last_checkpoint)"
	@echo "picture:    $$(ls $(WORK_DIR)/vis_data/vis_image/*.png | head -n 1)" \
	    "(input, truth, s_1 to s_6; more beside it)"

# Files are the unit: what a file's tests share is made once. One thread each: with more, the threads
# of two processes wait for each other, and the suite takes nearly twice as long on two cores.
test: setup
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(RUN) -m pytest -q -n auto --maxprocesses 4 \
	    --dist loadfile $(ARGS)

# The CUDA kernels in Triton's interpreter, which needs no GPU. Triton goes beside .venv, not into it:
# it is none of the pinned packages.
test-triton: setup
	@[ -d .wheels/triton ] || $(RUN) -m pip install -q --no-deps --target .wheels/triton triton==3.9.0
	@TRITON_INTERPRET=1 PYTHONPATH=.wheels/triton $(RUN) -m pytest -q tests/ops/test_triton_*.py

lint: setup
	@$(RUN) -m ruff check .

# Time and memory of every plugin and op beside the baselines, one file per family; then the tables
# and figures, drawn from these files. A quarter of an hour on two cores that do nothing else.
benchmark: setup
	@$(RUN) tools/benchmark.py --out-dir $(RESULTS)
	@$(RUN) tools/benchmark_report.py >/dev/null
	@echo "tables and figures: $(RESULTS)/README.md"

# What only a GPU can show: build, test, train, benchmark (see tools/cuda.sh). `make cuda STEP=wheels`
# collects before, where there is internet, what a machine without it installs.
cuda:
	@PYTHON='$(PYTHON)' STEP='$(STEP)' HAVE='$(HAVE)' OUT='$(OUT)' DRY='$(DRY)' tools/cuda.sh

# build products and caches; .venv, .wheels and work_dirs stay
clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis

setup:
	@PYTHON='$(PYTHON)' tools/bootstrap.sh
