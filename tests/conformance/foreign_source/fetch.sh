#!/bin/bash
# fetch.sh PACKAGE PATTERN FILE...: takes these files out of the newest source of PACKAGE whose version matches PATTERN, and
# prints the folder that has them: target/judges/PACKAGE-VERSION. Other people's code stays there; nothing of it is committed.
#
# The sources are Debian's, or Ubuntu's where Debian's mirror has none. apt checks the indexes' signatures and each file's hash,
# with a configuration of its own. An index may name what its mirror no longer has: the next version is then tried. Status 75
# says that there is none to be had, and the last line on stderr why.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/setup/root.sh
source "$here/../../../tools/setup/root.sh"

readonly DEBIAN=${VOUCHSAFE_MIRROR:-http://deb.debian.org/debian} UBUNTU=${VOUCHSAFE_UBUNTU:-http://archive.ubuntu.com/ubuntu}
readonly DEBIAN_SUITES=(sid trixie-backports trixie) UBUNTU_SUITES=(stonking resolute-updates resolute)
readonly DEBIAN_KEYS=/usr/share/keyrings/debian-archive-keyring.gpg UNAVAILABLE=75
# The indexes are read again when they are older than this.
readonly FRESH_MINUTES=720
if [[ $# -lt 3 ]]; then
    printf 'usage: fetch.sh PACKAGE PATTERN FILE...\n' >&2
    exit 2
fi
readonly package=$1 pattern=$2
shift 2
folder=${VOUCHSAFE_JUDGES:-${CARGO_TARGET_DIR:-$here/../../../target}/judges}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
readonly folder

exec 7>"$folder/lock"
flock 7

# run_apt ARCHIVE PROGRAM ARGUMENT...: an apt that knows one archive's sources, and touches nothing of the system.
run_apt() {
    local root=$folder/apt-$1 program=$2
    shift 2
    LC_ALL=C "$program" -q -o Dir::Etc::SourceList="$root/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null -o Dir::State="$root/state" \
        -o Dir::State::status=/dev/null -o Dir::Cache="$root/cache" -o APT::Sandbox::User=root \
        -o APT::Architecture=amd64 -o APT::Architectures=amd64 -o Acquire::Languages=none -o Acquire::Retries=2 \
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
        -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false "$@"
}

# read_indexes ARCHIVE LINE...: the lines are sources.list's.
read_indexes() {
    local archive=$1 root=$folder/apt-$1
    shift
    mkdir -p "$root/state/lists/partial" "$root/cache/archives/partial"
    if [[ -n $(find "$root/stamp" -mmin -"$FRESH_MINUTES" 2>/dev/null) && $(<"$root/stamp") == "$*" ]]; then
        return
    fi
    printf '%s\n' "$@" >"$root/sources.list"
    say "reading the source indexes of $archive ..."
    run_apt "$archive" apt-get -o Acquire::Check-Valid-Until=false update >"$root/log" 2>&1 ||
        say "some indexes could not be read: $(grep -m 1 '^E:' "$root/log" || tail -n 1 "$root/log")"
    rm -f "$root"/absent-*
    printf '%s\n' "$*" >"$root/stamp"
}

# Ubuntu's keys come as a package of Debian's.
ubuntu_keys() {
    local keys=/usr/share/keyrings/ubuntu-archive-keyring.gpg work=$folder/ubuntu-keys
    if [[ ! -r $keys && ! -r $work$keys ]]; then
        read_indexes keys "deb [signed-by=$DEBIAN_KEYS] $DEBIAN trixie main"
        rm -rf "$work"
        mkdir -p "$work"
        (cd "$work" && run_apt keys apt-get download ubuntu-keyring && dpkg-deb --extract ubuntu-keyring*.deb .) \
            >"$folder/apt-keys/log" 2>&1 || return 1
    fi
    if [[ -r $keys ]]; then
        printf '%s' "$keys"
    elif [[ -r $work$keys ]]; then
        printf '%s' "$work$keys"
    else
        return 1
    fi
}

# versions ARCHIVE: what its indexes name, newest first.
versions() {
    run_apt "$1" apt-cache showsrc --only-source "$package" 2>/dev/null | sed -n 's/^Version: //p' |
        grep -E "$pattern" | sort -rVu
}

# take ARCHIVE VERSION FILE...: downloads the tar of a version and unpacks the files; says no where the mirror lacks it.
take() {
    local archive=$1 version=$2 root=$folder/apt-$1 target=$folder/$package-${2/:/.} work tar
    shift 2
    if [[ -e $target/complete && $(<"$target/complete") == "$*" ]]; then
        printf '%s\n' "$target"
        return
    fi
    [[ ! -e $root/absent-$package-$version ]] || return 1
    work=$(mktemp -d "$folder/work.XXXXXX")
    say "downloading the source of $package $version from $archive ..."
    if ! (cd "$work" && run_apt "$archive" apt-get source --download-only --tar-only "$package=$version") >"$root/log" 2>&1; then
        say "$archive no longer has it: $(grep -m 1 '^E:' "$root/log" || tail -n 1 "$root/log")"
        touch "$root/absent-$package-$version"
        rm -rf "$work"
        return 1
    fi
    tar=$(find "$work" -name '*.orig.tar.*' | head -n 1)
    mkdir "$work/tree"
    # Not every version has every file; who compiles them says what is missing.
    tar --extract --file "$tar" --directory "$work/tree" --strip-components=1 --wildcards "${@/#/*/}" 2>"$root/log" || true
    rm -f "$tar"
    printf '%s\n' "$version" >"$work/tree/version"
    printf '%s\n' "$archive" >"$work/tree/archive"
    printf '%s' "$*" >"$work/tree/complete"
    rm -rf "$target"
    mv "$work/tree" "$target"
    rm -rf "$work"
    printf '%s\n' "$target"
}

# from ARCHIVE FILE...: the newest version that the archive really has.
from() {
    local archive=$1 version
    shift
    for version in $(versions "$archive"); do
        if take "$archive" "$version" "$@"; then
            return
        fi
    done
    return 1
}

# sources KEYS MIRROR SUITE...: lines of sources.list.
sources() {
    local keys=$1 mirror=$2 suite
    shift 2
    for suite in "$@"; do
        printf 'deb-src [signed-by=%s] %s %s main\n' "$keys" "$mirror" "$suite"
    done
}

if command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
    if [[ -r $DEBIAN_KEYS ]] || "$here/../../../tools/setup/need.sh" debian-archive-keyring; then
        mapfile -t lines < <(sources "$DEBIAN_KEYS" "$DEBIAN" "${DEBIAN_SUITES[@]}")
        read_indexes debian "${lines[@]}"
        if from debian "$@"; then
            exit
        fi
        if keys=$(ubuntu_keys); then
            mapfile -t lines < <(sources "$keys" "$UBUNTU" "${UBUNTU_SUITES[@]}")
            read_indexes ubuntu "${lines[@]}"
            if from ubuntu "$@"; then
                exit
            fi
        fi
    fi
fi
# What an earlier run took is better than nothing.
for old in $(find "$folder" -maxdepth 1 -name "$package-*" -type d | sort -rV); do
    if [[ -e $old/complete && $(<"$old/complete") == "$*" ]] && grep -qE "$pattern" "$old/version"; then
        printf '%s\n' "$old"
        exit
    fi
done
say "no mirror that can be reached has a source of $package whose version matches $pattern"
exit "$UNAVAILABLE"
