# shellcheck shell=bash
# Sourced by run: makes the system, its layers, and runs commands in them.

# The system, with a clone in it: base/ never changes once it is there.
make_base() {
    local base=$place/base
    if [[ ! -e $place/base.made ]]; then
        printf 'test-fresh: making %s ...\n' "$suite" >&2
        rm -rf "$base"
        mmdebstrap --quiet --variant=minbase --components="$components" --include=ca-certificates,make,git,sudo \
            --customize-hook='useradd --root "$1" --create-home --shell /bin/bash '"$USER_NAME" \
            --customize-hook='useradd --root "$1" --create-home --shell /bin/bash stranger' \
            --customize-hook='printf "%s ALL=(ALL) NOPASSWD: ALL\n" '"$USER_NAME"' >"$1/etc/sudoers.d/newcomer"' \
            "$suite" "$base" "$mirror"
        copy_rust "$base"
        touch "$place/base.made"
    fi
}

# Rust as rustup left it on this machine: the pinned toolchain, and the crates that were downloaded.
copy_rust() {
    local home=$1/home/$USER_NAME cargo=${CARGO_HOME:-$HOME/.cargo} rustup=${RUSTUP_HOME:-$HOME/.rustup} toolchain
    toolchain=$(cd "$source" && rustc --print sysroot)
    mkdir -p "$home/.cargo/bin" "$home/.rustup/toolchains"
    cp -a "$cargo/bin/rustup" "$home/.cargo/bin/"
    local name
    for name in cargo rustc rustfmt cargo-fmt cargo-clippy clippy-driver rustdoc; do
        ln "$home/.cargo/bin/rustup" "$home/.cargo/bin/$name"
    done
    [[ ! -d $cargo/registry ]] || cp -a "$cargo/registry" "$home/.cargo/"
    cp -a "$toolchain" "$home/.rustup/toolchains/$(basename "$(sed -n 's/^channel = "\(.*\)"$/\1/p' "$source/rust-toolchain.toml")")-x86_64-unknown-linux-gnu"
    cp -a "$rustup/settings.toml" "$home/.rustup/" 2>/dev/null || true
    printf 'PATH=$HOME/.cargo/bin:$PATH\nexport RUSTUP_AUTO_INSTALL=0\n' >>"$home/.profile"
    chroot "$1" chown -R "$USER_NAME:$USER_NAME" "/home/$USER_NAME"
}

# clone TO: this commit, as the user would clone it.
clone() {
    git clone --quiet --no-local "$source" "$root$1"
    git -C "$root$1" checkout --quiet --detach "$commit"
    chroot "$root" chown -R "$USER_NAME:$USER_NAME" "$1"
}

# open_layer NAME LOWER...: $root is a layer that may be written over these folders, the first on top.
open_layer() {
    local name=$1 lower
    shift
    lower=$(IFS=:; printf '%s' "$*")
    root=$place/root
    mkdir -p "$place/$name/upper" "$place/$name/work" "$root"
    mount -t overlay overlay -o "lowerdir=$lower,upperdir=$place/$name/upper,workdir=$place/$name/work" "$root"
    mount --bind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    mount -t tmpfs tmpfs "$root/tmp"
    cp --dereference /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
}

# Everything in a case runs in a mount and process namespace of its own (run_case), whose end unmounts and ends everything.

# as USER COMMAND: a line of shell as an ordinary login would run it, with the usual limits. A folder that was changed into keeps
# user namespaces from being made, as Ubuntu 24.04 and containers do.
as() {
    local user=$1
    shift
    ulimit -n "$OPEN_FILES"
    chroot "$root" su --login "$user" -c "$*"
}

# without_network COMMAND...: no interface but lo.
without_network() {
    unshare --net "$@"
}

# run_case NAME: runs a case unless it passed at this commit, and says how it ended.
run_case() {
    local name=$1 log=$place/$1.log started=$SECONDS status=0
    if [[ -z $again && $(cat "$place/$name.passed" 2>/dev/null) == "$commit" ]]; then
        printf 'passed  %-24s (before)\n' "$name"
        return 0
    fi
    printf '        %-24s %s\n' "$name" "$log" >&2
    rm -f "$place/$name.passed"
    export -f as clone open_layer without_network "case_$name"
    export place suite source commit here USER_NAME OPEN_FILES
    unshare --mount --pid --fork --mount-proc --kill-child bash -euo pipefail -c \
        'source "$here/system.sh"; source "$here/cases.sh"; '"case_$name" >"$log" 2>&1 </dev/null || status=$?
    if [[ $status != 0 ]]; then
        printf 'FAILED  %-24s %d s, status %d: %s\n' "$name" "$((SECONDS - started))" "$status" "$(tail -n 1 "$log")"
        return 1
    fi
    printf '%s\n' "$commit" >"$place/$name.passed"
    printf 'passed  %-24s %d s\n' "$name" "$((SECONDS - started))"
}
