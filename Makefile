# Two commands to know: `make dev` (everything running on loopback) and `make test`.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
# What the image has, for every platform and Python that it could have.
LOCK := --no-header --no-annotate --universal --python-version 3.11 --generate-hashes --extra otel --extra schema --extra store

# Processes start as installed ones do: with their modules compiled.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install dev test check schemas openapi docs dist pictures site bench peer chaos soak fuzz flood audit sbom constraints clean
help:  ## what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.venv/.runtime: pyproject.toml constraints.txt
	@test -x $(BIN)/python || { echo "Creating .venv …"; $(PYTHON) -m venv .venv; }
	@echo "Installing into .venv …"
	@$(PIP) pip
	@$(PIP) --editable '.[dev]'
	@touch $@

.venv/.tests: .venv/.runtime
	@echo "Installing what the tests need …"
	@$(PIP) --editable '.[dev,otel,registry,schema,store]' --group test --group lint
	@touch $@

install: .venv/.runtime  ## .venv with the connector

dev: .venv/.runtime  ## Kafka, Twilio simulator and connector on loopback, with demo traffic
	@exec $(BIN)/twilio-kafka dev $(ARGS)

# Four at a time keep a small machine so busy that a wait of a minute may end too early. Whether that was all, a test
# tells that is run alone; one that fails there, too, is red.
test: .venv/.tests  ## every test; what fails beside others is run once more alone
	@$(BIN)/python -m pytest $(ARGS) || { test $$? = 1 && echo "What failed, once more and alone:" && \
	  $(BIN)/python -m pytest $(ARGS) --last-failed -n0; }

check: .venv/.tests  ## lint, types, layers, generated files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/twilio-kafka schemas export --check

schemas: .venv/.runtime  ## generate schemas/ from the models
	@$(BIN)/twilio-kafka schemas export

openapi: .venv/.tests  ## what call-api knows, from Twilio's documents; DIR=…/spec/json ORIGIN="repository commit, day"
	@$(BIN)/python -m tests.contract.compact "$(DIR)" "$(ORIGIN)"

docs: .venv/.tests  ## generate the tables in the documents and in the chart
	@$(BIN)/python -m tests.documents.generate
	@$(BIN)/python -m tests.chart.generate

dist: .venv/.tests  ## wheel and source distribution in dist/, and a run of the wheel in an empty environment
	@$(BIN)/python -m tests.distribution dist

pictures: .venv/.tests  ## the README's pictures, in docs/pictures, from the console's tests
	@$(BIN)/python -m pytest -n0 tests/console -k "drawn or opens and (overview or command)"
	@mkdir -p docs/pictures
	@cp tests/out/tail.svg tests/out/overview-light.png tests/out/overview-dark.png tests/out/command-light.png \
	  tests/out/command-dark.png docs/pictures/

site: .venv/.site  ## the documents as a searchable site in site/
	@$(BIN)/mkdocs build --strict --quiet --site-dir site

.venv/.site: .venv/.runtime
	@$(PIP) --group docs
	@touch $@

bench: .venv/.tests  ## measure the three paths
	@$(BIN)/python -m bench $(ARGS)

BENTO := bench/out/bento

peer:  ## build the peer that the bench compares with, from its public Go module; needs go
	@mkdir -p $(BENTO) && cp bench/peers/bento/main.go $(BENTO)/
	@cd $(BENTO) && { test -f go.mod || go mod init bento 2>/dev/null; } && go get github.com/warpstreamlabs/bento@v1.20.0 && go mod tidy && go build -buildvcs=false -o bento .

chaos: .venv/.tests  ## minutes of kills, freezes and lost answers
	@$(BIN)/python -m tests.guarantees.chaos $(ARGS)

soak: .venv/.tests  ## ten minutes of odd records and odd answers beside innocent ones; ARGS="30" for half a minute
	@$(BIN)/python -m tests.guarantees.soak $(ARGS)

fuzz: .venv/.tests  ## parsers and HTTP interfaces with many more inputs
	@FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-20000} $(BIN)/python -m pytest -n0 tests/test_fuzz.py $(ARGS)
	@PORT_EXAMPLES=$${PORT_EXAMPLES:-100000} DIFFERENTIAL_EXAMPLES=$${DIFFERENTIAL_EXAMPLES:-100000} $(BIN)/python -m pytest -n0 -s tests/test_port_fuzz.py tests/test_signature_differential.py $(ARGS)
	@EXAMPLES=$${EXAMPLES:-10} $(BIN)/python -m pytest -n0 --timeout 3600 tests/test_cursor.py tests/test_signature.py tests/test_catalog.py tests/test_schemas.py tests/chart/test_combinations.py $(ARGS)
	@FUZZ_EXAMPLES=$${HTTP_EXAMPLES:-100} $(BIN)/python -m pytest -n0 -s --timeout 3600 tests/test_http_interfaces.py $(ARGS)

flood: .venv/.tests  ## a minute under each kind of attack on the callback port
	@$(BIN)/python -m tests.floods $(ARGS)

audit: .venv/.runtime  ## known vulnerabilities of the pinned dependencies; needs the advisories of PyPI, or ARGS="-s osv"
	@$(PIP) --group audit
	@$(BIN)/python -m pip_audit --strict --no-deps --disable-pip -r constraints.txt $(ARGS)

sbom: .venv/.runtime  ## sbom.cdx.json: what is in the image, with hashes (CycloneDX)
	@$(PIP) --group audit
	@$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --output-file sbom.cdx.json requirements.txt

constraints: .venv/.tests  ## write constraints.txt from what is installed, requirements.txt with hashes from it
	@$(PIP) --group docs --group audit --group lock
	@{ sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --exclude-editable --all | grep -vE '^(setuptools|wheel)=='; } > constraints.txt.new && mv constraints.txt.new constraints.txt
	@{ sed -n '/^#/p' requirements.txt; $(BIN)/uv pip compile --quiet $(LOCK) --constraint constraints.txt pyproject.toml; } > requirements.txt.new && mv requirements.txt.new requirements.txt

clean:  ## remove .venv and caches
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
