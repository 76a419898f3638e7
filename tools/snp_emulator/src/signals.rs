//! Signals that end a run take QEMU along: nothing stays behind when somebody presses Ctrl-C.

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a signal ended the run.
pub struct EndedBySignal(Arc<AtomicBool>);

impl EndedBySignal {
    /// From here on a signal ends this child, upon which the run ends as if it had ended by itself.
    pub fn watch(child: &Child) -> std::io::Result<Self> {
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
        let happened = Arc::new(AtomicBool::new(false));
        let (noted, process) = (Arc::clone(&happened), Pid::from_child(child));
        std::thread::spawn(move || {
            for _ in signals.forever() {
                noted.store(true, Ordering::SeqCst);
                let _gone_already = kill_process(process, Signal::KILL);
            }
        });
        Ok(Self(happened))
    }

    /// Whether one came.
    pub fn happened(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Has this program end when the one that started it does, whatever ended that.
pub fn end_with_parent() -> std::io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::TERM))?)
}
