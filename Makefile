# The only list of commands. `make help` prints it. Everything that a target needs is set up by the target itself.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := all
.SUFFIXES:

# --- What can be set -------------------------------------------------------------------------------------------------
#
# They go to programs by the environment, so that no shell reads their values; tools/setup/preflight.sh checks them before
# anything is built. `make help` lists them.

# make run: what starts at VMPL2, and how. tests/guests/src/bin/workflow/arguments.rs has the defaults.
override GUEST := $(or $(GUEST),linux)
export GUEST LINUX LINUX_KERNEL LINUX_INITRD LINUX_APPEND OVMF KERNEL_FAULT
# OVMF has its shell on a terminal by itself.
INTERACTIVE ?= $(if $(CI)$(filter-out ovmf,$(GUEST)),,$(shell test -t 0 && echo 1))
export INTERACTIVE
# More options for `snp-emulator run`, such as RUN_FLAGS='--smp 4 --icount'.
RUN_FLAGS ?=
# make test: which suites; empty for all.
SUITES ?=
# How long one test stage may take where CI is set, and each fuzz target.
STAGE_SECONDS ?= 1800
FUZZ_SECONDS ?= 60
export SUITES STAGE_SECONDS FUZZ_SECONDS
# make test-fresh: Debian or Ubuntu's name of a release, and which cases; empty for all.
SUITE ?= trixie
CASES ?=
# Shows what compilers and apt say.
V ?=
export V

CARGO ?= cargo

# --- Where things are ------------------------------------------------------------------------------------------------

# Below this folder, and quoted: the path to it may have spaces.
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
ABSOLUTE_TARGET_DIR := $(if $(filter /%,$(firstword $(TARGET_DIR))),$(TARGET_DIR),$(CURDIR)/$(TARGET_DIR))
FIRMWARE_TARGET := x86_64-unknown-none
FIRMWARE_DIR := $(TARGET_DIR)/$(FIRMWARE_TARGET)/firmware
TOOLS_DIR := $(TARGET_DIR)/release
IMAGES_DIR := $(TARGET_DIR)/images
RESULTS_DIR := $(TARGET_DIR)/results
# The first program of a Linux guest is linked statically.
INIT_TARGET := x86_64-unknown-linux-gnu

# The bare-metal programs, and the bare-metal libraries that clippy and rustdoc cannot look at on the host.
FIRMWARE_PROGRAMS := kernel stage2 monitor guest_payload
FIRMWARE_PACKAGES := $(FIRMWARE_PROGRAMS) hardware

# The launcher carries the monitor inside it; cargo rebuilds the one when the other changes.
export SNP_MONITOR_ELF := $(ABSOLUTE_TARGET_DIR)/$(FIRMWARE_TARGET)/firmware/monitor

# Kernels with a deliberate fault are built apart from the one that ships.
KERNEL_FAULTS := skip_zeroing skip_flush skip_ledger_check
FAULT_DIR := $(TARGET_DIR)/fault
# So is the one without a TPM, which the figures of the rest are taken from.
LEAN_DIR := $(TARGET_DIR)/lean

IGVM_IMAGE := "$(TOOLS_DIR)/igvm-image"
RESULTS := "$(TOOLS_DIR)/results" --folder "$(RESULTS_DIR)"

# Where nobody watches, a Cargo.lock that does not match is an error and not a change.
LOCKED := $(if $(CI),--locked)
STEP := tools/setup/step.sh

# --- How things are built --------------------------------------------------------------------------------------------

# Paths of this machine must not reach the measured bytes: they are part of panic messages. `--config` adds to the flags
# of .cargo/config.toml, which RUSTFLAGS would replace.
CARGO_HOME_DIR := $(or $(CARGO_HOME),$(HOME)/.cargo)
REMAP := --config 'target.$(FIRMWARE_TARGET).rustflags=["--remap-path-prefix=$(CARGO_HOME_DIR)=/cargo","--remap-path-prefix=$(CURDIR)=/vouchsafe"]'
FIRMWARE_CARGO := env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS $(CARGO)
FIRMWARE_FLAGS := $(LOCKED) --target $(FIRMWARE_TARGET) $(REMAP)

# $(call build_firmware,PROGRAM): one at a time, so that none gets features that only another asked for.
build_firmware = $(FIRMWARE_CARGO) build --profile firmware $(FIRMWARE_FLAGS) -p $(1)

# $(call build_image,GUEST OPTIONS,NAME,KERNEL)
build_image = mkdir -p "$(IMAGES_DIR)"; $(IGVM_IMAGE) build --vcpus 1 --stage2 "$(FIRMWARE_DIR)/stage2" --kernel "$(or $(3),$(FIRMWARE_DIR)/kernel)" $(1) --output "$(IMAGES_DIR)/$(2).igvm"

GUEST_payload := --guest-elf "$(FIRMWARE_DIR)/guest_payload"

# --- For people ------------------------------------------------------------------------------------------------------

.PHONY: all
all: tools images ## Build everything; images are in target/images

# What `make run` is made of; later servers and pages are packages of their own.
RUN_PACKAGES := igvm@0.1.0 snp_emulator svsm_verify guests

.PHONY: run
run: ## Verify a guest's vTPM from outside, or boot GUEST=linux|ovmf|payload
	@tools/setup/preflight.sh run
	@$(STEP) 1/4 'the emulated machine' $(MAKE) monitor
	@$(STEP) 2/4 'the firmware' $(MAKE) stage2 $(if $(KERNEL_FAULT),kernel-$(KERNEL_FAULT),kernel) $(if $(filter payload,$(GUEST)),guest_payload)
	@$(STEP) 3/4 'tools and the first program of a guest' $(MAKE) run-tools
	@printf '[4/4] %s\n' 'the run' >&2
	@"$(TOOLS_DIR)/workflow" $(if $(RUN_FLAGS),-- $(RUN_FLAGS))

# A stage for each suite that tests/conformance has: a folder with a program `run`.
CONFORMANCE := $(patsubst tests/conformance/%/run,%,$(wildcard tests/conformance/*/run))

# Where somebody watches, Ctrl-C does what `timeout` does, and would not get through it.
LIMIT := $(if $(CI),timeout --kill-after=10 $(STAGE_SECONDS))
# $(call stage,KIND,NAME,TARGET): a stage that fails does not end the run: its file says so, and the sum counts it.
stage = -@$(RESULTS) $(1) $(2) --number $(words $(filter-out $(call after,$(2)),$(STAGES)))/$(words $(STAGES)) -- $(LIMIT) $(MAKE) $(3)
ALL_STAGES := host emulated guests workflow $(CONFORMANCE)
STAGES := $(if $(SUITES),$(filter $(SUITES),$(ALL_STAGES)),$(ALL_STAGES))
# $(call after,STAGE): the stages that come later.
after = $(shell printf '%s\n' $(STAGES) | sed '0,/^$(1)$$/d')
define newline


endef

.PHONY: test
test: ## Run all tests, or SUITES='host guests ...'; the last line is the sum
	@tools/setup/preflight.sh test
	@$(MAKE) results
	$(if $(filter host,$(STAGES)),$(call stage,cargo,host,test-host))
	$(foreach suite,$(filter emulated guests workflow,$(STAGES)),$(call stage,stage,$(suite),test-$(suite))$(newline))
	$(foreach suite,$(filter $(CONFORMANCE),$(STAGES)),$(call stage,stage,$(suite),test-conformance CONFORMANCE_SUITE=$(suite))$(newline))
	@$(RESULTS) summary $(STAGES)

.PHONY: check
check: ## Check formatting, lints, documentation and the house rules
	@tools/setup/preflight.sh check
	$(MAKE) monitor
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path tests/fuzz/Cargo.toml --check
	$(CARGO) clippy $(LOCKED) --all-targets -- -D warnings
	for package in $(FIRMWARE_PACKAGES); do \
	    $(FIRMWARE_CARGO) clippy $(FIRMWARE_FLAGS) -p $$package -- -D warnings; \
	done
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc $(LOCKED) --no-deps
	RUSTDOCFLAGS='-D warnings' $(FIRMWARE_CARGO) doc $(FIRMWARE_FLAGS) --no-deps $(addprefix -p ,$(FIRMWARE_PACKAGES))
	$(CARGO) run $(LOCKED) --quiet -p house_rules
	$(CARGO) run $(LOCKED) --quiet -p end_to_end --bin figures -- --check

# Programs that measure, as PACKAGE:PROGRAM. Each prints JSON lines, and nothing else, on stdout.
BENCHES := end_to_end:bench_firmware differential:tpm_bench guests:bench_guests

.PHONY: bench
bench: ## Measure; JSON lines on stdout, everything else on stderr
	@$(if $(BENCHES),,echo 'bench: nothing is measured yet' 1>&2; exit 1)
	@tools/setup/preflight.sh bench 1>&2
	@$(MAKE) all guest_init 1>&2
	@tools/setup/bench.sh $(BENCHES)

.PHONY: figures
figures: setup-rust ## Write the README's figures from what make bench measured
	$(CARGO) run $(LOCKED) --quiet -p end_to_end --bin figures -- --bench "$(RESULTS_DIR)/bench.jsonl"

# The seeds of tpm_execute are recorded: tests/fuzz/seeds/seeds.py says how.
FUZZ_TARGETS := $(basename $(notdir $(wildcard tests/fuzz/fuzz_targets/*.rs)))

.PHONY: fuzz
fuzz: ## Fuzz each target for FUZZ_SECONDS
	@$(if $(FUZZ_TARGETS),,echo 'fuzz: there are no targets in tests/fuzz/fuzz_targets yet' 1>&2; exit 1)
	@tools/setup/preflight.sh fuzz
	tools/setup/fuzz.sh
	tests/fuzz/seeds/seeds.py unpack tests/fuzz/corpus/tpm_execute
	for target in $(FUZZ_TARGETS); do \
	    $(CARGO) +nightly fuzz run --fuzz-dir tests/fuzz "$$target" -- -max_total_time=$(FUZZ_SECONDS); \
	done

.PHONY: setup
setup: ## Install what is missing; VOUCHSAFE_NO_INSTALL=1 only says what that is
	@tools/setup/preflight.sh setup

.PHONY: test-fresh
test-fresh: ## Run both commands on a new SUITE=trixie|bookworm|sid|noble; needs root and an hour (see tests/fresh)
	@tests/fresh/run "$(SUITE)" $(CASES)

.PHONY: clean
clean: ## Remove everything that was built
	$(CARGO) clean
	rm -rf tests/fuzz/target

.PHONY: help
help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@cat tools/setup/variables.txt

# --- Steps -----------------------------------------------------------------------------------------------------------

.PHONY: setup-rust setup-qemu
setup-rust:
	@tools/setup/rust.sh
setup-qemu:
	@tools/setup/qemu.sh

.PHONY: $(FIRMWARE_PROGRAMS)
$(FIRMWARE_PROGRAMS): setup-rust
	$(call build_firmware,$@)

# Kernels with a fault share a folder, so they are built one after the other.
.PHONY: $(KERNEL_FAULTS:%=kernel-%)
$(KERNEL_FAULTS:%=kernel-%): kernel-%: setup-rust
	$(call build_firmware,kernel) --target-dir "$(FAULT_DIR)" --features fault_$*

.PHONY: run-tools
run-tools: guest_init
	$(CARGO) build $(LOCKED) --release $(addprefix -p ,$(RUN_PACKAGES))

.PHONY: tools
tools: setup-rust monitor
	$(CARGO) build $(LOCKED) --release

.PHONY: results
results: setup-rust
	$(CARGO) build $(LOCKED) --quiet --release -p end_to_end --bin results

# The images that can be built without files of yours.
.PHONY: images
images: image-payload image-vouchsafe images-without-tpm

.PHONY: image-payload image-vouchsafe images-without-tpm
image-payload: tools kernel stage2 guest_payload
	$(call build_image,$(GUEST_payload),payload)

# The firmware alone, for who supplies a guest in another way, and for figures.
image-vouchsafe: tools kernel stage2
	$(call build_image,,vouchsafe)

# What the firmware is without its TPM.
images-without-tpm: tools stage2 guest_payload
	$(call build_firmware,kernel) --target-dir "$(LEAN_DIR)" --no-default-features
	$(call build_image,$(GUEST_payload),payload-without-tpm,$(LEAN_DIR)/$(FIRMWARE_TARGET)/firmware/kernel)
	$(call build_image,,vouchsafe-without-tpm,$(LEAN_DIR)/$(FIRMWARE_TARGET)/firmware/kernel)

.PHONY: $(KERNEL_FAULTS:%=image-payload-%)
$(KERNEL_FAULTS:%=image-payload-%): image-payload-%: tools stage2 guest_payload kernel-%
	$(call build_image,$(GUEST_payload),payload-$*,$(FAULT_DIR)/$(FIRMWARE_TARGET)/firmware/kernel)
.NOTPARALLEL:

# The first program of a Linux guest.
STATIC := --config 'target.$(INIT_TARGET).rustflags=["-C","target-feature=+crt-static","-C","strip=symbols"]'
.PHONY: guest_init
guest_init: setup-rust
	$(FIRMWARE_CARGO) build $(LOCKED) --release --target $(INIT_TARGET) $(STATIC) -p guest_init

.PHONY: workflow-parts test-host test-emulated test-guests test-workflow test-conformance
test-host: setup-rust monitor
	$(CARGO) test $(LOCKED) --no-fail-fast
test-emulated: setup-qemu all $(KERNEL_FAULTS:%=image-payload-%)
	$(CARGO) run $(LOCKED) --release -p end_to_end --bin end_to_end
# Whether stock guests can be had decides the program, which then reports its tests as skipped.
test-guests: setup-qemu all guest_init
	$(CARGO) run $(LOCKED) --release -p guests --bin guests
# So does it here.
workflow-parts: tools kernel stage2 guest_init
test-workflow: setup-qemu workflow-parts
	"$(TOOLS_DIR)/workflow" --judge
test-conformance: setup-qemu all
	tests/conformance/$(or $(CONFORMANCE_SUITE),$(SUITE))/run
