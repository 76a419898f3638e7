# The only list of commands. `make help` prints it. Everything that a target needs is set up by the target itself.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := all
.SUFFIXES:

# --- What can be set -------------------------------------------------------------------------------------------------

# What `make run` starts at VMPL2: linux (a stock Debian kernel), ovmf (Debian's UEFI firmware, which then boots that kernel),
# payload (our test guest).
GUEST ?= linux
# For GUEST=linux and ovmf: linux-new or linux-6.12 (tools/setup/guests.sh says where they come from), or a bzImage and an
# initrd of yours, and a command line.
LINUX ?= linux-new
LINUX_KERNEL ?= $(GUESTS_DIR)/$(LINUX)/vmlinuz
LINUX_INITRD ?= $(GUESTS_DIR)/$(LINUX)/initrd
LINUX_APPEND ?= console=ttyS0 $(if $(INTERACTIVE),quiet vouchsafe.shell,vouchsafe.vmpl=2 vouchsafe.stress=2)
# For GUEST=ovmf: an OVMF.fd with SEV metadata.
OVMF ?= $(GUESTS_DIR)/ovmf/OVMF.amdsev.fd
# 1 connects the terminal to the guest's console, where Linux then runs a shell; Ctrl-A X ends the run. Empty: Linux checks
# itself and turns the machine off.
INTERACTIVE ?= $(if $(CI)$(filter linux payload,$(GUEST)),,$(shell test -t 0 && echo 1))
# More options for `snp-emulator run`, such as RUN_FLAGS='--smp 4 --icount'.
RUN_FLAGS ?=
# An image is for one number of vCPUs: what RUN_FLAGS says, or 1.
VCPUS := $(or $(shell printf '%s\n' $(RUN_FLAGS) | sed -n '/^--smp$$/{n;p;}'),1)
# `make run` alone shows the workflow: evidence out of the guest, and a relying party's verdict. Whatever says how Linux is to
# boot boots it in that way instead.
WORKFLOW := $(if $(filter linux,$(GUEST)),$(if $(INTERACTIVE)$(RUN_FLAGS)$(filter-out file,$(foreach variable,LINUX LINUX_KERNEL LINUX_INITRD LINUX_APPEND,$(origin $(variable)))),,1))
# A deliberate fault in the kernel, for GUEST=payload: skip_zeroing, skip_flush or skip_ledger_check. The run must end red.
KERNEL_FAULT ?=
# How long one test stage may take where CI is set, and each fuzz target.
STAGE_SECONDS ?= 1800
FUZZ_SECONDS ?= 60

CARGO ?= cargo

# --- Where things are ------------------------------------------------------------------------------------------------

TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
FIRMWARE_TARGET := x86_64-unknown-none
FIRMWARE_DIR := $(TARGET_DIR)/$(FIRMWARE_TARGET)/firmware
TOOLS_DIR := $(TARGET_DIR)/release
IMAGES_DIR := $(TARGET_DIR)/images
RESULTS_DIR := $(TARGET_DIR)/results
# Other people's guests, and the first program of a Linux guest, which is linked statically.
GUESTS_DIR := $(abspath $(or $(VOUCHSAFE_GUESTS),$(TARGET_DIR)/guests))
INIT_TARGET := x86_64-unknown-linux-gnu
GUEST_INIT := $(TARGET_DIR)/$(INIT_TARGET)/release/guest_init

# The bare-metal programs, and the bare-metal libraries that clippy and rustdoc cannot look at on the host.
FIRMWARE_PROGRAMS := kernel stage2 monitor guest_payload
FIRMWARE_PACKAGES := $(FIRMWARE_PROGRAMS) hardware

# The launcher carries the monitor inside it; cargo rebuilds the one when the other changes.
export SNP_MONITOR_ELF := $(FIRMWARE_DIR)/monitor

# Kernels with a deliberate fault are built apart from the one that ships.
KERNEL_FAULTS := skip_zeroing skip_flush skip_ledger_check
FAULT_DIR := $(TARGET_DIR)/fault
# So is the one without a TPM, which the figures of the rest are taken from.
LEAN_DIR := $(TARGET_DIR)/lean

IGVM_IMAGE := $(TOOLS_DIR)/igvm-image
SNP_EMULATOR := $(TOOLS_DIR)/snp-emulator
RESULTS := $(TOOLS_DIR)/results --folder $(RESULTS_DIR)

# Where nobody watches, a Cargo.lock that does not match is an error and not a change.
LOCKED := $(if $(CI),--locked)

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
build_image = $(IGVM_IMAGE) build --vcpus $(VCPUS) --stage2 $(FIRMWARE_DIR)/stage2 --kernel $(or $(3),$(FIRMWARE_DIR)/kernel) $(1) --output $(IMAGES_DIR)/$(2).igvm

GUEST_payload := --guest-elf $(FIRMWARE_DIR)/guest_payload
GUEST_linux = --linux $(LINUX_KERNEL) --initrd $(LINUX_INITRD) --append '$(LINUX_APPEND)'
GUEST_ovmf = --guest-firmware $(OVMF) $(GUEST_linux)
# What the host hands over: blobs for the firmware, which checks their hashes, or what QEMU's -kernel would give to OVMF.
BLOB = --fw-cfg name=opt/org.vouchsafe/$(1),file=$(2)
RUN_linux = $(call BLOB,kernel,$(LINUX_KERNEL)) $(call BLOB,initrd,$(LINUX_INITRD)) $(call BLOB,cmdline,$(IMAGES_DIR)/linux.cmdline)
RUN_ovmf = --kernel $(LINUX_KERNEL) --initrd $(LINUX_INITRD) --append '$(LINUX_APPEND)'
# Who sits there may want to reboot; UEFI guests cannot be started again.
RUN_INTERACTIVE = $(if $(INTERACTIVE),--interactive --timeout 0 $(if $(filter linux,$(GUEST)),--resets 1000))

GUESTS := payload linux ovmf
NEEDS_linux := LINUX_KERNEL LINUX_INITRD
NEEDS_ovmf := OVMF LINUX_KERNEL LINUX_INITRD
# $(call need_file,GUEST,VARIABLE): stops with a sentence when the variable names no file.
need_file = $(if $(wildcard $($(2))),,$(error GUEST=$(1) needs $(2)=FILE$(if $($(2)),; there is no $($(2)))))
$(if $(filter $(GUEST),$(GUESTS)),,$(error GUEST=$(GUEST) is none of: $(GUESTS)))
$(if $(filter-out $(KERNEL_FAULTS),$(KERNEL_FAULT)),$(error KERNEL_FAULT=$(KERNEL_FAULT) is none of: $(KERNEL_FAULTS)))
$(if $(KERNEL_FAULT),$(if $(filter-out payload,$(GUEST)),$(error KERNEL_FAULT is for GUEST=payload)))
IMAGE := $(GUEST)$(KERNEL_FAULT:%=-%)
# Programs by whose symbols messages name addresses.
SYMBOLS := $(if $(KERNEL_FAULT),$(FAULT_DIR)/$(FIRMWARE_TARGET)/firmware,$(FIRMWARE_DIR))/kernel
SYMBOLS += $(if $(filter payload,$(GUEST)),$(FIRMWARE_DIR)/guest_payload)

# --- For people ------------------------------------------------------------------------------------------------------

.PHONY: all
all: tools images ## Build everything; images are in target/images

.PHONY: run
run: setup-qemu $(if $(WORKFLOW),workflow-parts,image-$(IMAGE)) ## Verify a guest's vTPM from outside, or boot GUEST=linux|ovmf|payload
	$(if $(WORKFLOW),$(TOOLS_DIR)/workflow,$(SNP_EMULATOR) run $(IMAGES_DIR)/$(IMAGE).igvm $(addprefix --symbols ,$(SYMBOLS)) $(RUN_$(GUEST)) $(RUN_INTERACTIVE) $(RUN_FLAGS))

# A stage for each suite that tests/conformance has: a folder with a program `run`.
CONFORMANCE := $(patsubst tests/conformance/%/run,%,$(wildcard tests/conformance/*/run))

# Where somebody watches, Ctrl-C does what `timeout` does, and would not get through it.
LIMIT := $(if $(CI),timeout --kill-after=10 $(STAGE_SECONDS))
# $(call stage,KIND,NAME,TARGET): a stage that fails does not end the run: its file says so, and the sum counts it.
stage = -@$(RESULTS) $(1) $(2) -- $(LIMIT) $(MAKE) $(3)
define newline


endef

.PHONY: test
test: setup results ## Run all tests; the last line is the sum
	$(call stage,cargo,host,test-host)
	$(call stage,stage,emulated,test-emulated)
	$(call stage,stage,guests,test-guests)
	$(call stage,stage,workflow,test-workflow)
	$(foreach suite,$(CONFORMANCE),$(call stage,stage,$(suite),test-conformance SUITE=$(suite))$(newline))
	@$(RESULTS) summary host emulated guests workflow $(CONFORMANCE)

.PHONY: check
check: setup-rust monitor ## Check formatting, lints, documentation and the house rules
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path tests/fuzz/Cargo.toml --check
	$(CARGO) clippy $(LOCKED) --all-targets -- -D warnings
	for package in $(FIRMWARE_PACKAGES); do \
	    $(FIRMWARE_CARGO) clippy $(FIRMWARE_FLAGS) -p $$package -- -D warnings; \
	done
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc $(LOCKED) --no-deps
	RUSTDOCFLAGS='-D warnings' $(FIRMWARE_CARGO) doc $(FIRMWARE_FLAGS) --no-deps $(addprefix -p ,$(FIRMWARE_PACKAGES))
	$(CARGO) run $(LOCKED) --quiet -p house_rules

# Programs that measure, as PACKAGE:PROGRAM. Each prints JSON lines, and nothing else, on stdout.
BENCHES := end_to_end:bench_firmware differential:tpm_bench guests:bench_guests

.PHONY: bench
bench: ## Measure; JSON lines on stdout, everything else on stderr
	@$(if $(BENCHES),,echo 'bench: nothing is measured yet' 1>&2; exit 1)
	@$(MAKE) setup all guest_init 1>&2
	@for bench in $(BENCHES); do \
	    $(CARGO) run $(LOCKED) --quiet --release -p "$${bench%%:*}" --bin "$${bench##*:}"; \
	done

# The seeds of tpm_execute are recorded: tests/fuzz/seeds/seeds.py says how.
FUZZ_TARGETS := $(basename $(notdir $(wildcard tests/fuzz/fuzz_targets/*.rs)))

.PHONY: fuzz
fuzz: setup-rust ## Fuzz each target for FUZZ_SECONDS
	@$(if $(FUZZ_TARGETS),,echo 'fuzz: there are no targets in tests/fuzz/fuzz_targets yet' 1>&2; exit 1)
	tools/setup/fuzz.sh
	tests/fuzz/seeds/seeds.py unpack tests/fuzz/corpus/tpm_execute
	for target in $(FUZZ_TARGETS); do \
	    $(CARGO) +nightly fuzz run --fuzz-dir tests/fuzz "$$target" -- -max_total_time=$(FUZZ_SECONDS); \
	done

.PHONY: setup
setup: setup-rust setup-qemu ## Install what is missing; VOUCHSAFE_NO_INSTALL=1 only says what that is

.PHONY: clean
clean: ## Remove everything that was built
	$(CARGO) clean
	rm -rf tests/fuzz/target

.PHONY: help
help: ## Print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@printf '\nmake run GUEST=linux|ovmf takes LINUX=linux-new|linux-6.12 or LINUX_KERNEL=, LINUX_INITRD=, LINUX_APPEND=, and\n'
	@printf 'INTERACTIVE=1 for a shell (OVMF has it on a terminal by itself; Ctrl-A X ends it).\n'
	@printf 'make run takes RUN_FLAGS (snp-emulator run --help), and for GUEST=payload a deliberate fault in the kernel that\n'
	@printf 'must end it red: KERNEL_FAULT=%s\n' '$(subst $(eval ) ,|,$(KERNEL_FAULTS))'

# --- Steps -----------------------------------------------------------------------------------------------------------

.PHONY: setup-rust setup-qemu
setup-rust:
	@tools/setup/rust.sh
setup-qemu:
	@tools/setup/qemu.sh

.PHONY: $(FIRMWARE_PROGRAMS)
$(FIRMWARE_PROGRAMS): setup-rust
	$(call build_firmware,$@)

.PHONY: tools
tools: setup-rust monitor
	$(CARGO) build $(LOCKED) --release

.PHONY: results
results: setup-rust
	$(CARGO) build $(LOCKED) --quiet --release -p end_to_end --bin results

# The images that can be built without files of yours.
.PHONY: images
images: image-payload image-vouchsafe images-without-tpm

.PHONY: $(GUESTS:%=needs-%) $(GUESTS:%=image-%)
$(GUESTS:%=needs-%): needs-%:
	@: $(foreach variable,$(NEEDS_$*),$(call need_file,$*,$(variable)))
image-payload: guest_payload
# Files of yours are taken as they are.
needs-linux: $(if $(filter $(GUESTS_DIR)/%,$(LINUX_INITRD)),fetch-$(LINUX))
needs-ovmf: needs-linux $(if $(filter $(GUESTS_DIR)/%,$(OVMF)),fetch-ovmf)
image-linux: linux-cmdline
.PHONY: linux-cmdline
linux-cmdline:
	@mkdir -p $(IMAGES_DIR)
	@printf '%s' '$(LINUX_APPEND)' >$(IMAGES_DIR)/linux.cmdline
$(GUESTS:%=image-%): image-%: needs-% tools kernel stage2
	@mkdir -p $(IMAGES_DIR)
	$(call build_image,$(GUEST_$*),$*)

# The first program of a Linux guest, and the initrd of each kernel.
STATIC := --config 'target.$(INIT_TARGET).rustflags=["-C","target-feature=+crt-static","-C","strip=symbols"]'
KERNELS := linux-6.12 linux-new
.PHONY: guest_init fetch-ovmf $(KERNELS:%=fetch-%)
guest_init: setup-rust
	$(FIRMWARE_CARGO) build $(LOCKED) --release --target $(INIT_TARGET) $(STATIC) -p guest_init
fetch-ovmf:
	tools/setup/guests.sh ovmf
$(KERNELS:%=fetch-%): fetch-%: guest_init tools
	tools/setup/guests.sh $* busybox
	$(TOOLS_DIR)/initrd --modules $(GUESTS_DIR)/$*/modules --init $(GUEST_INIT) --busybox $(GUESTS_DIR)/busybox/busybox --output $(GUESTS_DIR)/$*/initrd

# The firmware alone, for who supplies a guest in another way, and for figures.
.PHONY: image-vouchsafe
image-vouchsafe: tools kernel stage2
	@mkdir -p $(IMAGES_DIR)
	$(call build_image,,vouchsafe)

# What the firmware is without its TPM.
.PHONY: images-without-tpm
images-without-tpm: tools stage2 guest_payload
	@mkdir -p $(IMAGES_DIR)
	$(call build_firmware,kernel) --target-dir $(LEAN_DIR) --no-default-features
	$(call build_image,$(GUEST_payload),payload-without-tpm,$(LEAN_DIR)/$(FIRMWARE_TARGET)/firmware/kernel)
	$(call build_image,,vouchsafe-without-tpm,$(LEAN_DIR)/$(FIRMWARE_TARGET)/firmware/kernel)

# They share a folder, so they are built one after the other.
.PHONY: $(KERNEL_FAULTS:%=image-payload-%)
$(KERNEL_FAULTS:%=image-payload-%): image-payload-%: tools stage2 guest_payload
	@mkdir -p $(IMAGES_DIR)
	$(call build_firmware,kernel) --target-dir $(FAULT_DIR) --features fault_$*
	$(call build_image,$(GUEST_payload),payload-$*,$(FAULT_DIR)/$(FIRMWARE_TARGET)/firmware/kernel)
.NOTPARALLEL:

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
	$(TOOLS_DIR)/workflow --judge
test-conformance: setup-qemu all
	tests/conformance/$(SUITE)/run
