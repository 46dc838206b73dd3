# Prerequisites: Python 3.11 and make. Everything else is installed into this folder, at the versions of uv.lock.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3.11
UV_VERSION := 0.13.9
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
RUN := $(UV) run --no-sync
INSTALLED := .venv/.installed
DEMO := examples/mini/distillation.yaml

# Of `make kind`. The trainer's image takes gigabytes on each node that runs stages.
KIND := branchmerge
KIND_KUBECTL := kubectl --context kind-$(KIND)
KIND_WORKSPACE := $(abspath .kind/workspace)
OPERATOR_IMAGE := localhost/branchmerge/operator:dev
TRAINER_IMAGE := localhost/branchmerge/trainer:dev
TRAINING_OPERATOR := github.com/kubeflow/training-operator.git/manifests/overlays/standalone?ref=v1.9.3
GPUS := {"nvidia.com/gpu": "8"}

# Compiled extensions of torch and DeepSpeed are kept between runs.
export TORCH_EXTENSIONS_DIR ?= $(abspath .cache/torch-extensions)

.PHONY: help
help: ## Show what can be typed here
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1mmake %-13s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: install
install: $(INSTALLED) ## Install everything at the versions of uv.lock

.uv/bin/uv:
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(INSTALLED): uv.lock pyproject.toml | $(UV)
	@echo "Installing (about 5 GB, most of it torch; a minute or a few, once)"
	$(UV) sync --locked --all-extras
	@touch $@

.PHONY: demo
demo: $(INSTALLED) ## Run the mini DistillationJob on this machine, from nothing to a report
	@$(RUN) python examples/mini/make.py
	@$(RUN) branchmerge run $(DEMO)

.PHONY: test
test: $(INSTALLED) ## Run every test that needs no GPU and no cluster of yours (the first time builds a Kubernetes)
	@PYTHONPATH=tests $(RUN) python -m suite $(PYTEST_ARGS)

.PHONY: test-cluster
test-cluster: $(INSTALLED) ## Run every test on a real Kubernetes that is brought up here (Linux, root; half an hour)
	@PYTHONPATH=tests $(RUN) python -m suite --cluster $(PYTEST_ARGS)

.PHONY: cluster
cluster: $(INSTALLED) ## Bring up a real three-node Kubernetes here, with the operator (Linux, root; no Docker)
	@PYTHONPATH=tests $(RUN) python -m deployment up

.PHONY: cluster-down
cluster-down: $(INSTALLED) ## End that cluster and leave nothing of it
	@PYTHONPATH=tests $(RUN) python -m deployment down

.PHONY: kind
kind: ## Bring up the operator in kind, with the mini job's data (needs docker, git, helm, kind, kubectl)
	@for tool in docker git helm kind kubectl; do \
	  command -v "$$tool" >/dev/null || { echo "$$tool: not found in PATH: install it"; exit 1; }; \
	done
	docker build --file operator/Dockerfile --tag $(OPERATOR_IMAGE) .
	docker build --file trainer-image/Dockerfile --tag $(TRAINER_IMAGE) .
	@mkdir -p $(KIND_WORKSPACE) && chmod 777 $(KIND_WORKSPACE)
	docker run --rm --volume $(abspath examples/mini):/mini:ro --volume $(KIND_WORKSPACE):/workspace --env HOME=/tmp \
	  --entrypoint python $(TRAINER_IMAGE) /mini/make.py /workspace/mini/build
	@kind get clusters --quiet | grep --quiet --line-regexp $(KIND) || kind create cluster --config kind-config.yaml
	kind load docker-image --name $(KIND) --nodes $(KIND)-worker,$(KIND)-worker2,$(KIND)-worker3 \
	  $(OPERATOR_IMAGE) $(TRAINER_IMAGE)
	@$(KIND_KUBECTL) get nodes --selector 'branchmerge.dev/pool in (gpu-a, gpu-b)' --output name | \
	  xargs -I{} $(KIND_KUBECTL) patch {} --subresource status --type merge \
	  --patch '{"status": {"capacity": $(GPUS), "allocatable": $(GPUS)}}'
	$(KIND_KUBECTL) apply --server-side --force-conflicts --kustomize '$(TRAINING_OPERATOR)'
	$(KIND_KUBECTL) --namespace kubeflow rollout status deployment/training-operator --timeout 10m
	$(KIND_KUBECTL) apply --server-side --filename charts/branchmerge/ci/kind-workspace.yaml --filename crds
	helm --kube-context kind-$(KIND) upgrade --install branchmerge charts/branchmerge --skip-crds --wait --timeout 5m \
	  --namespace branchmerge-system --create-namespace --values charts/branchmerge/ci/local-values.yaml \
	  --set-string "podAnnotations.image=$$(docker image inspect --format '{{.Id}}' $(OPERATOR_IMAGE))"
	@printf '\n%s\n' "Run the mini job, and follow it:"
	@printf '  %s\n' "kubectl config use-context kind-$(KIND)" "kubectl apply -f $(DEMO)" "kubectl get distillationjobs -w"
	@printf '%s\n' "Its outputs are in .kind/workspace/mini. To end the cluster: kind delete cluster --name $(KIND)"

.PHONY: check
check: $(INSTALLED) lint types imports generated ## Lint, types, import contracts, generated files in sync

.PHONY: fmt
fmt: $(INSTALLED) ## Format the code
	$(RUN) ruff check --fix --quiet .
	$(RUN) ruff format .

.PHONY: lint
lint: $(INSTALLED) ## Lint, and check the format
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) hadolint operator/Dockerfile trainer-image/Dockerfile

.PHONY: types
types: $(INSTALLED) ## Check the types
	$(RUN) mypy

.PHONY: imports
imports: $(INSTALLED) ## Check who may import whom
	$(RUN) lint-imports

.PHONY: generated
generated: $(INSTALLED)
	$(RUN) python -m branchmerge.cli.crd --check
	$(RUN) python -m branchmerge.cli.apidocs --check
	$(UV) lock --check --quiet

.PHONY: crds
crds: $(INSTALLED) ## Generate crds/ from the models
	$(RUN) python -m branchmerge.cli.crd

.PHONY: docs
docs: $(INSTALLED) ## Generate the API reference from the models
	$(RUN) python -m branchmerge.cli.apidocs

.PHONY: golden
golden: $(INSTALLED) ## Write the golden files of the tests anew (read the diff)
	GOLDEN=write $(RUN) pytest tests/golden

.PHONY: clean
clean: ## Remove what the commands here made, except runs/
	rm -rf .venv .uv .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache examples/mini/build
