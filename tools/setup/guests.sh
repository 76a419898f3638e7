#!/bin/bash
# guests.sh NAME...: fetches other people's guests from Debian's archive and unpacks them, without installing anything:
#
#   linux-6.12   the newest 6.12 kernel of bookworm-backports and trixie
#   linux-new    the newest kernel of bookworm-backports, trixie-backports and sid
#   ovmf         OVMF.amdsev.fd of sid
#   busybox      the static busybox of trixie, for a shell
#   tpm2-tools   the newest tpm2-tools, with all libraries that they need
#   tpm-svsm     the module tpm_svsm for linux-new, which Debian does not build: made from Debian's own source with
#                Debian's own compiler, in a root folder of their own
#
# Each NAME becomes the folder target/guests/NAME (VOUCHSAFE_GUESTS names another place for all of them): `vmlinuz` and
# `modules/`, `OVMF.amdsev.fd`, `busybox`, `tree/`, or `tpm_svsm.ko`, and `version`. apt does the work, with a configuration of its own: it checks the
# indexes' signatures with Debian's keyring and each package's SHA-256 with the index. Status 75 says that a guest cannot
# be had here, and the last line on stderr why; the tests report it as skipped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/setup/root.sh
source "$here/root.sh"

readonly MIRROR=${VOUCHSAFE_MIRROR:-http://deb.debian.org/debian}
readonly KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
readonly SUITES_612=(bookworm-backports trixie) SUITES_NEW=(bookworm-backports trixie-backports sid)
readonly SUITES=(bookworm-backports trixie trixie-backports sid)
readonly KERNEL=linux-image-cloud-amd64 UNAVAILABLE=75
# The indexes are read again when they are older than this.
readonly FRESH_MINUTES=720
folder=${VOUCHSAFE_GUESTS:-${CARGO_TARGET_DIR:-$here/../../target}/guests}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
readonly folder apt=$folder/apt

unavailable() {
    say "$*"
    exit "$UNAVAILABLE"
}

# Several tests may ask at once.
exec 7>"$folder/lock"
flock 7

# run_apt PROGRAM ARGUMENT...: an apt that knows nothing but Debian's suites, and touches nothing of the system.
run_apt() {
    local program=$1
    shift
    LC_ALL=C "$program" -q -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null -o Dir::State="$apt/state" \
        -o Dir::State::status=/dev/null -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root \
        -o APT::Architecture=amd64 -o APT::Architectures=amd64 -o Acquire::Languages=none -o Acquire::Retries=3 \
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
        -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false "$@"
}

# The stamp holds the mirror that the indexes came from.
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
    for suite in "${SUITES[@]}"; do
        printf 'deb [arch=amd64 signed-by=%s] %s %s main\n' "$KEYRING" "$MIRROR" "$suite"
    done >"$apt/sources.list"
    say "reading the indexes of $MIRROR ..."
    run_apt apt-get update >"$apt/log" 2>&1 ||
        say "some indexes could not be read: $(grep -m 1 '^E:' "$apt/log" || tail -n 1 "$apt/log")"
    printf '%s\n' "$MIRROR" >"$stamp"
}

# versions PACKAGE SUITE...: the versions of a package that these suites have, newest first. Each line of madison is
# "package | version | mirror suite/component architecture Packages".
versions() {
    local package=$1 suite pattern=
    shift
    for suite in "$@"; do
        pattern+="${pattern:+|} $suite/"
    done
    run_apt apt-cache madison "$package" | grep -E "$pattern" | awk -F ' *[|] *' '{ print $2 }' | sort -rVu
}

# The packages `NAME=VERSION` that PACKAGE=VERSION depends on in exactly one version: the parts of one kernel.
parts() {
    run_apt apt-cache show "$1" | sed -n 's/^Depends: //p' | tr ',' '\n' |
        sed -nE 's/^ *(linux-(image|binary|modules)-[^ ]+) \(= ([^)]+)\)$/\1=\3/p'
}

# fetch NAME PACKAGE=VERSION...: downloads (apt checks the hash) and unpacks into $folder/NAME.new.
fetch() {
    local name=$1 work=$folder/$1.new package
    shift
    rm -rf "$work"
    mkdir -p "$work/root" "$work/packages"
    say "downloading $* ..."
    (cd "$work/packages" && run_apt apt-get download "$@" >"$apt/log" 2>&1) ||
        unavailable "$name cannot be downloaded: $(grep -m 1 '^E:' "$apt/log" || tail -n 1 "$apt/log")"
    for package in "$work"/packages/*.deb; do
        dpkg-deb --extract "$package" "$work/root"
    done
    rm -rf "$work/packages"
}

# finish NAME VERSION: what was unpacked takes the place of what was there.
finish() {
    printf '%s\n' "$2" >"$folder/$1.new/version"
    rm -rf "$folder/$1.new/root" "${folder:?}/$1"
    mv "$folder/$1.new" "$folder/$1"
    say "$1 is $2"
}

is_there() {
    [[ -r $folder/$1/version && $(<"$folder/$1/version") == "$2" ]]
}

# kernel NAME PATTERN SUITE...: the newest kernel of the suites whose version matches.
kernel() {
    local name=$1 pattern=$2 version packages=() last=("$KERNEL")
    shift 2
    version=$(versions "$KERNEL" "$@" | grep -E -m 1 "$pattern") ||
        unavailable "$MIRROR has no kernel that matches $pattern in $*"
    if is_there "$name" "$version"; then
        return
    fi
    last=("$KERNEL=$version")
    # The package of the name depends on that of the version, and since 7.x that one on two more.
    while [[ ${#last[@]} != 0 ]]; do
        packages+=("${last[@]}")
        mapfile -t last < <(for package in "${last[@]}"; do parts "$package"; done)
    done
    fetch "$name" "${packages[@]}"
    local work=$folder/$name.new
    # The image lies in /boot, or since 7.x among the modules.
    mv "$(find "$work/root" -name 'vmlinuz*' -type f)" "$work/vmlinuz"
    mv "$(find "$work/root" -path '*/lib/modules/*' -prune -type d)" "$work/modules"
    finish "$name" "$version"
}

# file NAME PACKAGE FILE SUITE: one file of a package.
file() {
    local name=$1 package=$2 wanted=$3 suite=$4 version
    version=$(versions "$package" "$suite" | head -n 1)
    [[ -n $version ]] || unavailable "$MIRROR has no $package in $suite"
    if is_there "$name" "$version"; then
        return
    fi
    fetch "$name" "$package=$version"
    mv "$(find "$folder/$name.new/root" -name "$wanted" -type f -size +64k)" "$folder/$name.new/"
    finish "$name" "$version"
}

# closure PACKAGE...: the packages `NAME=VERSION` that an empty system would need for these, newest versions first.
closure() {
    run_apt apt-get install --simulate --no-install-recommends "$@" 2>"$apt/log" |
        sed -nE 's/^Inst ([^ ]+) \(([^ ]+) .*/\1=\2/p'
}

# tools NAME PACKAGE MORE...: packages with all that they need, as the folder `tree`.
tools() {
    local name=$1 version packages
    shift
    version=$(versions "$1" "${SUITES[@]}" | head -n 1)
    [[ -n $version ]] || unavailable "$MIRROR has no $1"
    if is_there "$name" "$version"; then
        return
    fi
    mapfile -t packages < <(closure "$@")
    [[ ${#packages[@]} != 0 ]] || unavailable "$name: $(grep -m 1 '^E:' "$apt/log" || tail -n 1 "$apt/log")"
    fetch "$name" "${packages[@]}"
    mv "$folder/$name.new/root" "$folder/$name.new/tree"
    finish "$name" "$version"
}

# in_root ROOT COMMAND...: runs a command in a folder that holds a system, with no rights beyond the caller's.
in_root() {
    local root=$1
    shift
    # shellcheck disable=SC2016 # expanded by the inner shell
    unshare --map-root-user --mount sh -eu -c \
        'mount --rbind /dev "$0/dev"; mount --rbind /proc "$0/proc"; cd /; exec env -i PATH=/usr/bin:/usr/sbin LC_ALL=C chroot "$0" "$@"' "$root" "$@"
}

# The module tpm_svsm for the kernel that linux-new is.
tpm_svsm() {
    local name=tpm-svsm version release packages root
    kernel linux-new . "${SUITES_NEW[@]}"
    version=$(<"$folder/linux-new/version")
    if is_there "$name" "$version"; then
        return
    fi
    release=$(run_apt apt-cache show "$KERNEL=$version" | sed -nE 's/^Depends: .*linux-image-([^ ]+) .*/\1/p')
    local source=linux-source-${version%%.*}.$(cut -d . -f 2 <<<"$version")
    mapfile -t packages < <(closure "linux-headers-$release=$version" binutils make dash coreutils sed grep mawk findutils diffutils)
    [[ ${#packages[@]} != 0 ]] || unavailable "$name: $(grep -m 1 '^E:' "$apt/log" || tail -n 1 "$apt/log")"
    fetch "$name" "${packages[@]}" "$source=$version"
    root=$folder/$name.new/root
    say "building tpm_svsm for $release ..."
    mkdir -p "$root"/{dev,module,proc,tmp}
    tar --extract --xz --file "$root/usr/src/$source.tar.xz" --directory "$root/module" --strip-components=4 \
        "$source/drivers/char/tpm/tpm.h" "$source/drivers/char/tpm/tpm_svsm.c"
    printf 'obj-m := tpm_svsm.o\n' >"$root/module/Makefile"
    # What the packages' own installation would link.
    ln -sfn mawk "$root/usr/bin/awk"
    [[ -e $root/usr/bin/sh ]] || ln -s dash "$root/usr/bin/sh"
    local part
    for part in bin sbin lib lib64; do
        [[ -e $root/$part ]] || ln -s "usr/$part" "$root/$part"
    done
    in_root "$root" make -C "/usr/src/linux-headers-$release" M=/module modules >"$apt/log" 2>&1 ||
        unavailable "$name cannot be built here: $(grep -m 1 -iE 'error|not permitted|fail' "$apt/log" || tail -n 1 "$apt/log")"
    mv "$root/module/tpm_svsm.ko" "$folder/$name.new/"
    finish "$name" "$version"
}

read_indexes
for name in "$@"; do
    case $name in
    linux-6.12) kernel "$name" '^6\.12\.' "${SUITES_612[@]}" ;;
    linux-new) kernel "$name" . "${SUITES_NEW[@]}" ;;
    ovmf) file ovmf ovmf-amdsev OVMF.amdsev.fd sid ;;
    busybox) file busybox busybox-static busybox trixie ;;
    tpm2-tools) tools tpm2-tools tpm2-tools libtss2-tcti-device0t64 ;;
    tpm-svsm) tpm_svsm ;;
    *)
        say "there is no guest $name; there are linux-6.12, linux-new, ovmf, busybox, tpm2-tools and tpm-svsm"
        exit 2
        ;;
    esac
done
