#!/bin/bash
# step.sh NUMBER/OF TEXT COMMAND...: runs one step of a build, and shows how far it is.
#
# What the command prints is kept in a file, and shown whole when it fails; V=1 shows it as it comes. On a terminal a line says
# how far cargo is, by its own progress bar, and about how long it still takes.
set -uo pipefail
readonly number=$1 text=$2
shift 2
readonly log=${CARGO_TARGET_DIR:-target}/setup/step-${number%/*}-$$.log
mkdir -p "$(dirname "$log")"
trap 'rm -f "$log"' EXIT

if [[ -t 2 && -z ${NO_COLOR:-} ]]; then
    bold=$'\e[1m' red=$'\e[31m' plain=$'\e[0m'
else
    bold='' red='' plain=''
fi
printf '%s[%s]%s %s\n' "$bold" "$number" "$plain" "$text" >&2

if [[ -n ${V:-} ]]; then
    printf '    %s\n' "$*" >&2
    exec "$@" >&2
fi

# show: reads cargo's progress and shows it until the command ends. Cargo writes "Building [===> ] 12/85: ..." between returns.
show() {
    local part begun=$SECONDS done_units=0 units=0 left
    while IFS= read -r -d $'\r' part; do
        [[ $part =~ \]\ ([0-9]+)/([0-9]+) ]] || continue
        ((BASH_REMATCH[1] != done_units)) || continue
        done_units=${BASH_REMATCH[1]} units=${BASH_REMATCH[2]}
        left=$(((SECONDS - begun) * (units - done_units) / (done_units > 0 ? done_units : 1)))
        printf '\r\e[K    %d of %d, %d s so far, about %d s left' "$done_units" "$units" "$((SECONDS - begun))" "$left" >&2
    done
    printf '\r\e[K' >&2
}

if [[ -t 2 ]]; then
    CARGO_TERM_PROGRESS_WHEN=always CARGO_TERM_PROGRESS_WIDTH=80 "$@" 2>&1 | tee "$log" | show
    status=${PIPESTATUS[0]}
else
    "$@" >"$log" 2>&1
    status=$?
fi
if [[ $status != 0 ]]; then
    tr '\r' '\n' <"$log" | grep -v '^ *Building \[' >&2
    printf '%s[%s] failed with status %s:%s %s\n' "$red" "$number" "$status" "$plain" "$*" >&2
fi
exit "$status"
