# `make` or `make help` lists the targets.

CARGO ?= cargo
# cargo-nextest is used where it is installed, and not needed.
NEXTEST := $(shell command -v cargo-nextest 2>/dev/null)

# The fault suites want the program with its feature, and nothing beside them.
FAULTS := $(CARGO) test --locked --no-fail-fast

.DEFAULT_GOAL := help
.PHONY: help tools test faults faults-short walk kills check bench bless demo

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

tools: ## install what building and testing need (Debian; nothing where it is present)
	@.ci/tools

test: tools ## run every test that CI runs
	$(CARGO) build --locked --examples
ifdef NEXTEST
	$(CARGO) nextest run --locked --lib --bins --tests --no-fail-fast
else
	$(CARGO) test --locked --lib --bins --tests --no-fail-fast
endif
	$(CARGO) test --locked --doc
	@.ci/faults

faults-short: tools ## try the promise under every fault, once each (five minutes; a part of `make test`)
	@.ci/faults

faults: tools ## search the large worlds of the model, try every fault for long, and write docs/faults.md (20 minutes)
	$(CARGO) test --locked --lib lease::tests::model::scopes::large -- --ignored
	rm -rf "$${CARGO_TARGET_DIR:-target}/faults-long"
	TEST_FAULTS=long $(FAULTS) --release --features faults --test pairs -- --test-threads=1
	TEST_FAULTS=long TEST_REPORT="$(CURDIR)/docs/faults.md" \
		$(FAULTS) --release --features faults --test faults -- --test-threads=1

kills: tools ## shoot the service and billing five hundred times during sagas and deliveries
	$(CARGO) build --locked --example billing
	MANDATE_KILLS=500 $(CARGO) test --locked --test integration -- --nocapture neither_death
	MANDATE_KILLS=500 $(CARGO) test --locked --test integration events::no_event -- --nocapture

walk: tools ## walk 100,000 commands at random (TEST_SEED repeats a walk)
	MANDATE_WALK=100000 $(CARGO) test --locked --release --test integration walk:: -- --nocapture

check: tools ## format, lints and documentation, warnings as errors
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny --locked check; else echo "cargo-deny is not installed: licences and sources were not checked"; fi

bench: tools ## measure; benches/README.md says what the numbers mean
	$(CARGO) bench --locked --bench figures

bless: ## rewrite the golden files; then read their diff
	BLESS=1 INSTA_UPDATE=always $(CARGO) test --locked --lib --bins --tests --no-fail-fast
	@git --no-pager diff --stat -- tests policies || true

demo: ## play the story of Maria's bakery against the real server
	$(CARGO) run --release --locked -- demo
