# shellcheck shell=bash
# Sourced by the suites' programs `run`: packages first, then the cases of runner.py.
runner=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# need_packages_of SUITE: gets what the file `packages` lists for the suite.
need_packages_of() {
    # shellcheck disable=SC2046 # one word for each package
    need $(sed -n "s/^$1 //p" "$runner/../packages")
}

# need PACKAGE...: gets packages. Where apt offers none of that name, the suite is skipped, and its results say why.
need() {
    local status=0 reason
    reason=$("$runner/../../../tools/setup/need.sh" "$@") || status=$?
    case $status in
    0) ;;
    75)
        printf 'skipped: %s\n' "$reason"
        [[ -z ${VOUCHSAFE_RESULTS:-} ]] || printf 'skipped\tall cases\t%s\n' "$reason" >>"$VOUCHSAFE_RESULTS"
        exit 0
        ;;
    *)
        [[ -z ${VOUCHSAFE_RESULTS:-} ]] || printf 'failed\tall cases\tits packages are not all installed: %s\n' "$*" >>"$VOUCHSAFE_RESULTS"
        exit "$status"
        ;;
    esac
}

# run_cases SUITE ARGUMENT...: runs the cases of the suite in this folder.
run_cases() {
    exec python3 - "$@" <<'PROGRAM'
import pathlib, sys
suite = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(suite.parent))
sys.dont_write_bytecode = True
from tpm_runner import runner
sys.exit(runner.main(sys.argv[2:], suite))
PROGRAM
}
