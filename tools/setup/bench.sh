#!/bin/bash
# bench.sh PACKAGE:PROGRAM...: runs what measures, one after the other. JSON lines go to stdout, and to target/results/bench.jsonl
# for `make figures`. Each program ends with 1 where a figure misses its limit, and so does this in the end, with status 3; what
# cannot be measured ends it at once.
set -uo pipefail
readonly results=${CARGO_TARGET_DIR:-target}/results
mkdir -p "$results"
: >"$results/bench.jsonl.new"
missed=0
for bench in "$@"; do
    # shellcheck disable=SC2086 # CARGO may have arguments
    ${CARGO:-cargo} run ${CI:+--locked} --quiet --release -p "${bench%%:*}" --bin "${bench##*:}" | tee -a "$results/bench.jsonl.new"
    status=${PIPESTATUS[0]}
    case $status in
    0) ;;
    1) missed=1 ;;
    75) printf 'bench: %s is left out, as its guest cannot be had here\n' "${bench##*:}" >&2 ;;
    *)
        printf 'bench: %s cannot measure: status %s\n' "${bench##*:}" "$status" >&2
        exit 2
        ;;
    esac
done
mv "$results/bench.jsonl.new" "$results/bench.jsonl"
if [[ $missed == 1 ]]; then
    printf 'bench: limits are missed\n' >&2
    exit 3
fi
