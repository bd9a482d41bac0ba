# The checks of CI, and tools for development. `make` lists the targets.

.DEFAULT_GOAL := help
.PHONY: help test interop attacks tools docs tutorial fmt run compose-test idle-memory bench bench-log bench-messages bench-failover chaos simulate defects log-split cases fuzz audit oldest-rust units

help: ## Print this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

test: tools ## Everything that CI runs
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- -D warnings
	@# As users build it: the workspace as a whole has features of dependencies that it does not ask for.
	cargo check --quiet --package client
	RUSTDOCFLAGS='-D warnings' cargo doc --quiet --workspace --no-deps --document-private-items
	cargo test --workspace

interop: tools ## Run Shaddock behind nginx and HAProxy, and with native clients
	@scripts/fetch-pypomelo
	@scripts/fetch-pyjwt
	@scripts/fetch-proxies
	cargo test --package system-tests --test interop
	cargo test --package api --test examples

attacks: tools ## Attack servers beside users who keep talking, with the defences and without; ROWS='AC1 AW3' picks some
	@scripts/attacks $(ROWS)

tools: ## Fetch the tools of the tests into target/; works offline once they are there
	@command -v cargo >/dev/null || { echo 'needs cargo: install Rust, at least as new as rust-version in Cargo.toml' >&2; exit 1; }
	@scripts/fetch-nats-server
	@scripts/fetch-original-client
	@scripts/fetch-typescript
	@scripts/fetch-chromium
	@scripts/fetch-promtool

docs: ## Build the book of docs/ into target/book; fails where a link leads nowhere
	@scripts/check-docs
	@scripts/fetch-mdbook
	@PATH="$$PWD/target/tools:$$PATH" mdbook build docs

tutorial: ## Run the commands of docs/tutorial on the servers' own ports, and compare what they print
	@scripts/fetch-nats-server
	cargo build --quiet --package cluster --package client
	@scripts/check-tutorial target/debug

fmt: ## Format the Rust code
	cargo fmt --all

run: ## Run every development server in one process, without a broker
	cargo run --release

compose-test: ## Build the image, start seven servers and NATS in containers, chat, add servers, kill one, remove it all
	@scripts/compose-test

idle-memory: ## Measure the memory of an idle session on a connector, over a websocket and TCP, with TLS and without; fails above 10 KiB, 40 with TLS
	@scripts/idle-memory

bench: tools ## Measure load beside Socket.IO and bare sockets, and write docs/bench; SCENES='fan-out storm' measures some and writes nothing
	@scripts/fetch-socket.io
	ulimit -n "$$(ulimit -H -n)" && cargo bench --package bench --bench load -- $(SCENES)

bench-log: tools ## Measure the log in JetStream; fails below 3,000 activations/s, or above 2 ms for 50 records
	cargo bench --package chat --bench log

sim := cargo test --quiet --profile simulate -p system-tests --test sim -- --exact simulate --nocapture

simulate: ## Run SEEDS (1000) seeds from FROM (0) on of every scenario, or SCENARIO=S; TRACE=1 prints each event
	@SHADDOCK_SIM_SEEDS=$(or $(SEEDS),1000) SHADDOCK_SIM_FROM=$(or $(FROM),0) SHADDOCK_SIM_SCENARIO='$(SCENARIO)' \
		SHADDOCK_SIM_TRACE=$(TRACE) $(sim)

defects: ## Break one rule of the protocol at a time (NAMES='a b'), and show which tests fail; SEEDS=5000 where 140 find nothing
	@SEEDS=$(SEEDS) scripts/defects $(NAMES)

chaos: minutes := $(or $(MINUTES),30)
chaos: simulated := $(shell expr \( $(minutes) + 4 \) / 5)
chaos: tools ## Break things for MINUTES (30), a fifth of them simulated; prints recovery times and losses
	SHADDOCK_SIM_MINUTES=$(simulated) $(sim)
	SHADDOCK_CHAOS_MINUTES=$(shell expr $(minutes) - $(simulated)) cargo test --release -p system-tests --test chaos promises -- --nocapture

log-split: tools ## Split the log of one NATS server and of three while ROOMS (200) rooms talk, the command dying after each step
	SHADDOCK_SPLIT_ROOMS=$(or $(ROOMS),200) cargo test --release -p system-tests --test e2e log_split -- --nocapture

cases: tools ## Try inputs that once failed on the release build, all or CASES='A2 B'; prints a line for each
	@scripts/try-cases $(CASES)

bench-messages: tools ## Measure the CPU time per message with the log in memory, in JetStream, and signed; has no limits
	cargo bench --package bench --bench messages

bench-failover: tools ## Measure failover and re-sharding; SCENES='death names' picks some; fails where a promise is broken
	cargo bench --package bench --bench failover -- $(SCENES)

fuzz: ## Run the fuzz targets, SECONDS (60) for each of TARGETS='package message'; needs nightly and cargo-fuzz
	@SECONDS_EACH=$(or $(SECONDS),60) scripts/fuzz $(TARGETS)

audit: ## Check duplicates, licences and sources of dependencies; ADVISORIES=1 also vulnerabilities; needs cargo-deny
	@ADVISORIES=$(ADVISORIES) scripts/audit

oldest := $(shell sed -n 's/^rust-version = "\(.*\)"$$/\1/p' Cargo.toml)

oldest-rust: ## Check that all code builds with the Rust version that Cargo.toml declares; rustup fetches it
	rustup toolchain install $(oldest) --profile minimal
	cargo +$(oldest) check --quiet --locked --workspace --all-targets

units: ## Verify the systemd units of examples/, and run servers as they say; needs systemd-analyze
	@scripts/fetch-nats-server
	@scripts/check-units
