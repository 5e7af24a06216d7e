# `make` without a target lists the targets.

.DEFAULT_GOAL := help
SHELL := /bin/sh
LOCKS := requirements.txt requirements/dev.txt requirements/emulator.txt requirements/scan.txt
FUNCTIONS := ApiFunction QueueFunction WebhookFunction TokenRefreshFunction

# The environments use the first of these that works: the version of the functions' runtime, then newer, then older
# ones. A Python that pyenv has installed counts, whichever version its shims select at the moment.
PYENV_ROOT ?= $(HOME)/.pyenv
PYTHONS := $(PYTHON) python3.13 $(wildcard $(PYENV_ROOT)/versions/3.13.*/bin/python3.13) \
    python3.14 python3.15 python3.12 python3.11 python3 python

PY := .venv/bin/python
SAM := SAM_CLI_TELEMETRY=0 $(PY) -m samcli

# Nothing in the user's shell may redirect pip, Python or the AWS calls to the local stack.
unexport MAKEFLAGS MFLAGS MAKELEVEL PYTHONHOME PYTHONPATH PYTHONSTARTUP PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX \
    VIRTUAL_ENV PIP_TARGET PIP_PREFIX PIP_ROOT PIP_USER PIP_PYTHON PIP_REQUIRE_VIRTUALENV PIP_REQUIREMENT \
    PIP_CONSTRAINT PIP_BUILD_CONSTRAINT PIP_EDITABLE PIP_DRY_RUN PIP_NO_DEPS PIP_PRE PIP_NO_BINARY PIP_ONLY_BINARY \
    PIP_PLATFORM PIP_PYTHON_VERSION PIP_IMPLEMENTATION PIP_ABI PIP_REPORT PIP_QUIET PIP_VERBOSE PIP_LOG
# Only these targets use the operator's own AWS account (or AWS_ENDPOINT_URL).
OPERATE := outputs doctor orders dead-letters redrive credentials webhook-secret
ifeq ($(filter $(OPERATE) package,$(MAKECMDGOALS)),)
unexport AWS_PROFILE AWS_DEFAULT_PROFILE AWS_ENDPOINT_URL
endif

# The emulator and the simulator are on this machine: never call them through a proxy.
export NO_PROXY := $(NO_PROXY),127.0.0.1,localhost
export no_proxy := $(NO_PROXY)

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | awk -F ':.*## ' '{ gsub(/[$$][$$]/, "$$", $$2); printf "  make %-14s %s\n", $$1, $$2 }'

.PHONY: run
run: build .venv-emulator/.installed ## Deploy to a local AWS emulator, cancel orders there, show the results
	@$(PY) -m local.demo

.PHONY: start
start: startable build .venv-emulator/.installed ## Run the same stack, with a page, until Ctrl-C
	@exec $(PY) -m local.start

.PHONY: startable
startable: # what cannot start is refused before anything is built
	@$(find_python) && "$$python" -m local.settings

.PHONY: test
test: build .venv-emulator/.installed ## Run all tests
	@$(PY) -m pytest --numprocesses 4 --dist loadfile

.PHONY: unit
unit: .venv/.installed ## Run the tests that need neither a build nor a stack (seconds)
	@$(PY) -m pytest tests/unit

.PHONY: bench
bench: build .venv-emulator/.installed ## Measure against the targets (10 minutes), side by side with BASELINE=<commit>
	@$(PY) -m tools.bench $(if $(BASELINE),--baseline "$(BASELINE)")

STACK ?= clopos-cancel

# $(call flags,REFRESH ...) are the flags of those that are 1, and $(call options,ORDER ...) the options that have a value.
lower = $(shell printf %s "$(1)" | tr A-Z a-z)
flags = $(foreach name,$(1),$(if $(filter 1,$($(name))),--$(call lower,$(name))))
options = $(foreach name,$(1),$(if $($(name)),--$(call lower,$(name)) "$($(name))"))

.PHONY: $(OPERATE)
$(OPERATE): .venv/.installed

outputs: ## Print a stack's outputs for a shell: eval "$$(make outputs)" [LOCAL=1] [KEYS=1]
	@$(PY) -m tools.operate outputs "$(STACK)" $(call flags,LOCAL KEYS)

credentials: ## Store the Clopos credentials: asks for them, or reads JSON from standard input
	@$(PY) -m tools.operate credentials "$(STACK)"

webhook-secret: ## Print the secret that signs webhooks; ROTATE=1 makes a new one
	@$(PY) -m tools.operate webhook-secret "$(STACK)" $(call flags,ROTATE)

doctor: ## Check a stack, and say what is wrong and how to fix it: [STACK=...] [REFRESH=1] [ORDER=108]
	@$(PY) -m tools.operate doctor "$(STACK)" $(call flags,REFRESH) $(call options,ORDER)

orders: ## Count what happened to orders, by error and Clopos's words: [MINUTES=15]
	@$(PY) -m tools.operate orders "$(STACK)" $(call options,MINUTES)

dead-letters: ## List the dead letters: [CODE=...] [ORDER=...] [CSV=1] [BODIES=1]; with DELETE=1 [YES=1] delete them
	@$(PY) -m tools.operate dead-letters "$(STACK)" $(call options,CODE ORDER) $(call flags,CSV BODIES DELETE YES)

redrive: ## Send dead letters through the queue again: CODE=... or ORDER=...
	@$(PY) -m tools.operate dead-letters "$(STACK)" $(call options,CODE ORDER) --redrive

.PHONY: lint
lint: .venv/.installed ## Check style and the template
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check --quiet . || { echo "Run: .venv/bin/ruff format ." >&2; exit 1; }
	@$(SAM) validate --lint

.PHONY: types
types: .venv/.installed ## Check types
	@$(PY) -m mypy

# ruff's rules in `make lint` include those of bandit. .checkov.yaml gives the reason for each rule of checkov that does not
# apply. pip-audit needs its database: with AUDIT=required, it is an error if that cannot be reached.
.PHONY: scan
scan: .venv-scan/.installed ## Look for insecure settings and known vulnerabilities; AUDIT=required fails if it cannot
	@.venv-scan/bin/checkov --config-file .checkov.yaml --file template.yaml
	@mkdir -p .local; rm -f .local/pip-audit.md; \
	.venv-scan/bin/pip-audit $(LOCKS:%=--requirement %) --strict --disable-pip --progress-spinner off \
	    --format markdown --output .local/pip-audit.md 2>.local/pip-audit.log && { cat .local/pip-audit.log; exit 0; }; \
	if [ -s .local/pip-audit.md ]; then cat .local/pip-audit.md; exit 1; fi; \
	tail -n 1 .local/pip-audit.log; \
	echo "Nothing was audited for known vulnerabilities (.local/pip-audit.log says why)"; \
	[ "$(AUDIT)" != required ]

.PHONY: build
build: .venv/.installed ## sam build: the artifact that is deployed, here and on AWS
	@$(PY) -m tools.step --title "Building the functions (sam build)" --log .local/build.log \
	    --count "Running CustomMakeBuilder:MakeBuild" --total $(words $(FUNCTIONS)) --unit functions \
	    -- env $(SAM) build

# The second `sam package` uploads the packaged template itself, under a name that changes with its contents, and prints
# its address.
PACKAGED := .aws-sam/packaged.yaml
.PHONY: package
package: build ## Package the stack for other stacks to include: BUCKET=... [PREFIX=clopos-cancel]
	@[ -n "$(BUCKET)" ] || { echo "Name an S3 bucket for the code and the template: make package BUCKET=..." >&2; exit 1; }
	@package() { $(SAM) package --s3-bucket "$(BUCKET)" --s3-prefix "$(or $(PREFIX),clopos-cancel)" --no-progressbar "$$@"; }; \
	package --template-file .aws-sam/build/template.yaml --output-template-file $(PACKAGED) >.local/package.log 2>&1 \
	    && printf 'Resources: {Packaged: {Type: AWS::CloudFormation::Stack, Properties: {TemplateURL: packaged.yaml}}}' \
	        >.aws-sam/parent.yaml \
	    && package --template-file .aws-sam/parent.yaml --output-template-file .aws-sam/address.yaml >>.local/package.log 2>&1 \
	    || { cat .local/package.log >&2; exit 1; }
	@sed -n 's/.*TemplateURL: *//p' .aws-sam/address.yaml

# sam build calls these in the project's root, with the folder to fill in ARTIFACTS_DIR.
.PHONY: $(FUNCTIONS:%=build-%)
$(FUNCTIONS:%=build-%):
	@$(find_python) && "$$python" -I tools/build.py "$(ARTIFACTS_DIR)"

.PHONY: lock
lock: .venv/.installed ## Bring the locked dependencies up to date
	@for lock in dev:"pyproject.toml --group dev" \
	        :"pyproject.toml --constraint requirements/dev.txt" \
	        emulator:"--group emulator" \
	        scan:"--group scan"; do \
	    name=$${lock%%:*}; \
	    $(PY) -m uv pip compile $${lock#*:} --output-file "requirements$${name:+/$$name}.txt" --upgrade --quiet \
	        --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" || exit 1; \
	done

.PHONY: clean
clean: ## Delete everything that these targets have created
	rm -rf .venv .venv-emulator .venv-scan .aws-sam .local .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Environments. The stamp is written last, so that an environment is created again if it is incomplete, older than its
# lock file, or if its Python no longer exists.

# $(call usable,python) succeeds if that Python starts, is new enough, and can create an environment.
usable = "$(1)" -c 'import sys; assert sys.version_info >= (3, 11); import ensurepip, ssl, venv' 2>/dev/null
define find_python
python=; bare=; \
for candidate in $(PYTHONS); do \
    if $(call usable,$$candidate); then python=$$candidate; break; fi; \
    if "$$candidate" -c 'import sys; assert sys.version_info >= (3, 11)' 2>/dev/null; then bare=$$candidate; fi; \
done; \
if [ -z "$$python" ]; then \
    if [ -n "$$bare" ]; then \
        echo "$$bare cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv" >&2; \
    else \
        echo "No Python 3.11 or newer was found (looked for: $(strip $(PYTHONS)))." >&2; \
        echo "Install one, or name yours: make PYTHON=/path/to/python3" >&2; \
    fi; \
    exit 1; \
fi
endef

STALE := $(foreach env,.venv .venv-emulator .venv-scan,$(if $(shell $(env)/bin/python -c 'print("ok")' 2>/dev/null),,$(env)/.installed))
.PHONY: $(STALE)

.venv/.installed: requirements/dev.txt
.venv-emulator/.installed: requirements/emulator.txt
.venv-scan/.installed: requirements/scan.txt
.venv/.installed .venv-emulator/.installed .venv-scan/.installed:
	@$(find_python); \
	rm -rf $(@D) && "$$python" -m tools.step \
	    --title "Setting up $(@D) with $$("$$python" --version) (a minute the first time)" --log .local/$(patsubst .%,%,$(@D)).log \
	    --count "^(Collecting|Processing) " --total "$$(grep -c "==" $<)" --unit packages \
	    -- sh -c '"$$0" -m venv $(@D) && $(@D)/bin/python -m pip install --disable-pip-version-check \
	        --progress-bar off --no-compile --no-deps --require-hashes --requirement $<' "$$python" \
	    && touch $@
