#!/bin/bash
# fetch.sh PACKAGE PATTERN FILE...: takes these files out of the newest source of PACKAGE whose version matches PATTERN, and
# prints the folder that has them: target/judges/PACKAGE-VERSION. Other people's code stays there; nothing of it is committed.
#
# The sources are Debian's, or Ubuntu's where Debian's mirror has none; Linux comes as Debian's packages linux-source-VERSION,
# for which PACKAGE is linux-source. apt checks the indexes' signatures and each file's hash,
# with a configuration of its own. An index may name what its mirror no longer has: the next version is then tried. Status 75
# says that there is none to be had, and the last line on stderr why.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/setup/root.sh
source "$here/../../../tools/setup/root.sh"

readonly DEBIAN=${VOUCHSAFE_MIRROR:-http://deb.debian.org/debian} UBUNTU=${VOUCHSAFE_UBUNTU:-http://archive.ubuntu.com/ubuntu}
readonly DEBIAN_SUITES=(sid trixie-backports trixie) UBUNTU_SUITES=(stonking resolute-updates resolute)
readonly LINUX_SUITES=(trixie-backports sid)
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
    if [[ $package == linux-source ]]; then
        local names
        mapfile -t names < <(run_apt "$1" apt-cache search --names-only '^linux-source-[0-9.]+$' | cut -d ' ' -f 1)
        [[ ${#names[@]} == 0 ]] || run_apt "$1" apt-cache madison "${names[@]}" | awk -F ' *[|] *' '{ print $2 }'
    else
        run_apt "$1" apt-cache showsrc --only-source "$package" 2>/dev/null | sed -n 's/^Version: //p'
    fi | { grep -E "$pattern" || true; } | sort -rVu
}

# download ARCHIVE VERSION FOLDER: puts what holds the source into the folder.
download() {
    local name=$package
    cd "$3"
    if [[ $package == linux-source ]]; then
        name=$package-$(cut -d . -f 1,2 <<<"${2%%[~+-]*}")
        run_apt "$1" apt-get download "$name=$2"
    else
        run_apt "$1" apt-get source --download-only --tar-only "$package=$2"
    fi
}

# unpack FOLDER FILE...: takes the files out of what was downloaded. Not every version has every file; who compiles them says
# what is missing.
unpack() {
    local work=$1 package_file tar
    shift
    mkdir "$work/tree"
    package_file=$(find "$work" -name '*.deb' | head -n 1)
    if [[ -n $package_file ]]; then
        dpkg-deb --fsys-tarfile "$package_file" | tar --extract --to-stdout --wildcards './usr/src/*.tar.xz' >"$work/source.tar.xz"
        rm -f "$package_file"
    fi
    tar=$(find "$work" -maxdepth 1 -name '*.tar.*' | head -n 1)
    tar --extract --file "$tar" --directory "$work/tree" --strip-components=1 --wildcards "${@/#/*/}" 2>"$work/log" || true
}

# take ARCHIVE VERSION FILE...: downloads the tar of a version and unpacks the files; says no where the mirror lacks it.
take() {
    local archive=$1 version=$2 root=$folder/apt-$1 target=$folder/$package-${2/:/.} work
    shift 2
    if [[ -e $target/complete && $(<"$target/complete") == "$*" ]]; then
        printf '%s\n' "$target"
        return
    fi
    [[ ! -e $root/absent-$package-$version ]] || return 1
    work=$(mktemp -d "$folder/work.XXXXXX")
    say "downloading the source of $package $version from $archive ..."
    if ! (download "$archive" "$version" "$work") >"$root/log" 2>&1; then
        say "$archive no longer has it: $(grep -m 1 '^E:' "$root/log" || tail -n 1 "$root/log")"
        touch "$root/absent-$package-$version"
        rm -rf "$work"
        return 1
    fi
    unpack "$work" "$@"
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

# lines KIND KEYS MIRROR SUITE...: lines of sources.list, of the kind deb or deb-src.
lines() {
    local kind=$1 keys=$2 mirror=$3 suite
    shift 3
    for suite in "$@"; do
        printf '%s [signed-by=%s] %s %s main\n' "$kind" "$keys" "$mirror" "$suite"
    done
}

# try ARCHIVE KIND KEYS MIRROR SUITES FILE...: reads the indexes, and takes the files from there.
try() {
    local archive=$1 kind=$2 keys=$3 mirror=$4 suites list
    read -ra suites <<<"$5"
    shift 5
    mapfile -t list < <(lines "$kind" "$keys" "$mirror" "${suites[@]}")
    read_indexes "$archive" "${list[@]}"
    from "$archive" "$@"
}

if command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
    if [[ -r $DEBIAN_KEYS ]] || "$here/../../../tools/setup/need.sh" debian-archive-keyring; then
        if [[ $package == linux-source ]]; then
            ! try linux deb "$DEBIAN_KEYS" "$DEBIAN" "${LINUX_SUITES[*]}" "$@" || exit 0
        else
            ! try debian deb-src "$DEBIAN_KEYS" "$DEBIAN" "${DEBIAN_SUITES[*]}" "$@" || exit 0
            if keys=$(ubuntu_keys); then
                ! try ubuntu deb-src "$keys" "$UBUNTU" "${UBUNTU_SUITES[*]}" "$@" || exit 0
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
