# The two commands of a fresh clone are `make demo` and `make test`.

PYTHON ?= $(shell command -v python3.11 || echo python3)
DEMO_RUN = runs/demo
BIN = .venv/bin
# On all cores, which pip does on one.
COMPILE = $(BIN)/python -m compileall -q -j 0 .venv/lib

# What runs networks in a browser; `savedmodels.web` says when it is another version.
LITERT = .venv/node_modules/@litertjs
PORT ?= 8000

.PHONY: demo web test test-large lint benchmark

demo: .venv/installed
	rm -rf $(DEMO_RUN)
	$(BIN)/python -m trainers.profile --preset msdnet_cifar_lingrow4 --num_classes 10 \
		--image_size 24 --channels 1 --latency_runs 20
	$(MAKE) --no-print-directory $(DEMO_RUN)/report/budgeted.csv
	$(BIN)/python -m benchmarks.early_exit --run_dir $(DEMO_RUN) \
		--batch_sizes 256 --budgets 0.3,0.6 --repeats 5
	$(BIN)/python -m savedmodels.export --run_dir $(DEMO_RUN) --output $(DEMO_RUN)/served
	$(BIN)/python -m savedmodels.convert_tflite --run_dir $(DEMO_RUN) --output $(DEMO_RUN)/tflite \
		--single_file
	$(BIN)/python -m trainers.write_pictures --run_dir $(DEMO_RUN) --output $(DEMO_RUN)/pictures
	$(BIN)/python -m savedmodels.predict --model_dir $(DEMO_RUN)/served $(DEMO_RUN)/pictures
	$(BIN)/python -m savedmodels.predict --model_dir $(DEMO_RUN)/tflite $(DEMO_RUN)/pictures
	@echo "Figures: $(DEMO_RUN)/report/*.png"

web: $(DEMO_RUN)/report/budgeted.csv $(LITERT)
	$(BIN)/python -m savedmodels.convert_tflite --run_dir $(DEMO_RUN) --output $(DEMO_RUN)/stages
	$(BIN)/python -m trainers.write_pictures --run_dir $(DEMO_RUN) --output $(DEMO_RUN)/pictures
	$(BIN)/python -m savedmodels.web --tflite_dir $(DEMO_RUN)/stages --litert_dir $(LITERT) \
		--pictures $(DEMO_RUN)/pictures --output $(DEMO_RUN)/site
	@echo "Open http://127.0.0.1:$(PORT)/ in a browser; Ctrl-C ends it."
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory $(DEMO_RUN)/site $(PORT)

test: lint
	$(BIN)/pytest --numprocesses auto --dist worksteal

test-large: .venv/installed-dev
	$(BIN)/pytest -m large

lint: .venv/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

benchmark: $(DEMO_RUN)/report/budgeted.csv
	$(BIN)/python -m benchmarks.early_exit --run_dir $(DEMO_RUN)
	$(BIN)/python -m benchmarks.training

$(DEMO_RUN)/report/budgeted.csv: | .venv/installed
	rm -rf $(DEMO_RUN)
	$(BIN)/python -m trainers.train_multi_exit --dataset digits --preset msdnet_cifar_lingrow4 \
		--epochs 10 --batch_size 32 --schedule cosine --run_dir $(DEMO_RUN)

$(LITERT): | .venv/pyvenv.cfg
	@command -v npm >/dev/null || { echo "error: npm is needed, which comes with Node.js." >&2; exit 2; }
	npm install --no-save --no-audit --no-fund --fetch-retries 1 --prefix .venv @litertjs/core@2.5.3

.venv/installed: requirements.txt pyproject.toml | .venv/pyvenv.cfg
	$(BIN)/pip install --quiet --no-compile --requirement requirements.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	$(COMPILE)
	touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	$(BIN)/pip install --quiet --no-compile --requirement requirements-dev.txt
	$(COMPILE)
	touch $@

.venv/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: Python 3.11 or newer is needed. Received: $$($(PYTHON) --version 2>&1);" \
			"name another one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv .venv
