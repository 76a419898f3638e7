//! What a run counted; the last line of the machine's output.

use core::fmt;

/// Counters of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Exits from the guest to the monitor.
    pub exits: u64,
    /// PVALIDATE instructions.
    pub pvalidates: u64,
    /// RMPADJUST instructions.
    pub rmpadjusts: u64,
    /// Pages (of either size) whose state the guest changed.
    pub page_state_changes: u64,
    /// Switches between VMPLs of a vCPU.
    pub vmpl_switches: u64,
    /// Conversions that the host made because of an access, not of a request.
    pub implicit_conversions: u64,
    /// 2 MiB RMP entries split by the host.
    pub smashes: u64,
    /// Complete TLB flushes by the guest.
    pub flushes: u64,
    /// Things that hardware forbids, or that break a claim.
    pub violations: u64,
    /// Things that nobody means, though nothing forbids them.
    pub advice: u64,
}

impl fmt::Display for Statistics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "exits {} pvalidate {} rmpadjust {} page-state-changes {} vmpl-switches {} implicit-conversions {} psmash {} tlb-flushes {} advice {} violations {}",
            self.exits,
            self.pvalidates,
            self.rmpadjusts,
            self.page_state_changes,
            self.vmpl_switches,
            self.implicit_conversions,
            self.smashes,
            self.flushes,
            self.advice,
            self.violations
        )
    }
}
