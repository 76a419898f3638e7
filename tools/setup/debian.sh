# shellcheck shell=bash
# Sourced by guests.sh: reads Debian's archive with an apt of its own, which touches nothing of the system and needs no rights.
#
# apt checks the indexes' signatures with Debian's keyring, and each package's SHA-256 with the index. There are two groups of
# suites: `stable` keeps its versions, `sid` does not and is only for test rows. Needs $folder, and root.sh.

readonly MIRROR=${VOUCHSAFE_MIRROR:-http://deb.debian.org/debian}
readonly KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
readonly UNAVAILABLE=75
# The indexes are read again when they are older than this.
readonly FRESH_MINUTES=720

unavailable() {
    say "$*"
    exit "$UNAVAILABLE"
}

# use_group stable|sid: which suites everything below means.
use_group() {
    group=$1
    apt=$folder/apt-$group
    case $group in
    stable) suites=(trixie trixie-backports) ;;
    sid) suites=(sid) ;;
    esac
    read_indexes
}

run_apt() {
    local program=$1
    shift
    LC_ALL=C "$program" -q -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null -o Dir::State="$apt/state" \
        -o Dir::State::status=/dev/null -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root \
        -o APT::Architecture=amd64 -o APT::Architectures=amd64 -o Acquire::Languages=none -o Acquire::Retries=1 \
        -o Acquire::http::Timeout=20 -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
        -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false "$@"
}

# What apt says went wrong, in one line.
apt_reason() {
    grep -m 1 '^E:' "$1" || grep -m 1 '^W: Failed' "$1" || tail -n 1 "$1"
}

# Whether the host of the mirror has an address here.
has_network() {
    local host=${MIRROR#*://}
    [[ $MIRROR != *://* || $MIRROR == file:* ]] || getent ahosts "${host%%[:/]*}" >/dev/null 2>&1
}

# The stamp holds the mirror that the indexes came from, and is written only when every suite was read.
read_indexes() {
    local stamp=$apt/stamp
    if [[ -n $(find "$stamp" -mmin -"$FRESH_MINUTES" 2>/dev/null) && $(<"$stamp") == "$MIRROR" ]]; then
        return
    fi
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
        unavailable "stock guests come as Debian packages, and there is no apt here to check and unpack them"
    [[ -r $KEYRING ]] || "$here/need.sh" debian-archive-keyring ||
        unavailable "there is no $KEYRING to check Debian's signatures with"
    mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial"
    local suite
    for suite in "${suites[@]}"; do
        printf 'deb [arch=amd64 signed-by=%s] %s %s main\n' "$KEYRING" "$MIRROR" "$suite"
    done >"$apt/sources.list"
    if ! has_network; then
        without_indexes "no network: the name of $MIRROR has no address here"
        return
    fi
    say "reading the indexes of $MIRROR (${suites[*]}) ..."
    if run_apt apt-get -o APT::Update::Error-Mode=any update >"$apt/log" 2>&1; then
        printf '%s\n' "$MIRROR" >"$stamp"
        return
    fi
    without_indexes "$MIRROR cannot be read: $(apt_reason "$apt/log")"
}

# without_indexes REASON: goes on with indexes of an earlier time, or with nothing.
without_indexes() {
    offline=$1
    if compgen -G "$apt/state/lists/*_Packages" >/dev/null; then
        say "$1; going on with what was read before"
    else
        say "$1"
    fi
}

# versions PACKAGE SUITE...: the versions of a package that these suites have, newest first. Each line of madison is
# "package | version | mirror suite/component architecture Packages".
versions() {
    local package=$1 suite pattern=
    shift
    for suite in "$@"; do
        pattern+="${pattern:+|} $suite/"
    done
    run_apt apt-cache madison "$package" 2>/dev/null | grep -E "$pattern" | awk -F ' *[|] *' '{ print $2 }' | sort -rVu || true
}

# The packages `NAME=VERSION` that PACKAGE=VERSION depends on in exactly one version: the parts of one kernel.
parts() {
    run_apt apt-cache show "$1" | sed -n 's/^Depends: //p' | tr ',' '\n' |
        sed -nE 's/^ *(linux-(image|binary|modules)-[^ ]+) \(= ([^)]+)\)$/\1=\3/p'
}

# closure PACKAGE...: the packages `NAME=VERSION` that an empty system would need for these.
closure() {
    run_apt apt-get install --simulate --no-install-recommends "$@" 2>"$apt/log" |
        sed -nE 's/^Inst ([^ ]+) \(([^ ]+) .*/\1=\2/p'
}

# The size of what is still to be downloaded, in MB: each line is "'URI' file bytes hash".
megabytes() {
    run_apt apt-get download --print-uris "$@" 2>/dev/null | awk '{ sum += $3 } END { printf "%d", (sum + 999999) / 1000000 }'
}

# fetch NAME PACKAGE=VERSION...: downloads (apt checks the hash) and unpacks into $folder/NAME.new/root. What was downloaded
# stays in $folder/NAME.packages until `finish`, so that a second try downloads nothing again.
fetch() {
    local name=$1 work=$folder/$1.new packages=$folder/$1.packages total package
    shift
    rm -rf "$work"
    mkdir -p "$work/root" "$packages"
    [[ -z ${offline:-} ]] || unavailable "$name is not here yet, and cannot be downloaded: $offline"
    total=$(megabytes "$@")
    say "downloading $name: $# package(s), $total MB ..."
    watch_folder "$packages" "$total" &
    local watcher=$! status=0
    (cd "$packages" && run_apt apt-get download "$@" >"$apt/log" 2>&1) || status=$?
    kill "$watcher" 2>/dev/null || true
    wait "$watcher" 2>/dev/null || true
    [[ $status == 0 ]] || unavailable "$name cannot be downloaded: $(apt_reason "$apt/log")"
    for package in "$packages"/*.deb; do
        dpkg-deb --extract "$package" "$work/root" || unavailable "$name cannot be unpacked; is the disk full?"
    done
}

# watch_folder FOLDER MB: on a terminal, shows how far a download is and how long it still takes.
watch_folder() {
    [[ -t 2 && $2 -gt 0 ]] || return 0
    local done_mb start=$SECONDS left
    while sleep 1; do
        done_mb=$(du -s --block-size=1000000 "$1" 2>/dev/null | cut -f 1)
        left=$(((SECONDS - start) * ($2 - done_mb) / (done_mb > 0 ? done_mb : 1)))
        printf '\r\033[K    %d of %d MB, about %d s left' "$done_mb" "$2" "$((left > 0 ? left : 0))" >&2
        ((done_mb < $2)) || break
    done
    printf '\r\033[K' >&2
}

# finish NAME VERSION: what was unpacked takes the place of what was there.
finish() {
    printf '%s\n' "$2" >"$folder/$1.new/version"
    rm -rf "$folder/$1.new/root" "${folder:?}/$1.packages" "${folder:?}/$1"
    mv "$folder/$1.new" "$folder/$1"
    say "$1 is $2"
}

# is_there NAME VERSION; without network and index, whatever version is there will do.
is_there() {
    [[ -r $folder/$1/version ]] || return 1
    [[ -n $2 ]] || { [[ -n ${offline:-} ]] && return 0; }
    [[ $(<"$folder/$1/version") == "$2" ]]
}
