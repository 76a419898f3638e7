"""Starts the TPM that a case talks to: ours, or swtpm as the judge of the case itself."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
SIMULATOR = pathlib.Path(os.environ.get("TPM_SIMULATOR", TARGET / "release" / "tpm-simulator"))

# A machine with much else to do may take long.
START_SECONDS = 60
# kernel/tpm/tests/fuzzing/machine.rs has the same.
RECORDING_SEED = b"Vouchsafe fuzz corpus"


class ServerError(Exception):
    """The TPM did not start."""


class Ours:
    """tpm-simulator: mssim on two ports, swtpm's protocol on two others. It chooses them, and says which they are."""

    tctis = ("swtpm", "mssim")
    starts = 1

    def __init__(self, folder, record=False):
        self.mssim_port = self.swtpm_port = self.control_port = None
        self.state = folder / "tpm.state"
        self.command = [str(SIMULATOR), "--port", "0", "--state", str(self.state)]
        if record:
            # The engine of the fuzz target draws from this seed too: it gives the same keys, handles and nonces.
            seed = folder / "seed"
            seed.write_bytes(RECORDING_SEED)
            self.command += ["--seed-from", str(seed), "--log", "bytes"]

    def is_ready(self, log):
        """Whether it has said where it listens: a line for each of its four ports."""
        ports = [int(port) for port in re.findall(r"listening on \S+:(\d+):", log)]
        if len(ports) < 4:
            return False
        self.mssim_port, _, self.swtpm_port, self.control_port = ports[:4]
        return True


class Swtpm:
    """Debian's swtpm, which has no mssim: both names of a TCTI lead to its own."""

    tctis = ("swtpm",)
    # It cannot choose its ports, so somebody else may get them first; then it says so and ends.
    starts = 20

    def __init__(self, folder, record=False):
        if record:
            raise ServerError("only our own TPM tells what it was sent")
        self.mssim_port = None
        self.swtpm_port = free_pair()
        self.control_port = self.swtpm_port + 1
        state = folder / "swtpm-state"
        state.mkdir(exist_ok=True)
        self.command = [
            "swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", "--flags", "not-need-init",
            "--server", f"type=tcp,port={self.swtpm_port}",
            "--ctrl", f"type=tcp,port={self.control_port}",
        ]

    def is_ready(self, _log):
        """Whether it listens."""
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.control_port)) == 0


def free_pair():
    """The first of two ports in a row that nobody has at this moment."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


KINDS = {"ours": Ours, "swtpm": Swtpm}


class Running:
    """A TPM that runs while the block does."""

    def __init__(self, kind, folder, record=False):
        self.kind, self.folder, self.record = kind, folder, record
        self.server = None
        self.log = folder / "server.log"
        self.process = None

    def __enter__(self):
        for start in range(1, KINDS[self.kind].starts + 1):
            self.server = KINDS[self.kind](self.folder, self.record)
            with open(self.log, "wb") as log:
                self.process = subprocess.Popen(
                    self.server.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
            if self._starts():
                return self
            if start == KINDS[self.kind].starts or "in use" not in self.tail():
                raise ServerError(f"the TPM ended at its start: {self.tail()}")
        raise ServerError("the TPM has no start")

    def _starts(self):
        """Waits until it listens; false if it ended instead."""
        deadline = time.monotonic() + START_SECONDS
        while not self.server.is_ready(self.log.read_text(errors="replace")):
            if self.process.poll() is not None:
                return False
            if time.monotonic() > deadline:
                self.__exit__()
                raise ServerError(f"the TPM does not listen after {START_SECONDS} s: {self.tail()}")
            time.sleep(0.005)
        return True

    def tail(self):
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-3:])

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
