"""QEMU's own IGVM loader judges our images: what it accepts, what it refuses, and what it launches in which order.

The digest of what it launches is computed here, from the PSP's specification and not by our crate, and compared with what
`igvm-image measure` says.
"""

import argparse
import dataclasses
import datetime
import hashlib
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

import build
import igvm_file
from igvm_file import PAGE

VERSIONS = {"10.2": r"^1:10\.2", "11": r"^1:11"}
# What KVM supports besides SNP: DebugSwap and Secure TSC; with planes, restricted injection too (HOSTS: mainline and planes).
MAINLINE, PLANES = 0x221, 0x229
NORMAL, UNMEASURED, SECRETS, CPUID = 1, 4, 5, 6
VMSA_TYPE, VMSA_ADDRESS = 2, 0xFFFFFFFFF000
VMSA_SEV_FEATURES = 0x3B0


@dataclasses.dataclass
class Launch:
    """What the loader did."""

    result: int = -1
    errors: list = dataclasses.field(default_factory=list)
    required: list = dataclasses.field(default_factory=list)
    pages: list = dataclasses.field(default_factory=list)
    vmsas: dict = dataclasses.field(default_factory=dict)
    policy: int = 0
    id_block: bytes = b""

    def page(self, address):
        """The content of a launched page."""
        return next(content for _, place, content in self.pages if place == address)

    def order(self):
        """The addresses in order."""
        return [address for _, address, _ in self.pages]


def launch(program, image, memory=512, processors=1, features=MAINLINE):
    """Shows an image to the loader."""
    command = [program, image, str(memory), str(processors), hex(features)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    done = Launch()
    for line in run.stdout.splitlines():
        what, _, rest = line.partition(" ")
        words = rest.split()
        if what == "result":
            done.result = int(rest)
        elif what == "error":
            done.errors.append(rest)
        elif what == "required":
            done.required.append((int(words[0], 0), int(words[1], 0)))
        elif what == "page":
            done.pages.append((int(words[0]), int(words[1], 0), bytes.fromhex(words[2])))
        elif what == "vmsa":
            done.vmsas[int(words[0])] = bytes.fromhex(words[2])
        elif what == "policy":
            done.policy = int(rest, 0)
        elif what == "id_block":
            done.id_block = bytes.fromhex(rest)
    return done


def digest(done):
    """The launch digest: SNP firmware ABI, chapter 8.17.2, for one processor."""
    value = bytes(48)
    launched = [*done.pages, (VMSA_TYPE, VMSA_ADDRESS, done.vmsas[0].ljust(PAGE, b"\0"))]
    for kind, address, content in launched:
        is_measured = kind in (NORMAL, VMSA_TYPE)
        contents = hashlib.sha384(content).digest() if is_measured else bytes(48)
        value = hashlib.sha384(value + contents + struct.pack("<HBBIQ", 0x70, kind, 0, 0, address)).digest()
    return value.hex()


class Bench:
    """One version of the loader, and the tests that it makes."""

    def __init__(self, name, program, tool, folder):
        self.name, self.program, self.tool, self.folder = name, program, tool, folder
        self.results = []

    def test(self, name, check):
        """Runs one test: `check` returns nothing if all is well."""
        try:
            check()
            self.results.append(("passed", f"qemu {self.name}: {name}", ""))
        except (AssertionError, StopIteration, KeyError, subprocess.SubprocessError) as reason:
            self.results.append(("failed", f"qemu {self.name}: {name}", f"{type(reason).__name__} {reason}".strip()))

    def changed(self, name, image, change):
        """The path of an image after a change to its headers."""
        file = igvm_file.File(pathlib.Path(image).read_bytes())
        change(file)
        path = self.folder / f"{name}.igvm"
        path.write_bytes(file.write())
        return path

    def launch(self, image, **machine):
        """Shows an image to this version."""
        return launch(self.program, image, **machine)

    def measure(self, image):
        """Our own tool's digest."""
        run = subprocess.run([self.tool, "measure", image], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr.strip()
        return run.stdout.strip()

    def accepts(self, image):
        """The image launches, and to the digest that we compute."""
        done = self.launch(image)
        assert done.result == 0, done.errors
        assert not done.errors, done.errors
        assert digest(done) == self.measure(image), "the digests differ"
        return done

    def refuses(self, image, words, **machine):
        """The image is refused with these words."""
        done = self.launch(image, **machine)
        assert done.result != 0, "it was accepted"
        assert any(words in error for error in done.errors), done.errors


def judge_images(bench, images, plain):
    """Each image as it is. `plain` has no MADT, so every version takes it."""
    for image in images:
        if bench.name == "10.2" and has(image, igvm_file.MADT):
            bench.test(f"refuses the MADT of {image.stem}", lambda: bench.refuses(image, "0x309"))
        else:
            bench.test(f"accepts {image.stem} and launches what we measure", lambda: bench.accepts(image))
    bench.test("a byte more in one page is another digest", lambda: one_byte(bench, plain))
    bench.test("the same headers again are the same launch", lambda: rewritten(bench, plain))


def has(image, kind):
    """Whether an image has a header of a kind."""
    file = igvm_file.File(image.read_bytes())
    return any(header.kind == kind for header in file.headers)


def one_byte(bench, plain):
    """The judge can tell."""
    path = bench.changed("byte", plain, lambda file: file.change_data(igvm_file.VP_CONTEXT, "<Q", 0x1F8, 0x1234))
    assert bench.measure(path) != bench.measure(plain)
    bench.accepts(path)


def rewritten(bench, plain):
    """What writes the changed files changes nothing by itself."""
    path = bench.changed("rewritten", plain, lambda file: None)
    assert bench.measure(path) == bench.measure(plain)


def judge_order(bench, plain):
    """The two orders in which this loader is not what it seems."""

    def insert_behind_pages():
        path = bench.changed("insert", plain, lambda file: file.move(igvm_file.INSERT, behind=igvm_file.PAGE_DATA))
        done = bench.accepts(path)
        assert done.pages[0][0] == UNMEASURED, "the area did not overtake the page in front of it"

    def memory_behind_pages():
        path = bench.changed("memory", plain, memory_last)
        done = bench.accepts(path)
        lost = [address for kind, address, content in done.pages if kind == NORMAL and not any(content)]
        kept = [address for kind, address, content in bench.launch(plain).pages if kind == NORMAL and any(content)]
        assert set(kept) & set(lost), "nothing was lost"

    bench.test("a parameter area behind pages overtakes them", insert_behind_pages)
    bench.test("required memory behind pages empties them", memory_behind_pages)


def memory_last(file):
    """Required memory behind everything."""
    header = file.headers.pop(file.index(igvm_file.REQUIRED_MEMORY))
    file.headers.append(header)


def judge_refusals(bench, plain):
    """What must not launch."""

    def refused(name, words, change, **machine):
        path = bench.changed(name.replace(" ", "-"), plain, change)
        bench.test(f"refuses {name}", lambda: bench.refuses(path, words, **machine))

    def header(kind):
        return lambda file: file.headers.insert(file.index(igvm_file.PARAMETER_AREA) + 1, igvm_file.Header(kind, bytes(8)))

    refused("a VMSA in guest memory", "VMSA GPA", lambda file: file.change(igvm_file.VP_CONTEXT, "<Q", 0, 0x08FFF000))
    refused("a device tree", "0x312", header(igvm_file.DEVICE_TREE))
    refused("a command line", "0x30E", header(igvm_file.COMMAND_LINE))
    refused("registers that KVM does not get", "not synchronized", vmsa_number("<Q", 0x200, 1))
    refused("SEV_FEATURES without SNP", "SEV_SNP is enabled", vmsa_number("<Q", VMSA_SEV_FEATURES, 0))
    refused("restricted injection", "unsupported sev_features", vmsa_number("<Q", VMSA_SEV_FEATURES, 0x29))
    path = bench.changed("planes", plain, vmsa_number("<Q", VMSA_SEV_FEATURES, 0x29))
    bench.test("takes restricted injection from a KVM that offers it", lambda: accepted(bench, path, PLANES))
    path = bench.changed("many", plain, lambda file: file.change(igvm_file.VP_CONTEXT, "<H", 16, 3))
    bench.test("refuses a VMSA for a processor that is not there", lambda: bench.refuses(path, "out of bounds"))


def vmsa_number(layout, offset, value):
    """Changes the launch VMSA."""
    return lambda file: file.change_data(igvm_file.VP_CONTEXT, layout, offset, value)


def accepted(bench, path, features):
    """It launches."""
    done = bench.launch(path, features=features)
    assert done.result == 0, done.errors


def judge_parameters(bench, plain):
    """What the loader writes for the firmware: bytes that our machine has to give too."""

    def written():
        done = bench.launch(plain, memory=4096, processors=3)
        assert done.result == 0, done.errors
        pages = [content for kind, _, content in done.pages if kind == UNMEASURED]
        rows = [(0, 0x80000, 0), (0xFEFFC, 4, 1), (0x100000, 0x80000, 0), (0xFD00000, 0x300000, 1)]
        wanted = b"".join(struct.pack("<QQHHI", *row, 0, 0) for row in rows)
        assert any(page.startswith(wanted) for page in pages), "no memory map as QEMU writes it"
        assert any(struct.pack("<2I", 3, 1) in page[:16] for page in pages), "no count of 3 beside shared memory"

    bench.test("writes count, environment and memory map", written)


def judge_identity(bench, signed, policy):
    """The ID block reaches the PSP with the file's policy."""

    def block():
        done = bench.accepts(signed)
        assert done.policy == policy, hex(done.policy)
        layout = struct.unpack("<48s16s16sIIQ", done.id_block)
        assert layout[0].hex() == bench.measure(signed), "the block's digest is not the launch's"
        assert layout[5] == policy, "the block's policy is not the launch's"

    bench.test("hands over the ID block", block)


def judge(bench, images, plain, signed):
    """Every test with one version."""
    judge_images(bench, images, plain)
    judge_order(bench, plain)
    judge_refusals(bench, plain)
    judge_parameters(bench, plain)
    judge_identity(bench, signed, 0x30000)


def make(tool, folder, firmware):
    """Images of our tool that `make all` does not build: without a MADT, and with an ID block."""
    programs = ["--stage2", firmware / "stage2", "--kernel", firmware / "kernel"]
    plain, signed, key = folder / "plain.igvm", folder / "signed.igvm", folder / "id.pem"
    subprocess.run([tool, "build", *programs, "--no-madt", "--output", plain], check=True)
    curve = ["openssl", "ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out", key]
    subprocess.run(curve, check=True, capture_output=True)
    subprocess.run([tool, "sign", plain, "--id-key", key, "--output", signed], check=True)
    return plain, signed


def report(results, judged):
    """The results file, a line for each test on the terminal, and which sources judged."""
    lines = ["\t".join(row).rstrip("\t") for row in results]
    if path := os.environ.get("VOUCHSAFE_RESULTS"):
        pathlib.Path(path).write_text("".join(f"{line}\n" for line in lines))
    for line in lines:
        print(line.replace("\t", "  "))
    print("\nlast judged\n" + "".join(f"  {line}\n" for line in judged))
    return 1 if any(row[0] == "failed" for row in results) else 0


def main():
    """Judges with every version that can be had."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", type=pathlib.Path, required=True, help="cargo's target directory")
    parser.add_argument("--library", type=pathlib.Path, required=True, help="libigvm as a static library")
    arguments = parser.parse_args()
    tool = arguments.target / "release/igvm-image"
    results, judged = [], []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        plain, signed = make(tool, folder, arguments.target / "x86_64-unknown-none/firmware")
        images = [*sorted((arguments.target / "images").glob("*.igvm")), plain, signed]
        for name, pattern in VERSIONS.items():
            source, reason = build.fetch(pattern)
            if source is None:
                results.append(("skipped", f"qemu {name}", reason))
                judged.append(f"qemu {name:<5} never here: {reason}")
                continue
            bench = Bench(name, build.build(source, arguments.library), tool, folder)
            judge(bench, images, plain, signed)
            results += bench.results
            origin = f"{(source / 'version').read_text().strip()} of {(source / 'archive').read_text().strip()}"
            good = sum(row[0] == "passed" for row in bench.results)
            judged.append(f"qemu {name:<5} {origin}, {datetime.date.today()}: {good} of {len(bench.results)} as wanted")
    return report(results, judged)


if __name__ == "__main__":
    sys.exit(main())
