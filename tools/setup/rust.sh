#!/bin/bash
# Makes sure that cargo can build for the firmware's target: the pinned toolchain through rustup, or a distribution's
# Rust of sufficient version that brings the target's core library.
#
# `rust.sh check` changes nothing. It prints what is missing: a line `install WHAT` where `rust.sh` would install it, or
# `person WHAT` where somebody has to do something first.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=tools/setup/root.sh
source "$root/tools/setup/root.sh"
cd "$root" # rust-toolchain.toml counts from here

readonly TARGET=x86_64-unknown-none
readonly STAMP=${CARGO_TARGET_DIR:-$root/target}/setup/rust
pinned=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
readonly pinned
minimum=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
readonly minimum

# The folder of the target's core library, if that library is there.
target_library() {
    local folder
    folder=$(rustc --print target-libdir --target "$TARGET" 2>/dev/null) || return 1
    compgen -G "$folder/libcore-*.rlib" >/dev/null && printf '%s\n' "$folder"
}

# The stamp: which toolchain was asked for, which rustc answered, and where its library for the target is.
describe() {
    printf '%s\n' "${RUSTUP_TOOLCHAIN:-$pinned}" "$(command -v rustc)"
}

if [[ -r $STAMP && $STAMP -nt rust-toolchain.toml ]] && [[ $(head -n 2 "$STAMP") == "$(describe 2>/dev/null)" ]] &&
    compgen -G "$(tail -n 1 "$STAMP")/libcore-*.rlib" >/dev/null; then
    exit 0
fi

checks_only=
[[ ${1:-} != check ]] || checks_only=1

if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then
    if [[ $(id -u) == 0 && -n ${SUDO_USER:-} ]]; then
        missing="there is no Rust of root's; run make as $SUDO_USER, without sudo: it uses sudo for what needs it"
    else
        missing='there is no Rust (cargo and rustc on PATH)'
    fi
    if [[ -n $checks_only ]]; then
        printf 'person %s; https://rustup.rs installs it, or Debian 13 and Ubuntu 24.04: sudo apt-get install rustup\n' "$missing"
        exit 0
    fi
    say "$missing; install it with rustup, from https://rustup.rs or a distribution:"
    printf '    %s\n' "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh" \
        "Debian 13, Ubuntu 24.04 or newer: sudo apt-get install rustup" >&2
    exit 1
fi

# Rust links the programs of the host with the system's linker.
[[ -n $checks_only ]] || command -v cc >/dev/null || tools/setup/need.sh gcc libc6-dev

if command -v rustup >/dev/null; then
    toolchain=${RUSTUP_TOOLCHAIN:-$pinned}
    if ! rustup run "$toolchain" rustc --version >/dev/null 2>&1 || ! target_library >/dev/null ||
        ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
        if [[ -n $checks_only ]]; then
            printf 'install Rust %s with %s, by rustup (250 MB)\n' "$toolchain" "$TARGET"
            exit 0
        fi
        install=(rustup toolchain install "$toolchain" --no-self-update --profile minimal --component rustfmt --component clippy
            --target "$TARGET")
        if [[ ${VOUCHSAFE_NO_INSTALL:-} == 1 ]]; then
            say "Rust $toolchain with $TARGET is left to you (VOUCHSAFE_NO_INSTALL=1); run:"
            printf '    %s\n' "${install[*]}" >&2
            exit 1
        fi
        say "installing Rust $toolchain with $TARGET ..."
        "${install[@]}" >&2
    fi
else
    version=$(rustc --version | sed 's/^rustc \([0-9.]*\).*/\1/')
    if [[ $(printf '%s\n' "$minimum" "$version" | sort -V | head -n 1) != "$minimum" ]]; then
        [[ -z $checks_only ]] || { printf 'person Rust %s or newer, %s is %s; https://rustup.rs has it\n' "$minimum" "$(command -v rustc)" "$version"; exit 0; }
        say "Rust $minimum or newer is needed, $(command -v rustc) is $version; install rustup from https://rustup.rs"
        exit 1
    fi
    if [[ $version != "$pinned" ]]; then
        say "this is Rust $version, not the pinned $pinned: images work, but their launch digests differ from the released ones"
    fi
fi

if ! library=$(target_library); then
    [[ -z $checks_only ]] || { printf 'person a core library of Rust for %s; https://rustup.rs, or Fedora: rust-std-static-%s\n' "$TARGET" "$TARGET"; exit 0; }
    say "$(command -v rustc) has no core library for $TARGET"
    say "install rustup from https://rustup.rs, or your distribution's package for that target (Fedora: rust-std-static-$TARGET)"
    exit 1
fi
[[ -z $checks_only ]] || exit 0
mkdir -p "$(dirname "$STAMP")"
{
    describe
    printf '%s\n' "$library"
} >"$STAMP"
