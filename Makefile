# Two commands on a fresh machine: `make demo` and `make test`. Both set everything up; nothing but Python 3.11 to 3.13, git and make is needed.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13,$(shell command -v $(name))))
VENV := .venv
BIN := $(VENV)/bin
DEEPCT := $(CURDIR)/$(BIN)/deepct
DEMO := demo
TEACHER := runs/demo-teacher/version_0/checkpoints/last.ckpt
STUDENT := runs/demo-student/version_0/checkpoints/last.ckpt

.PHONY: setup demo test lint bench audit lock clean

# --no-deps: the lock is whole, and leaves out opencv-python, which would lie over opencv-python-headless (see pyproject.toml).
setup: $(VENV)/.done

$(VENV)/.done: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# Teach, distil, test both, recolour a folder: the whole main job, tiny, on the embedded photos; then recolour it with the
# weights that ship.
demo: setup
	rm -rf $(DEMO) && mkdir -p $(DEMO)/references
	cd $(DEMO) && $(DEEPCT) fit --config configs/demo/teacher.yaml --data.root samples
	cd $(DEMO) && $(DEEPCT) fit --config configs/demo/student.yaml --data.root samples --model.teacher $(TEACHER)
	cd $(DEMO) && $(DEEPCT) test --config configs/demo/teacher.yaml --data.root samples --ckpt_path $(TEACHER)
	cd $(DEMO) && $(DEEPCT) test --config configs/demo/student.yaml --data.root samples --ckpt_path $(STUDENT)
	cp $(DEMO)/samples/raw/rocket.jpg $(DEMO)/samples/raw/ihc.jpg $(DEMO)/references
	cd $(DEMO) && $(DEEPCT) predict --ckpt_path $(STUDENT) \
		--data.source samples/raw --data.reference references --output tiny --writer.sheet true
	cd $(DEMO) && $(DEEPCT) predict \
		--data.source samples/raw --data.reference references --output recoloured --writer.sheet true
	@for name in teacher student; do awk -F, -v name=$$name '\
		NR == 1 { for (i = 1; i <= NF; i++) if ($$i == "train/image_loss") column = i; next } \
		$$column != "" { value[++n] = $$column } \
		END { for (i = 1; i <= 10; i++) { first += value[i] / 10; last += value[n - 10 + i] / 10 } \
			printf "%s: training image loss %.4f at first, %.4f at last\n", name, first, last }' \
		$(DEMO)/runs/demo-$$name/version_0/metrics.csv; done
	@echo "look at the contact sheets: $(CURDIR)/$(DEMO)/tiny/sheet-001.png, by the student just taught, and"
	@echo "$(CURDIR)/$(DEMO)/recoloured/sheet-001.png, by the one that ships"

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# deepct beside the method as it is written and beside color-matcher; some 40 minutes on two quiet cores.
# The any-size path's quality too: make bench ARGS="--checkpoint CKPT --photos DIR"
bench: setup
	PYTHONPATH=$(CURDIR)/tests $(BIN)/python -m benchmarks $(ARGS)

# The locked versions, held against the known vulnerabilities; asks PyPI, so it is no part of make test.
audit: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/pip-audit --requirement requirements.lock --no-deps --disable-pip

# The versions that make setup installs, for every platform and without naming a package index.
lock:
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --all-extras --no-header --no-emit-index-url \
		--quiet --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) $(DEMO)
