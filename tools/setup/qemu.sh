#!/bin/bash
# Makes sure that PATH has a qemu-system-x86_64 that the emulated machine can run on; installs it where apt has one.
#
# `qemu.sh check` changes nothing, and prints what is missing, as rust.sh does; a line `package NAME` is for apt.
#
# 9.0 is the first whose TCG has x2APIC, which stock kernels want; the emulated machine is tested with 10.0.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=tools/setup/root.sh
source "$here/root.sh"

readonly PROGRAM=qemu-system-x86_64 PACKAGE=qemu-system-x86
readonly NEEDED_MAJOR=9 NEEDED=9.0
readonly BACKPORTS=bookworm-backports BACKPORTS_FILE=/etc/apt/sources.list.d/vouchsafe-backports.sources
readonly STAMP=${CARGO_TARGET_DIR:-$here/../../target}/setup/qemu

# The version of the program on PATH, or nothing.
found_version() {
    "$PROGRAM" --version 2>/dev/null | sed -n '1s/.*version \([0-9][0-9.]*\).*/\1/p' || true
}

# Whether a version such as 10.0.2 or 1:8.2.2+ds-0ubuntu1 is new enough.
is_enough() {
    local version=${1#*:}
    local major=${version%%.*}
    [[ $major =~ ^[0-9]+$ ]] && ((major >= NEEDED_MAJOR))
}

# The version that apt would install, or nothing where it does not know.
candidate_version() {
    LC_ALL=C apt-cache policy "$PACKAGE" 2>/dev/null | sed -n 's/^ *Candidate: *\([0-9].*\)$/\1/p'
}

is_bookworm() {
    # shellcheck source=/dev/null
    (source /etc/os-release && [[ $ID == debian && $VERSION_ID == 12 ]]) 2>/dev/null
}

has_backports() {
    grep -Ershq --include='*.list' --include='*.sources' "^[^#]*\b$BACKPORTS\b" /etc/apt/sources.list /etc/apt/sources.list.d
}

# What a person can do where apt cannot: $1 says what was found.
refuse() {
    say "the emulated machine needs QEMU $NEEDED or newer ($PROGRAM on PATH); $1"
    cat >&2 <<'END'
    Ways to get it:
    - Debian 13, Ubuntu 25.04 or newer: their own qemu-system-x86 is new enough; a container of one of them will do.
    - Debian 12: qemu-system-x86 from bookworm-backports.
    - Ubuntu 24.04 has 8.2. The Ubuntu Cloud Archive has a newer one for it:
          sudo add-apt-repository cloud-archive:epoxy && sudo apt-get update
      and then run this again, which installs it from there.
    - Fedora: sudo dnf install qemu-system-x86-core. Arch: sudo pacman -S qemu-system-x86.
    - From the sources at https://www.qemu.org/download/:
          ./configure --target-list=x86_64-softmmu && make && sudo make install
END
    exit 1
}

describe_found() {
    local version
    version=$(found_version)
    if [[ -n $version ]]; then
        printf '%s is %s' "$(command -v "$PROGRAM")" "$version"
    else
        printf 'there is none'
    fi
}

# Which file answers to the program's name; changes when another version is installed.
fingerprint() {
    stat --dereference --format='%n %s %Y %i' "$(command -v "$PROGRAM")" 2>/dev/null
}

finish() {
    mkdir -p "$(dirname "$STAMP")"
    fingerprint >"$STAMP"
    exit 0
}

install_from_backports() {
    local commands=()
    if ! has_backports; then
        say "adding $BACKPORTS to apt's sources: $BACKPORTS_FILE"
        local key=/usr/share/keyrings/debian-archive-keyring.gpg
        commands+=("printf '%s\\n' 'Types: deb' 'URIs: http://deb.debian.org/debian' 'Suites: $BACKPORTS' 'Components: main' 'Signed-By: $key' > $BACKPORTS_FILE")
    fi
    commands+=("$APT_UPDATE" "$(apt_install -t "$BACKPORTS" "$PACKAGE")")
    as_root "installing $PACKAGE from $BACKPORTS" "${commands[@]}"
}

install_from_release() {
    if [[ -z $(candidate_version) ]]; then
        as_root "reading apt's package lists" "$APT_UPDATE" || exit 1
    fi
    local candidate
    candidate=$(candidate_version)
    if ! is_enough "$candidate"; then
        refuse "$(describe_found), and apt offers ${candidate:-none}"
    fi
    as_root "installing $PACKAGE $candidate" "$APT_UPDATE" "$(apt_install "$PACKAGE")"
}

if [[ -s $STAMP && $(<"$STAMP") == "$(fingerprint || true)" ]]; then
    exit 0
fi
if is_enough "$(found_version)"; then
    finish
fi
if ! command -v apt-get >/dev/null; then
    [[ ${1:-} != check ]] || { printf 'person QEMU %s or newer; %s, and here is no apt\n' "$NEEDED" "$(describe_found)"; exit 0; }
    refuse "$(describe_found), and here is no apt to install it"
fi
if [[ ${1:-} == check ]]; then
    if is_bookworm; then
        source=$BACKPORTS
        has_backports || source+=", for which $BACKPORTS_FILE is added"
        printf 'install QEMU %s or newer, from %s (150 MB)\n' "$NEEDED" "$source"
    else
        candidate=$(candidate_version)
        if [[ -z $candidate ]] || is_enough "$candidate"; then
            printf 'package %s\n' "$PACKAGE"
        else
            printf 'person QEMU %s or newer; %s, and apt offers %s\n' "$NEEDED" "$(describe_found)" "$candidate"
        fi
    fi
    exit 0
fi
say "QEMU $NEEDED or newer is needed; $(describe_found)"
if is_bookworm; then
    install_from_backports || exit 1
else
    install_from_release || exit 1
fi
hash -r
is_enough "$(found_version)" || refuse "$(describe_found), even after the installation"
finish
