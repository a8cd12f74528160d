# The two commands: `make run` and `make test`. Each sets up all that it needs.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PY := .venv/bin/python
.PHONY: help run stop test check fmt bench test-vm clean-root docs setup screenshots

help:           ## What there is
	@grep -hE '^[a-z-]+: .*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  make \1\t/' | expand -t 20

setup:          ## Install what is missing: Debian packages, the virtual environment
	@scripts/setup run

run: setup      ## Start server and Hub, and run the first two containers
	@scripts/run

stop:           ## End the server and the Hub that `make run` started (containers go on)
	@scripts/run --stop

test:           ## Every test
	@scripts/setup test
	@scripts/test

check:          ## ruff, mypy --strict, the house's own tests
	@scripts/setup test
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(PY) -m pytest tests/house

fmt:            ## Sort imports and mend what ruff can mend
	@$(PY) -m ruff check --fix .

bench:          ## Every figure, the peers beside them where they are installed
	@scripts/setup run
	@$(PY) bench/run.py
	@$(PY) bench/oci.py

test-vm:        ## Kernel tests in virtual machines: cgroup v2, systemd, NFS, SELinux, …
	@scripts/setup vm
	@tests/vm/run

screenshots:    ## Pictures of every page of the Hub, in both colour schemes, into ./screenshots
	@scripts/setup test
	@KIST_SCREENSHOTS=screenshots $(PY) -m pytest -n 0 tests/system/test_hub_gallery.py

docs:           ## Write the generated pages anew
	@$(PY) scripts/compatibility.py

clean-root:     ## Both commands in a fresh Debian root (needs mmdebstrap; takes some minutes)
	@scripts/clean-root
