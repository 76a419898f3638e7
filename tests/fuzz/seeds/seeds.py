#!/usr/bin/env python3
"""The seeds of the fuzz target tpm_execute: what other people's software sends to a TPM.

  seeds.py pack FOLDER       makes tpm_execute.txt of what `tests/conformance/*/run --record FOLDER` wrote
  seeds.py unpack FOLDER     writes a file for each seed, as the fuzz target reads it

tpm_execute.txt has the steps of a sequence line by line; kernel/tpm/tests/fuzzing/mod.rs says what bytes they are.
"""

import pathlib
import re
import sys

TEXT = pathlib.Path(__file__).resolve().parent / "tpm_execute.txt"
EVENTS = {"reset": b"\x00", "hash start": b"\x01", "hash end": b"\x03"}
COMMAND = b"\x06"
MAXIMUM_STEPS = 64
# How large the text may become: what is left out then costs most for what it adds.
MAXIMUM_DIGITS = 220_000
LARGEST_COMMAND = 1100

COMMAND_LINE = re.compile(r"\s*[\d.]+ locality \d command (\S+), \d+ bytes -> (.*), \d+ bytes")
# Commands whose template asks for an RSA key take a fuzzer's instrumented engine seconds.
MAKES_KEYS = {"CreatePrimary", "Create", "CreateLoaded"}
# Tools say it again at each start.
CHANGES_NOTHING = {"GetCapability", "ReadPublic", "NV_ReadPublic"}
RSA_AND_A_NAME = re.compile("0001000[bc]")


def read(path):
    """The steps of a recorded case, each with its pair of command and result; no steps when it is too slow for fuzzing."""
    steps, made = [], None
    for line in path.read_text(errors="replace").splitlines():
        if match := COMMAND_LINE.match(line):
            made = match.groups()
        elif line.startswith("bytes ") and made:
            step = line.removeprefix("bytes ")
            if made[0] in MAKES_KEYS and made[1] == "success" and RSA_AND_A_NAME.search(step):
                return []
            if len(step) > 2 * LARGEST_COMMAND:
                break
            if made[0] in CHANGES_NOTHING and (step, made) in steps:
                continue
            steps.append((step, made))
        elif (event := line[10:].strip()) in EVENTS:
            steps.append((event, None))
        if len(steps) == MAXIMUM_STEPS:
            break
    return steps


def pack(folder):
    """Keeps what has a pair of command and result that nothing kept before has, cheapest first, and only up to the last such."""
    cases = {path.name: read(path) for path in sorted(folder.iterdir())}
    known, kept = {None}, []
    while True:
        best, best_worth = None, 0
        for name, steps in cases.items():
            new, size = set(), 0
            for count, (step, pair) in enumerate(steps, 1):
                size += len(step)
                if pair in known or pair in new:
                    continue
                new.add(pair)
                if len(new) / size > best_worth:
                    best, best_worth = (name, count), len(new) / size
        if not best or sum(len(step) for _, steps in kept for step in steps) > MAXIMUM_DIGITS:
            break
        name, count = best
        known |= {pair for _, pair in cases[name][:count]}
        kept = [(other, steps) for other, steps in kept if other != name]
        kept.append((name, [step for step, _ in cases[name][:count]]))
    with open(TEXT, "w", encoding="ascii") as text:
        print("# Made by seeds.py. Not to be edited by hand.", file=text)
        for name, steps in sorted(kept):
            print(f"case {name}", *steps, sep="\n", file=text)
    print(f"{len(kept)} sequences with {len(known) - 1} pairs of command and result, {TEXT.stat().st_size} bytes")


def to_bytes(step):
    """A step as the fuzz target reads it."""
    if step in EVENTS:
        return EVENTS[step]
    locality, digits = step.split()
    command = bytes.fromhex(digits)
    return COMMAND + bytes([int(locality)]) + len(command).to_bytes(2, "big") + command


def unpack(folder):
    """One file for each case."""
    folder.mkdir(parents=True, exist_ok=True)
    cases = re.split(r"^case ", TEXT.read_text(encoding="ascii"), flags=re.MULTILINE)[1:]
    for case in cases:
        name, *steps = case.splitlines()
        (folder / name).write_bytes(b"".join(map(to_bytes, steps)))


def main():
    """The command line."""
    actions = {"pack": pack, "unpack": unpack}
    if len(sys.argv) != 3 or sys.argv[1] not in actions:
        sys.exit(__doc__)
    actions[sys.argv[1]](pathlib.Path(sys.argv[2]))


if __name__ == "__main__":
    main()
