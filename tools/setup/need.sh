#!/bin/bash
# need.sh PACKAGE...: installs the Debian or Ubuntu packages that are missing, and says so. Quick when none is.
set -euo pipefail
# shellcheck source=tools/setup/root.sh
source "$(dirname "${BASH_SOURCE[0]}")/root.sh"

if [[ $# == 0 ]]; then
    printf 'usage: need.sh PACKAGE...\n' >&2
    exit 2
fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    if [[ ${VOUCHSAFE_NO_INSTALL:-} == 1 ]]; then
        say "cannot tell without dpkg whether these are installed, going on: $*"
        exit 0
    fi
    say "this needs the Debian packages $*, and here is no apt to install them"
    say "install what they hold by other means, then set VOUCHSAFE_NO_INSTALL=1 to go on without this check"
    exit 1
fi

missing=()
for package in "$@"; do
    state=$(dpkg-query --show --showformat='${db:Status-Abbrev}' "$package" 2>/dev/null || true)
    [[ $state == ?i* ]] || missing+=("$package")
done
if [[ ${#missing[@]} == 0 ]]; then
    exit 0
fi
as_root "installing ${missing[*]}" "$APT_UPDATE" "$(apt_install "${missing[@]}")"
