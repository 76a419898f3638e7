#!/bin/bash
# need.sh PACKAGE...: installs the Debian or Ubuntu packages that are missing, and says so. Quick when none is.
#
# Status 75 says that a package is not offered here, and a line on stdout which.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=tools/setup/root.sh
source "$here/root.sh"
# shellcheck source=tools/setup/packages.sh
source "$here/packages.sh"

if [[ $# == 0 ]]; then
    printf 'usage: need.sh PACKAGE...\n' >&2
    exit 2
fi

if ! has_packages; then
    if [[ ${VOUCHSAFE_NO_INSTALL:-} == 1 ]]; then
        say "cannot tell without dpkg whether these are installed, going on: $*"
        exit 0
    fi
    say "this needs the Debian packages $*, and here is no apt to install them"
    say "install what they hold by other means, then set VOUCHSAFE_NO_INSTALL=1 to go on without this check"
    exit 1
fi

mapfile -t missing < <(missing_packages "$@")
if [[ ${#missing[@]} == 0 ]]; then
    exit 0
fi
if [[ ${VOUCHSAFE_NO_INSTALL:-} != 1 ]]; then
    read_package_lists
    mapfile -t absent < <(not_offered "${missing[@]}")
    if [[ ${#absent[@]} != 0 ]]; then
        printf 'apt offers no %s here\n' "${absent[*]}"
        exit 75
    fi
fi
as_root "installing ${missing[*]}" "$APT_UPDATE" "$(apt_install "${missing[@]}")"
