# shellcheck shell=bash
# Sourced by the set-up scripts: how they speak, and how they do what needs root.
#
# VOUCHSAFE_NO_INSTALL=1 makes every set-up script check only, and name the commands that it would have run.

say() {
    printf 'setup: %s\n' "$*" >&2
}

# Names, one a line, the commands that a person has to run as root.
tell_commands() {
    say "as root, run:"
    printf '    %s\n' "$@" >&2
}

# as_root WHAT COMMAND...: announces WHAT and runs each COMMAND, a line of shell, as root. Fails, having named all
# commands, where it may not, cannot, or one of them fails.
as_root() {
    local what=$1 command prefix=()
    shift
    if [[ ${VOUCHSAFE_NO_INSTALL:-} == 1 ]]; then
        say "$what is left to you (VOUCHSAFE_NO_INSTALL=1)"
        tell_commands "$@"
        return 1
    fi
    if [[ $(id -u) != 0 ]]; then
        if ! command -v sudo >/dev/null; then
            say "$what needs root, and there is no sudo"
            tell_commands "$@"
            return 1
        fi
        prefix=(sudo)
        # Without a terminal nobody can answer a question for a password.
        [[ -t 0 ]] || prefix+=(-n)
        if ! "${prefix[@]}" true 2>/dev/null; then
            say "$what needs root, and $(id -un) may not use sudo here"
            tell_commands "$@"
            return 1
        fi
    fi
    say "$what ..."
    for command in "$@"; do
        if "${prefix[@]}" sh -c "$command" </dev/null >&2; then
            continue
        elif [[ $command == "$APT_UPDATE" ]]; then
            # One unreachable source of many: what is needed may still be there.
            say "apt could not read all package lists; going on with those that it has"
        else
            say "$what failed at: $command"
            tell_commands "$@"
            return 1
        fi
    done
}

readonly APT_UPDATE='apt-get update'

# The line of shell that installs packages; waits for another apt to finish, and asks nothing.
apt_install() {
    printf 'DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends %s' "$*"
}
