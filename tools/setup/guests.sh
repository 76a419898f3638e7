#!/bin/bash
# guests.sh NAME...: fetches other people's guests from Debian's archive and unpacks them, without installing anything:
#
#   linux-6.12   the 6.12 kernel of trixie
#   linux-new    the kernel of trixie-backports
#   linux-sid    the kernel of sid, for a test row
#   ovmf         OVMF.amdsev.fd of sid: no other suite has a build for SEV
#   ovmf-sid     the same, for the test row that notes its version
#   busybox      the static busybox of trixie, for a shell
#   tpm2-tools   trixie's tpm2-tools, with all libraries that they need
#   tpm-svsm     the module tpm_svsm for linux-new, which Debian does not build: made from Debian's own source with
#                Debian's own compiler, in a root folder of their own
#
# Each NAME becomes the folder target/guests/NAME (VOUCHSAFE_GUESTS names another place for all of them): `vmlinuz` and
# `modules/`, `OVMF.amdsev.fd`, `busybox`, `tree/`, or `tpm_svsm.ko`, and `version`. Status 75 says that a guest cannot be had
# here, and the last line on stderr why; the tests report it as skipped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=${VOUCHSAFE_GUESTS:-${CARGO_TARGET_DIR:-$here/../../target}/guests}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
# shellcheck source=tools/setup/root.sh
source "$here/root.sh"
# shellcheck source=tools/setup/debian.sh
source "$here/debian.sh"
# shellcheck source=tools/setup/foreign_root.sh
source "$here/foreign_root.sh"

readonly KERNEL=linux-image-cloud-amd64

# Several tests may ask at once.
exec 7>"$folder/lock"
flock 7

# kernel NAME SUITE: the kernel of a suite.
kernel() {
    local name=$1 suite=$2 version packages=() last=("$KERNEL")
    version=$(versions "$KERNEL" "$suite" | head -n 1)
    if is_there "$name" "$version"; then
        return
    fi
    [[ -n $version ]] || unavailable "${offline:-$MIRROR has no kernel in $suite}"
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
    if is_there "$name" "$version"; then
        return
    fi
    [[ -n $version ]] || unavailable "${offline:-$MIRROR has no $package in $suite}"
    fetch "$name" "$package=$version"
    mv "$(find "$folder/$name.new/root" -name "$wanted" -type f -size +64k)" "$folder/$name.new/"
    finish "$name" "$version"
}

# tools NAME PACKAGE MORE...: packages with all that they need, as the folder `tree`.
tools() {
    local name=$1 version packages
    shift
    version=$(versions "$1" "${suites[@]}" | head -n 1)
    if is_there "$name" "$version"; then
        return
    fi
    [[ -n $version ]] || unavailable "${offline:-$MIRROR has no $1}"
    mapfile -t packages < <(closure "$@")
    [[ ${#packages[@]} != 0 ]] || unavailable "$name: $(apt_reason "$apt/log")"
    fetch "$name" "${packages[@]}"
    mv "$folder/$name.new/root" "$folder/$name.new/tree"
    finish "$name" "$version"
}

# The module tpm_svsm for the kernel that linux-new is.
tpm_svsm() {
    local name=tpm-svsm version release packages root
    kernel linux-new trixie-backports
    version=$(<"$folder/linux-new/version")
    if is_there "$name" "$version"; then
        return
    fi
    release=$(run_apt apt-cache show "$KERNEL=$version" | sed -nE 's/^Depends: .*linux-image-([^ ]+) .*/\1/p')
    local source=linux-source-${version%%.*}.$(cut -d . -f 2 <<<"$version")
    mapfile -t packages < <(closure "linux-headers-$release=$version" binutils make dash coreutils sed grep mawk findutils diffutils tar xz-utils)
    [[ ${#packages[@]} != 0 ]] || unavailable "$name: $(apt_reason "$apt/log")"
    fetch "$name" "${packages[@]}" "$source=$version"
    root=$folder/$name.new/root
    say "building tpm_svsm for $release ..."
    prepare_root "$root"
    mkdir -p "$root/module"
    cat >"$root/module/build.sh" <<END
set -eu
tar --extract --xz --no-same-owner --file /usr/src/$source.tar.xz --directory /module --strip-components=4 \
    $source/drivers/char/tpm/tpm.h $source/drivers/char/tpm/tpm_svsm.c
printf 'obj-m := tpm_svsm.o\n' >/module/Makefile
make -C /usr/src/linux-headers-$release M=/module abs_srctree=/usr/src/linux-headers-${release%-cloud-amd64}-common modules
END
    if ! in_root "$root" "$apt/log" sh /module/build.sh; then
        [[ -z ${V:-} ]] || cat "$apt/log" >&2
        unavailable "$name cannot be built here: $(build_reason "$apt/log"); all of it is in $apt/log"
    fi
    mv "$root/module/tpm_svsm.ko" "$folder/$name.new/"
    finish "$name" "$version"
}

# The first line that names a cause.
build_reason() {
    grep -m 1 -iE 'not found|no such|not permitted|denied|no space|error' "$1" || tail -n 1 "$1"
}

# get NAME
get() {
    case $1 in
    linux-6.12) use_group stable && kernel "$1" trixie ;;
    linux-new) use_group stable && kernel "$1" trixie-backports ;;
    linux-sid) use_group sid && kernel "$1" sid ;;
    ovmf) use_group sid && file ovmf ovmf-amdsev OVMF.amdsev.fd sid ;;
    ovmf-sid) use_group sid && file ovmf-sid ovmf-amdsev OVMF.amdsev.fd sid ;;
    busybox) use_group stable && file busybox busybox-static busybox trixie ;;
    tpm2-tools) use_group stable && tools tpm2-tools tpm2-tools libtss2-tcti-device0t64 ;;
    tpm-svsm) use_group stable && tpm_svsm ;;
    *)
        say "there is no guest $1; there are linux-6.12, linux-new, linux-sid, ovmf, ovmf-sid, busybox, tpm2-tools and tpm-svsm"
        exit 2
        ;;
    esac
}

for name in "$@"; do
    get "$name"
done
