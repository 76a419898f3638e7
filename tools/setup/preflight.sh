#!/bin/bash
# preflight.sh run|test|bench|check|fuzz|setup: what `make` does before anything is built.
#
# Checks the values of the variables and everything that is needed, in seconds, and tells all that is missing in one list: what
# will be installed, how large it is, and how long the rest takes. Then it installs. It is silent when nothing is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=tools/setup/root.sh
source tools/setup/root.sh
# shellcheck source=tools/setup/packages.sh
source tools/setup/packages.sh

readonly goal=${1:-setup}
readonly target=${CARGO_TARGET_DIR:-target}
# Packages of the test suites that are not to be had everywhere: those suites are then skipped, and say so.
readonly SUITE_PACKAGES=tests/conformance/packages
# MB that a command's files take, and minutes on two cores, downloads not counted.
declare -Ar MEGABYTES=([run]=1600 [test]=6500 [bench]=3500 [check]=2500 [fuzz]=2500 [setup]=0)
declare -Ar MINUTES=([run]=5 [test]=35 [bench]=15 [check]=6 [fuzz]=10 [setup]=0)
# MB that must be free when everything was built once.
readonly LEAST_MEGABYTES=300

wrong=() person=() install=() packages=()

# one_of VARIABLE VALUE...: the variable, if set, has one of these values.
one_of() {
    local name=$1 value
    shift
    for value in "$@" ''; do
        [[ ${!name:-} != "$value" ]] || return 0
    done
    wrong+=("$name=${!name} is none of: $*")
}

# a_file VARIABLE
a_file() {
    [[ -z ${!1:-} || -f ${!1} ]] || wrong+=("$1=${!1}: there is no such file")
}

# a_number VARIABLE
a_number() {
    [[ ${!1:-0} =~ ^[0-9]+$ ]] || wrong+=("$1=${!1} is no number of seconds")
}

check_values() {
    one_of GUEST linux payload ovmf
    one_of LINUX linux-new linux-6.12
    one_of KERNEL_FAULT skip_zeroing skip_flush skip_ledger_check
    one_of INTERACTIVE 0 1
    one_of VOUCHSAFE_NO_INSTALL 0 1
    a_file LINUX_KERNEL
    a_file LINUX_INITRD
    a_file OVMF
    a_number STAGE_SECONDS
    a_number FUZZ_SECONDS
    [[ -z ${KERNEL_FAULT:-} || ${GUEST:-linux} == payload ]] || wrong+=("KERNEL_FAULT is for GUEST=payload")
    [[ -z ${LINUX_KERNEL:-} || -n ${LINUX_INITRD:-} ]] || wrong+=("LINUX_KERNEL needs LINUX_INITRD: an initrd has the modules of one kernel")
    local suite
    for suite in ${SUITES:-}; do
        one_of_suites "$suite"
    done
}

one_of_suites() {
    [[ " host emulated guests workflow $(suites) " == *" $1 "* ]] ||
        wrong+=("SUITES: there is no suite $1; there are: host emulated guests workflow $(suites)")
}

suites() {
    local run names=()
    for run in tests/conformance/*/run; do
        names+=("$(basename "$(dirname "$run")")")
    done
    printf '%s' "${names[*]}"
}

# sort_out LINES: what rust.sh and qemu.sh say is missing.
sort_out() {
    local line
    while IFS= read -r line; do
        case $line in
        'person '*) person+=("${line#person }") ;;
        'install '*) install+=("${line#install }") ;;
        'package '*) packages+=("${line#package }") ;;
        esac
    done <<<"$1"
}

# wants_suite NAME
wants_suite() {
    [[ -z ${SUITES:-} || " $SUITES " == *" $1 "* ]]
}

check_needs() {
    sort_out "$(tools/setup/rust.sh check)"
    local wanted=(make git)
    command -v cc >/dev/null || wanted+=(gcc libc6-dev)
    command -v tar >/dev/null || wanted+=(tar)
    case $goal in
    run | test | bench | setup) sort_out "$(tools/setup/qemu.sh check)" ;;
    esac
    has_packages || return 0
    if [[ $goal != check && $goal != fuzz && -z ${LINUX_KERNEL:-} && ! -r /usr/share/keyrings/debian-archive-keyring.gpg ]]; then
        wanted+=(debian-archive-keyring)
    fi
    # shellcheck disable=SC2046 # one word for each package
    case $goal in
    test | bench | setup) wanted+=($(suite_packages)) ;;
    esac
    # cc may come from elsewhere; so may make and git.
    local package
    while IFS= read -r package; do
        case $package in
        '') ;;
        make | git) command -v "$package" >/dev/null || packages+=("$package") ;;
        *) packages+=("$package") ;;
        esac
    done < <(missing_packages "${wanted[@]}")
}

# Each line of the file is "SUITE PACKAGE...".
suite_packages() {
    local suite rest
    while read -r suite rest; do
        [[ $suite == '#'* ]] || ! wants_suite "$suite" || printf '%s\n' "$rest"
    done <"$SUITE_PACKAGES"
}

# MB that are free where things are built.
free_megabytes() {
    mkdir -p "$target"
    df --output=avail --block-size=1000000 "$target" | tail -n 1 | tr -d ' '
}

is_built() {
    case $goal in
    run) [[ -x $target/release/workflow ]] ;;
    test) [[ -x $target/release/end_to_end && -d $target/debug ]] ;;
    *) [[ -d $target/release || -d $target/debug ]] ;;
    esac
}

check_disk() {
    local free needed=${MEGABYTES[$goal]}
    ! is_built || needed=$LEAST_MEGABYTES
    free=$(free_megabytes)
    ((free >= needed)) || person+=("$needed MB of disk for $target; $free MB are free")
}

# What has to come over the network, and cannot.
check_network() {
    local host=${VOUCHSAFE_MIRROR:-http://deb.debian.org/debian}
    host=${host#*://}
    [[ ${VOUCHSAFE_MIRROR:-} != file:* ]] || return 0
    ! getent ahosts "${host%%[:/]*}" >/dev/null 2>&1 || return 0
    if [[ ${#packages[@]} != 0 || ${#install[@]} != 0 ]] || ! is_built; then
        person+=("a network: the name ${host%%[:/]*} has no address here. What is missing has to be downloaded")
    fi
}

# list TITLE LINE...
list() {
    local title=$1
    shift
    [[ $# == 0 ]] || { printf '  %s\n' "$title"; printf '    %s\n' "$@"; } >&2
}

leave_out_unavailable() {
    [[ ${#packages[@]} != 0 && ${VOUCHSAFE_NO_INSTALL:-} != 1 ]] || return 0
    compgen -G '/var/lib/apt/lists/*Packages*' >/dev/null || return 0
    local absent
    mapfile -t absent < <(not_offered "${packages[@]}")
    [[ ${#absent[@]} != 0 ]] || return 0
    say "apt offers no ${absent[*]} here; the suites that need them are skipped"
    mapfile -t packages < <(comm -23 <(printf '%s\n' "${packages[@]}" | sort) <(printf '%s\n' "${absent[@]}" | sort))
}

tell() {
    say "make $goal needs more than is here:"
    list 'to be installed:' ${packages[@]+"packages, by apt: ${packages[*]}"} ${install[@]+"${install[@]}"}
    list 'left to you:' ${person[@]+"${person[@]}"}
    is_built || list 'then:' "about ${MINUTES[$goal]} minutes on 2 cores, downloads not counted; ${MEGABYTES[$goal]} MB in $target"
}

check_values
if [[ ${#wrong[@]} != 0 ]]; then
    say "make $goal cannot begin; make help says what can be set:"
    printf '    %s\n' "${wrong[@]}" >&2
    exit 2
fi
check_needs
check_disk
check_network
leave_out_unavailable
if [[ ${#packages[@]} == 0 && ${#install[@]} == 0 && ${#person[@]} == 0 ]]; then
    # They keep what they found in stamps.
    tools/setup/rust.sh
    [[ $goal == check || $goal == fuzz ]] || tools/setup/qemu.sh
    is_built || [[ $goal == setup ]] || say "everything is here; about ${MINUTES[$goal]} minutes on 2 cores the first time, ${MEGABYTES[$goal]} MB in $target"
    exit 0
fi
tell
if [[ ${#person[@]} != 0 ]]; then
    exit 1
fi
if [[ ${VOUCHSAFE_NO_INSTALL:-} == 1 ]]; then
    say "nothing is installed (VOUCHSAFE_NO_INSTALL=1)"
    [[ ${#packages[@]} == 0 ]] || tell_commands "$APT_UPDATE" "$(apt_install "${packages[@]}")"
    [[ "${install[*]}" != *Rust* ]] || tools/setup/rust.sh || true
    [[ "${install[*]}" != *QEMU* ]] || tools/setup/qemu.sh || true
    exit 1
fi
if [[ ${#packages[@]} != 0 ]]; then
    as_root "installing ${#packages[@]} package(s)" "$APT_UPDATE" "$(apt_install "${packages[@]}")" || exit 1
fi
tools/setup/rust.sh
[[ $goal == check || $goal == fuzz ]] || tools/setup/qemu.sh
