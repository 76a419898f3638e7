//! Ends the run: the verdict goes to the launcher, then QEMU is told to exit.

use crate::{console, instructions};

/// `isa-debug-exit`: QEMU exits with status `value * 2 + 1`.
const DEBUG_EXIT: u16 = 0xf4;
const DONE: u32 = 0;
const FAILED: u32 = 1;

/// How a run ended; the launcher maps it to its exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The guest powered the machine off, or said that it finished well.
    Finished,
    /// The guest reported failure.
    Failed,
    /// The guest asked for its own termination.
    Terminated,
    /// Something relied on what hardware forbids.
    Violation,
    /// A claim of the threat model is broken.
    Breach,
    /// The security processor does not launch the image.
    Refused,
    /// The host cannot go on with the VM.
    HostEnded,
    /// A triple fault, or a state in which nothing can run any more.
    Dead,
    /// An attack was made, and VMPL0 kept what it claims.
    Held,
    /// An attack was made, and VMPL0 did not.
    Lost,
}

/// Tells the launcher the verdict and leaves QEMU.
pub fn verdict(verdict: Verdict) -> ! {
    let word = match verdict {
        Verdict::Finished => "finished",
        Verdict::Failed => "failed",
        Verdict::Terminated => "terminated",
        Verdict::Violation => "violation",
        Verdict::Breach => "breach",
        Verdict::Refused => "refused",
        Verdict::HostEnded => "host-ended",
        Verdict::Dead => "dead",
        Verdict::Held => "held",
        Verdict::Lost => "lost",
    };
    console::line("verdict", format_args!("{word}"));
    exit(DONE)
}

/// Leaves QEMU after a fault of the monitor's own.
pub fn fail() -> ! {
    exit(FAILED)
}

fn exit(code: u32) -> ! {
    // SAFETY: the device ends QEMU; no memory changes.
    unsafe { instructions::out_u32(DEBUG_EXIT, code) };
    instructions::halt_forever()
}
