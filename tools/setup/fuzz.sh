#!/bin/bash
# Makes sure that cargo-fuzz, a nightly toolchain, which the sanitizers need, and Python, which unpacks seeds, are there.
set -euo pipefail
# shellcheck source=tools/setup/root.sh
source "$(dirname "${BASH_SOURCE[0]}")/root.sh"

if ! command -v rustup >/dev/null; then
    say "fuzzing needs a nightly Rust, and rustup to install it: https://rustup.rs"
    exit 1
fi

# install COMMAND...: announces and runs it, or names it where nothing may be installed.
install() {
    if [[ ${VOUCHSAFE_NO_INSTALL:-} == 1 ]]; then
        say "left to you (VOUCHSAFE_NO_INSTALL=1): $*"
        exit 1
    fi
    say "running $* ..."
    "$@" >&2
}

rustup run nightly rustc --version >/dev/null 2>&1 || install rustup toolchain install nightly --profile minimal
command -v cargo-fuzz >/dev/null || install cargo install --locked cargo-fuzz
command -v python3 >/dev/null || "$(dirname "${BASH_SOURCE[0]}")/need.sh" python3
command -v c++ >/dev/null || "$(dirname "${BASH_SOURCE[0]}")/need.sh" g++
