"""Runs the cases of a suite, each in a folder of its own, against a fresh TPM, under a time limit.

A case is a Bash function in `cases/*.sh` of the suite; functions that begin with `_` are its parts. `prelude.sh`
beside this file holds what cases share. A case passes when its function ends with 0; each of its commands has to.
Results go to the file named by VOUCHSAFE_RESULTS, as CONTRIBUTING.md's chapter "Tests" says.
"""

import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from . import server

HERE = pathlib.Path(__file__).resolve().parent
PRELUDE = HERE / "prelude.sh"
CASE_SECONDS = 60


@dataclasses.dataclass(frozen=True)
class Case:
    """One function, and the TCTI through which it runs."""

    file: pathlib.Path
    function: str
    tcti: str

    def name(self):
        return f"{self.tcti}: {self.function}"


def functions(file):
    """The cases that a file defines, in alphabetical order."""
    script = 'source "$1"; before=$(declare -F); source "$2"; comm -13 <(echo "$before") <(declare -F)'
    listing = subprocess.run(
        ["bash", "-c", script, "bash", PRELUDE, file], check=True, capture_output=True, text=True
    ).stdout
    names = [line.split()[-1] for line in listing.splitlines()]
    return [name for name in names if not name.startswith("_")]


def select(suite, tctis, patterns):
    """All cases of a suite. Where several TCTIs are possible, each case runs through each."""
    cases = []
    for file in sorted((suite / "cases").glob("*.sh")):
        for function in functions(file):
            if not patterns or any(pattern in function for pattern in patterns):
                cases.extend(Case(file, function, tcti) for tcti in tctis)
    return cases


def environment(running, case, folder):
    """What the prelude and the tools of a case read."""
    tpm = running.server
    tcti = f"mssim:port={tpm.mssim_port}" if case.tcti == "mssim" else f"swtpm:port={tpm.swtpm_port}"
    variables = {
        "TPM2TOOLS_TCTI": tcti,
        "TCTI_KIND": case.tcti,
        "CONTROL_PORT": str(tpm.control_port),
        "COMMAND_PORT": str(tpm.mssim_port if case.tcti == "mssim" else tpm.swtpm_port),
        "PLATFORM_PORT": str(tpm.mssim_port + 1) if tpm.mssim_port else "1",
        "RUNNER": str(HERE),
        "FLUSH_BEFORE_LOADING": "" if case_has_room(running) else "1",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LC_ALL": "C",
    }
    return os.environ | variables


def case_has_room(running):
    """Whether the TPM holds all the objects that the tools of a case leave in it."""
    return isinstance(running.server, server.Ours)


def run_case(arguments, case):
    """Runs one case. Gives `passed`, `failed` or `skipped`, a reason, and the seconds that it took."""
    started = time.monotonic()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tpm-case-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    try:
        with server.Running(arguments.against, folder, arguments.record is not None) as running:
            verdict, reason = judge(running, case, folder, arguments.seconds)
        if arguments.record:
            shutil.copyfile(folder / "server.log", arguments.record / f"{case.file.parents[1].name}.{case.function}")
    except server.ServerError as error:
        verdict, reason = "failed", str(error)
    if arguments.keep and verdict == "failed":
        reason += f" [kept in {folder}]"
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return verdict, reason, time.monotonic() - started


def judge(running, case, folder, seconds):
    """Runs a case's function and says what came of it."""
    work = folder / "work"
    work.mkdir()
    process = subprocess.Popen(
        ["bash", "-c", 'source "$1"; run_case "$2" "$3"', "bash", PRELUDE, case.file, case.function],
        cwd=work, env=environment(running, case, work), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return "failed", f"took longer than {seconds} s: {last_lines(output)}"
    if running.process.poll() is not None:
        return "failed", f"the TPM ended with {running.process.returncode}: {running.tail()}"
    if process.returncode == 0:
        return "passed", ""
    if process.returncode == 77:
        return "skipped", last_lines(output, 1)
    return "failed", last_lines(output)


def last_lines(output, count=6):
    """The end of what a case printed, on one line."""
    return " | ".join(" ".join(line.split()) for line in output.strip().splitlines()[-count:])


def parse(argv, suite):
    """The command line of a suite."""
    parser = argparse.ArgumentParser(prog=f"{suite.name}/run", description=f"Runs the suite {suite.name}.")
    parser.add_argument("--against", choices=sorted(server.KINDS), default="ours", help="the TPM that is judged")
    parser.add_argument("--tcti", choices=["swtpm", "mssim"], action="append", help="only through this TCTI")
    parser.add_argument("--jobs", type=int, default=2, help="cases at the same time")
    parser.add_argument("--seconds", type=int, default=CASE_SECONDS, help="limit for each case")
    parser.add_argument("--list", action="store_true", help="name the cases and end")
    parser.add_argument("--keep", action="store_true", help="keep the folders of failed cases")
    parser.add_argument("--record", type=pathlib.Path, metavar="FOLDER",
                        help="write there what each case sent: tests/fuzz/seeds/pack makes seeds of it")
    parser.add_argument("--durations", type=int, default=0, help="name the slowest cases at the end")
    parser.add_argument("patterns", nargs="*", help="run the cases whose names contain one of these")
    return parser.parse_args(argv)


def main(argv, suite, tctis=("swtpm", "mssim")):
    """Runs a suite; gives its exit status."""
    arguments = parse(argv, suite)
    possible = server.KINDS[arguments.against].tctis
    wanted = [tcti for tcti in arguments.tcti or tctis if tcti in possible]
    cases = select(suite, wanted, arguments.patterns)
    if arguments.list:
        print("\n".join(case.name() for case in cases))
        return 0
    if arguments.record:
        arguments.record.mkdir(parents=True, exist_ok=True)
    if not cases:
        print("no case has such a name", file=sys.stderr)
        return 2
    results_path = os.environ.get("VOUCHSAFE_RESULTS")
    outcomes = []

    def work(case):
        return case, run_case(arguments, case)

    results = open(results_path, "a", encoding="utf-8") if results_path else None
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for case, (verdict, reason, seconds) in pool.map(work, cases):
            outcomes.append((verdict, case, seconds))
            if results:
                print(verdict, case.name(), reason, sep="\t", file=results, flush=True)
            if verdict != "passed" or not results:
                print(f"{verdict} {case.name()} ({seconds:.1f} s){': ' + reason if reason else ''}", flush=True)
    return summary(outcomes, arguments.durations)


def summary(outcomes, durations):
    """Prints the sum; gives the exit status."""
    count = {verdict: sum(1 for outcome in outcomes if outcome[0] == verdict) for verdict in ("passed", "failed", "skipped")}
    for _, case, seconds in sorted(outcomes, key=lambda outcome: -outcome[2])[:durations]:
        print(f"{seconds:6.1f} s {case.name()}")
    print(f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
    return 1 if count["failed"] else 0
