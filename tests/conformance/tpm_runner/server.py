"""Starts the TPM that a case talks to: ours, or swtpm as the judge of the case itself."""

import os
import pathlib
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
SIMULATOR = pathlib.Path(os.environ.get("TPM_SIMULATOR", TARGET / "release" / "tpm-simulator"))

START_SECONDS = 10
# kernel/tpm/tests/fuzzing/machine.rs has the same.
RECORDING_SEED = b"Vouchsafe fuzz corpus"


class ServerError(Exception):
    """The TPM did not start."""


class Ours:
    """tpm-simulator: mssim on two ports, swtpm's protocol on the next two."""

    tctis = ("swtpm", "mssim")

    def __init__(self, folder, port, record=False):
        self.mssim_port = port
        self.swtpm_port = port + 2
        self.control_port = port + 3
        self.state = folder / "tpm.state"
        self.command = [str(SIMULATOR), "--port", str(port), "--state", str(self.state)]
        if record:
            # The engine of the fuzz target draws from this seed too: it gives the same keys, handles and nonces.
            seed = folder / "seed"
            seed.write_bytes(RECORDING_SEED)
            self.command += ["--seed-from", str(seed), "--log", "bytes"]

    def listening(self):
        return (self.control_port,)


class Swtpm:
    """Debian's swtpm, which has no mssim: both names of a TCTI lead to its own."""

    tctis = ("swtpm",)

    def __init__(self, folder, port, record=False):
        if record:
            raise ServerError("only our own TPM tells what it was sent")
        self.mssim_port = None
        self.swtpm_port = port + 2
        self.control_port = port + 3
        state = folder / "swtpm-state"
        state.mkdir(exist_ok=True)
        self.command = [
            "swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", "--flags", "not-need-init",
            "--server", f"type=tcp,port={self.swtpm_port}",
            "--ctrl", f"type=tcp,port={self.control_port}",
        ]

    def listening(self):
        return (self.control_port,)


KINDS = {"ours": Ours, "swtpm": Swtpm}


class Running:
    """A TPM that runs while the block does."""

    def __init__(self, kind, folder, port, record=False):
        self.server = KINDS[kind](folder, port, record)
        self.log = folder / "server.log"
        self.process = None

    def __enter__(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.server.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        for port in self.server.listening():
            while not self._listens(port):
                if self.process.poll() is not None:
                    raise ServerError(f"the TPM ended at its start: {self.tail()}")
                if time.monotonic() > deadline:
                    raise ServerError(f"the TPM does not listen on {port}: {self.tail()}")
        return self

    @staticmethod
    def _listens(port):
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.005)
        return False

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
