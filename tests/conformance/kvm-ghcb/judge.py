"""KVM's own code says what a host of the profile `kvm-mainline` answers to a VMGEXIT.

Each row of the contract that our machine's profile claims is shown to KVM: a GHCB page or MSR value goes in, and page, valid bitmap,
MSR value and what KVM asked of its VMM come out. `--replay FILE` compares a recording instead, exchange by exchange: the same lines
that the judge reads, and behind each `vmgexit` the answer as `page` and `done` lines.
"""

import argparse
import dataclasses
import datetime
import os
import pathlib
import random
import struct
import subprocess
import sys

import build

GHCB = 0x7000
BITMAP, SHARED, USAGE = 0x3F0, 0x800, 0xFFC
FIELDS = {
    "rax": 0x1F8,
    "code": 0x390,
    "info1": 0x398,
    "info2": 0x3A0,
    "scratch": 0x3A8,
    "rcx": 0x308,
    "rdx": 0x310,
    "rbx": 0x318,
    "xcr0": 0x3E8,
}
CPUID, IOIO, MSR, RDTSC, VMMCALL = 0x72, 0x7B, 0x7C, 0x6E, 0x81
MMIO_READ, PSC, GUEST_REQUEST, EXTENDED, AP_CREATION = 0x80000001, 0x80000010, 0x80000011, 0x80000012, 0x80000013
DOORBELL, APIC_IDS, RUN_VMPL, FEATURES, TERMINATE, UNSUPPORTED = (
    0x80000014,
    0x80000017,
    0x80000018,
    0x8000FFFD,
    0x8000FFFE,
    0x8000FFFF,
)
ERROR, PRIVATE, SHARED_STATE = 1 << 63, 1, 2


@dataclasses.dataclass
class Answer:
    """What came back from one VMGEXIT."""

    result: int
    msr: int
    page: bytes
    asked: list
    log: list

    def field(self, name):
        """A field of the page, or None where it is not marked valid."""
        offset = FIELDS[name]
        bit = self.page[BITMAP + offset // 64] >> (offset // 8 % 8) & 1
        return struct.unpack_from("<Q", self.page, offset)[0] if bit else None

    def refusal(self):
        """Both information words."""
        return self.field("info1"), self.field("info2")


class Vm:
    """The lines for one VM, and what KVM made of them."""

    def __init__(self, program):
        self.program, self.lines = program, []

    def memory(self, address, content):
        """Puts bytes into guest memory."""
        self.lines.append(f"memory {address:#x} {content.hex()}")

    def msr(self, value):
        """A VMGEXIT by the MSR protocol."""
        self.lines.append(f"vmgexit {value:#x}")

    def register(self):
        """Registers the GHCB page."""
        self.msr(GHCB | 0x12)

    def event(self, code, usage=0, buffer=b"", **fields):
        """A VMGEXIT with a page: information words are 0 unless given."""
        page = bytearray(4096)
        for name, value in {"code": code, "info1": 0, "info2": 0, **fields}.items():
            if value is not None:
                offset = FIELDS[name]
                struct.pack_into("<Q", page, offset, value)
                page[BITMAP + offset // 64] |= 1 << (offset // 8 % 8)
        struct.pack_into("<HI", page, USAGE - 2, 2, usage)
        page[SHARED : SHARED + len(buffer)] = buffer
        self.memory(GHCB, bytes(page))
        self.msr(GHCB)

    def answers(self):
        """KVM's answers, one for each VMGEXIT."""
        text = "".join(f"{line}\n" for line in self.lines)
        run = subprocess.run([self.program], input=text, capture_output=True, text=True, timeout=60)
        return list(read_answers(run.stdout.splitlines()))


def read_answers(lines):
    """Groups what the judge prints."""
    asked, log, page = [], [], b""
    for line in lines:
        what, _, rest = line.partition(" ")
        if what == "ask":
            asked.append(rest)
        elif what == "log":
            log.append(rest)
        elif what == "page":
            page = bytes.fromhex(rest.split()[1])
        elif what == "done":
            result, msr = rest.split()
            yield Answer(int(result), int(msr, 0), page, asked, log)
            asked, log, page = [], [], b""


# --- The MSR protocol ---------------------------------------------------------------------------------------------------


def msr_rows():
    """Name, value, and the value that comes back."""
    return (
        ("says versions 1 to 2 and the C-bit", 0x002, 0x0002_0001_3300_0001),
        ("names no preferred page", 0x010, 0xFFFF_FFFF_FFFF_F011),
        ("registers any page without looking at it", 0x8_0000_0000_0012, 0x8_0000_0000_0013),
        ("offers SNP and AP creation only", 0x080, 0x0000_0000_0000_3081),
        ("makes a page private", PRIVATE << 52 | 0x1000 | 0x014, 0x015),
        ("makes a page shared", SHARED_STATE << 52 | 0x1000 | 0x014, 0x015),
        ("refuses PSMASH with bit 63", 3 << 52 | 0x1000 | 0x014, ERROR | 0x015),
        ("refuses UNSMASH with bit 63", 4 << 52 | 0x1000 | 0x014, ERROR | 0x015),
        ("answers a reset hold with 0", 0x006, 0x007),
        ("gives a request to run a VMPL back unchanged", 2 << 32 | 0x016, 2 << 32 | 0x016),
        ("gives an unknown request back unchanged", 0x1234_5678_0000_0FF0, 0x1234_5678_0000_0FF0),
    )


def judge_msr(check, program):
    """The MSR protocol."""
    for name, value, wanted in msr_rows():

        def one(value=value, wanted=wanted):
            vm = Vm(program)
            vm.msr(value)
            (answer,) = vm.answers()
            assert (answer.result, hex(answer.msr)) == (1, hex(wanted)), (answer.result, hex(answer.msr))

        check(f"MSR protocol: {name}", one)

    def terminates():
        vm = Vm(program)
        vm.msr(0x12 << 16 | 8 << 12 | 0x100)
        (answer,) = vm.answers()
        assert answer.result == 0 and any(line.startswith("terminate") for line in answer.asked), answer
        assert answer.log == ["SEV-ES guest requested termination: 0x8:0x12"], answer.log

    check("MSR protocol: a termination is logged as set and code, in hexadecimal", terminates)


# --- The page -----------------------------------------------------------------------------------------------------------


def change(*entries, current=0, end=None):
    """The list of a page state change: entries of operation, page number and size, and how far each one is."""
    last = len(entries) - 1 if end is None else end
    words = [gfn << 12 | operation << 52 | large << 56 | done for operation, gfn, large, done in entries]
    return struct.pack(f"<HHI{len(words)}Q", current, last, 0, *words)


BUFFER = GHCB + SHARED
NO_ACTION = (0, 0)


def event_rows():
    """Name, code, what else the page says, and both information words afterwards."""
    one, two = change((PRIVATE, 0x10, 0, 0)), change((SHARED_STATE, 0x200, 1, 0), (SHARED_STATE, 0x400, 1, 0))
    strings = IOIO, {"info1": 0x3F8_0000 | 1 << 4 | 4 | 1}
    return (
        ("an unknown event", 0x8000_00FF, {}, (2, 6)),
        ("a switch of VMPL", RUN_VMPL, {"info1": 2}, (2, 6)),
        ("a list of APIC ids", APIC_IDS, {"rax": 1}, (2, 6)),
        ("a doorbell page", DOORBELL, {}, (2, 6)),
        ("a page of another usage", FEATURES, {"usage": 1}, (2, 2)),
        ("a missing information word", FEATURES, {"info2": None}, (2, 4)),
        ("CPUID without RCX", CPUID, {"rax": 1}, (2, 4)),
        ("CPUID leaf 0xD without XCR0", CPUID, {"rax": 0xD, "rcx": 0}, (2, 4)),
        ("a hypercall without CPL", VMMCALL, {"rax": 1}, (2, 4)),
        ("output to a port without RAX", IOIO, {"info1": 0x3F8_0000 | 1 << 4}, (2, 4)),
        ("a port access of no size", IOIO, {"info1": 0x3F8_0000, "rax": 0}, NO_ACTION),
        ("features by the page", FEATURES, {}, (0, 3)),
        ("MMIO of 9 bytes", MMIO_READ, {"info2": 9, "scratch": BUFFER}, (2, 5)),
        ("MMIO of 3 bytes", MMIO_READ, {"info2": 3, "scratch": BUFFER}, NO_ACTION),
        ("MMIO of no bytes", MMIO_READ, {"scratch": BUFFER}, NO_ACTION),
        ("MMIO with scratch elsewhere", MMIO_READ, {"info2": 4, "scratch": 0x9000}, (2, 3)),
        ("a change of one page", PSC, {"scratch": BUFFER, "buffer": one}, NO_ACTION),
        ("a change of two large pages", PSC, {"scratch": BUFFER, "buffer": two}, NO_ACTION),
        ("a change without scratch", PSC, {}, (2, 4)),
        ("a change with scratch elsewhere", PSC, {"scratch": 0x9000}, (2, 3)),
        ("a change that ends behind the page", PSC, {"scratch": BUFFER, "buffer": change(end=253)}, (0, 1 << 32 | 1)),
        ("a large page out of line", PSC, {"scratch": BUFFER, "buffer": change((1, 0x201, 1, 0))}, (0, 1 << 32 | 2)),
        ("an entry that is beyond its end", PSC, {"scratch": BUFFER, "buffer": change((1, 0x10, 0, 2))}, (0, 1 << 32 | 2)),
        ("PSMASH in a list", PSC, {"scratch": BUFFER, "buffer": change((3, 0x200, 1, 0))}, NO_ACTION),
        ("a request of one page twice", GUEST_REQUEST, {"info1": 0x8000, "info2": 0x8000}, (2, 5)),
        ("a request beside a page", GUEST_REQUEST, {"info1": 0x8008, "info2": 0x9000}, (2, 5)),
        ("a request", GUEST_REQUEST, {"info1": 0x8000, "info2": 0x9000}, NO_ACTION),
        ("AP creation", AP_CREATION, {"info1": 1 << 32 | 1, "info2": 0xA000, "rax": 1}, NO_ACTION),
        ("AP creation with other features", AP_CREATION, {"info1": 1 << 32 | 1, "info2": 0xA000, "rax": 9}, (2, 5)),
        ("AP creation without RAX", AP_CREATION, {"info1": 1 << 32 | 1, "info2": 0xA000}, (2, 4)),
        ("AP creation at a VMPL", AP_CREATION, {"info1": 1 << 32 | 2 << 16 | 1, "info2": 0xA000, "rax": 1}, (2, 5)),
        ("AP creation for nobody", AP_CREATION, {"info1": 9 << 32 | 1, "info2": 0xA000, "rax": 1}, (2, 5)),
        ("AP creation at 2 MiB", AP_CREATION, {"info1": 1 << 32 | 1, "info2": 0x20_0000, "rax": 1}, (2, 5)),
        ("AP creation beyond 40 bits", AP_CREATION, {"info1": 1 << 32 | 1, "info2": 1 << 40, "rax": 1}, (2, 5)),
        ("AP creation of an unknown kind", AP_CREATION, {"info1": 1 << 32 | 3, "info2": 0xA000, "rax": 1}, (2, 5)),
        ("AP destruction without RAX", AP_CREATION, {"info1": 1 << 32 | 2}, NO_ACTION),
        ("string output of no bytes", strings[0], {**strings[1], "scratch": BUFFER}, NO_ACTION),
    )


def judge_page(check, program):
    """The events of the GHCB page."""
    for name, code, fields, wanted in event_rows():

        def one(code=code, fields=fields, wanted=wanted):
            answer = exchange(program, code, **fields)
            assert answer.result == 1, answer
            assert answer.refusal() == wanted, f"{answer.refusal()} and not {wanted}; {answer.log}"

        check(f"page: {name}: {wanted[0]}/{wanted[1]:#x}", one)
    check("page: an unregistered one: 2/0x1", lambda: unregistered(program))
    check("page: RAX to RDX come back valid, and as zeros where none were given", lambda: registers(program))
    check("page: one that is not there is passed over in silence", lambda: absent(program))
    check("page: an unsupported event ends the VM", lambda: ends(program))
    check("page: neighbouring entries go to the VMM as one", lambda: batched(program))


def exchange(program, code, **fields):
    """One event in a VM of two vCPUs with some memory."""
    vm = Vm(program)
    vm.lines.append("vcpus 2")
    for address in (0x8000, 0x9000, 0xA000):
        vm.memory(address, bytes(4096))
    vm.register()
    vm.event(code, **fields)
    return vm.answers()[1]


def unregistered(program):
    """The page was never registered."""
    vm = Vm(program)
    vm.event(FEATURES)
    assert vm.answers()[0].refusal() == (2, 1)


def registers(program):
    """What KVM marks valid."""
    answer = exchange(program, FEATURES)
    assert [answer.field(name) for name in ("rax", "rbx", "rcx", "rdx")] == [0, 0, 0, 0], answer
    assert [answer.field(name) for name in ("code", "scratch", "xcr0")] == [None, None, None], answer


def absent(program):
    """A GHCB page in a hole."""
    vm = Vm(program)
    vm.register()
    vm.msr(GHCB)
    answer = vm.answers()[1]
    assert (answer.result, answer.msr) == (1, GHCB), answer


def ends(program):
    """KVM_RUN fails."""
    assert exchange(program, UNSUPPORTED).result < 0


def batched(program):
    """Two pages, one exit, and how far the list is."""
    answer = exchange(program, PSC, scratch=BUFFER, buffer=change((1, 0x10, 0, 0), (1, 0x11, 0, 0)))
    assert answer.asked == ["map_gpa_range 0x10000 pages 2 attributes 0x10"], answer.asked
    header, first, second = struct.unpack_from("<H6xQQ", answer.page, SHARED)
    assert (header, first & 0xFFF, second & 0xFFF) == (2, 1, 1), (header, hex(first), hex(second))


# --- Our machine --------------------------------------------------------------------------------------------------------


def msr_values(seed, count):
    """Values of the MSR: each code of the protocol and its neighbours, with much and with little in the other bits."""
    dice = random.Random(seed)
    codes = [2, 4, 6, 0x10, 0x12, 0x14, 0x16, 0x80, 0x100, 0x1, 0x3, 0x5, 0x11, 0x15, 0x17, 0x81, 0xFFF]
    fixed = [code | rest for code in codes for rest in (0, 1 << 12, 1 << 52, 2 << 52, 1 << 32, 2 << 32, 5 << 32, 1 << 63)]
    for _ in range(count):
        code = dice.choice(codes) if dice.random() < 0.9 else dice.randrange(1, 0x1000)
        bits = dice.choice([dice.getrandbits(52), dice.getrandbits(12), 1 << dice.randrange(52), dice.getrandbits(52) & 0xF_F000_0000_07FF])
        fixed.append(code | bits << 12)
    return fixed


def judge_model(check, program, model, seed=1, count=20000):
    """The same values for KVM and for our machine as the profile kvm-mainline plays it, each in a VM of its own."""
    values = msr_values(seed, count)
    run = subprocess.run([model, "kvm-mainline"], input="".join(f"{value:#x}\n" for value in values), capture_output=True, text=True)
    ours = run.stdout.splitlines()
    vm = Vm(program)
    for value in values:
        vm.msr(value)
    theirs = ["terminate" if answer.result == 0 else "end" if answer.result < 0 else hex(answer.msr) for answer in vm.answers()]
    by_code = {}
    for value, our, their in zip(values, ours, theirs, strict=True):
        by_code.setdefault(code_name(value), []).append((value, our, their))
    for name, rows in sorted(by_code.items()):

        def same(rows=rows):
            wrong = [row for row in rows if row[1] != row[2]]
            assert not wrong, f"{len(wrong)} of {len(rows)} differ; to {wrong[0][0]:#x} ours is {wrong[0][1]}, KVM's {wrong[0][2]}"

        check(f"our machine answers as KVM: {name}", same)


def code_name(value):
    """What a request is called."""
    names = {
        0x002: "SEV information",
        0x004: "CPUID",
        0x006: "AP reset hold",
        0x010: "preferred page",
        0x012: "registration",
        0x014: "page state change",
        0x016: "run a VMPL",
        0x080: "features",
        0x100: "termination",
    }
    return names.get(value & 0xFFF, "codes that are no requests")


# --- Recordings ---------------------------------------------------------------------------------------------------------


def replay(check, program, recording):
    """Shows KVM what a guest said elsewhere, and compares what it was told."""
    lines = recording.read_text().splitlines()
    said = [line for line in lines if line.split(" ")[0] in ("memory", "features", "vcpus", "vmgexit")]
    vm = Vm(program)
    vm.lines = said
    told = list(read_answers(lines))
    answers = vm.answers()
    assert len(told) == len(answers), f"{len(told)} answers recorded, {len(answers)} given"
    for number, (ours, theirs) in enumerate(zip(told, answers)):

        def same(ours=ours, theirs=theirs):
            assert hex(ours.msr) == hex(theirs.msr), f"MSR {ours.msr:#x}, KVM {theirs.msr:#x}"
            assert ours.page == theirs.page, first_difference(ours.page, theirs.page)

        check(f"{recording.stem}: exchange {number}", same)


def first_difference(ours, theirs):
    """Where two pages differ."""
    offset = next((index for index, pair in enumerate(zip(ours, theirs)) if pair[0] != pair[1]), 0)
    return f"byte {offset:#x} of the page: ours {ours[offset:offset + 8].hex()}, KVM's {theirs[offset:offset + 8].hex()}"


def main():
    """Judges with the newest Linux that can be had."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=pathlib.Path, help="the program msr_answers of our machine's model")
    parser.add_argument("--replay", type=pathlib.Path, action="append", default=[], help="a recording")
    arguments = parser.parse_args()
    results = []

    def check(name, body):
        try:
            body()
            results.append(("passed", name, ""))
        except (AssertionError, ValueError, IndexError, subprocess.SubprocessError) as reason:
            results.append(("failed", name, f"{type(reason).__name__} {reason}".replace("\n", " ")))

    source, reason = build.fetch()
    if source is None:
        results.append(("skipped", "KVM's sev.c", reason))
        judged = f"never here: {reason}"
    else:
        program = build.build(source)
        judge_msr(check, program)
        judge_page(check, program)
        if arguments.model:
            judge_model(check, program, arguments.model)
        for recording in arguments.replay:
            replay(check, program, recording)
        good = sum(row[0] == "passed" for row in results)
        origin = f"{(source / 'version').read_text().strip()} of {(source / 'archive').read_text().strip()}"
        judged = f"{origin}, {datetime.date.today()}: {good} of {len(results)} as wanted"
    lines = ["\t".join(row).rstrip("\t") for row in results]
    if path := os.environ.get("VOUCHSAFE_RESULTS"):
        pathlib.Path(path).write_text("".join(f"{line}\n" for line in lines))
    for line in lines:
        print(line.replace("\t", "  "))
    print(f"\nlast judged\n  kvm sev.c  {judged}\n")
    return 1 if any(row[0] == "failed" for row in results) else 0


if __name__ == "__main__":
    sys.exit(main())
