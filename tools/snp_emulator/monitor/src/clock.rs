//! What the run counted in ticks: with `-icount shift=0` one tick is one instruction of the guest.

use crate::interrupts::MAX_PROCESSORS;
use crate::{console, log};
use alloc::collections::BTreeMap;
use model::statistics::Statistics;
use snp_abi::rmp::{VMPL_COUNT, Vmpl};

/// One SVSM call that a vCPU waits for.
#[derive(Clone, Copy)]
struct Call {
    code: u64,
    started_at: u64,
}

/// Ticks that VMPL0 spent on calls of one kind.
#[derive(Clone, Copy, Default)]
struct CallCost {
    count: u64,
    least: u64,
    total: u64,
}

/// Ticks by VMPL, and marks for the benchmark.
pub struct Clock {
    /// Ticks that each VMPL spent in the guest, all vCPUs together.
    pub ticks: [u64; VMPL_COUNT],
    /// Ticks of VMPL0 when the first instruction of a lower VMPL ran.
    pub boot_ticks: Option<u64>,
    /// Where each vCPU was at its last exit.
    pub last_rip: [u64; MAX_PROCESSORS],
    /// Ticks of VMPL0 on each vCPU.
    own: [u64; MAX_PROCESSORS],
    calls: [Option<Call>; MAX_PROCESSORS],
    costs: BTreeMap<u64, CallCost>,
    /// Ticks are instructions, so that they are worth printing.
    is_counted: bool,
    /// A complete INVLPGB ran on the vCPU and TLBSYNC has not followed yet.
    pub flush_started: [bool; MAX_PROCESSORS],
}

impl Clock {
    /// A clock at zero.
    pub fn new(is_counted: bool) -> Self {
        Self {
            is_counted,
            ticks: [0; VMPL_COUNT],
            boot_ticks: None,
            last_rip: [0; MAX_PROCESSORS],
            own: [0; MAX_PROCESSORS],
            calls: [None; MAX_PROCESSORS],
            costs: BTreeMap::new(),
            flush_started: [false; MAX_PROCESSORS],
        }
    }

    /// Notes a level that is about to run.
    pub fn enter(&mut self, vmpl: Vmpl) {
        if vmpl != Vmpl::Vmpl0 && self.boot_ticks.is_none() {
            self.boot_ticks = Some(self.ticks[0]);
            log!("first entry to VMPL{}", vmpl.to_wire());
            if self.is_counted {
                console::line("mark", format_args!("boot {}", self.ticks[0]));
            }
        }
    }

    /// Adds the ticks of one run of the guest.
    pub fn leave(&mut self, vcpu: usize, vmpl: Vmpl, ticks: u64) {
        self.ticks[vmpl.index()] += ticks;
        if vmpl == Vmpl::Vmpl0 {
            self.own[vcpu] += ticks;
        }
    }

    /// A lower VMPL handed the vCPU to VMPL0 with `code` in RAX.
    pub fn call_starts(&mut self, vcpu: usize, code: u64) {
        self.calls[vcpu] = Some(Call { code, started_at: self.own[vcpu] });
    }

    /// VMPL0 handed it back.
    pub fn call_ends(&mut self, vcpu: usize) {
        let Some(call) = self.calls[vcpu].take() else { return };
        let ticks = self.own[vcpu] - call.started_at;
        let cost = self.costs.entry(call.code).or_insert(CallCost { least: u64::MAX, ..CallCost::default() });
        cost.count += 1;
        cost.total += ticks;
        cost.least = cost.least.min(ticks);
    }

    /// What was counted; the summary becomes the last line of a run.
    pub fn print(&self, statistics: &Statistics) {
        if self.is_counted {
            self.print_counts();
        }
        console::line("summary", format_args!("{statistics}"));
    }

    fn print_counts(&self) {
        for (vmpl, ticks) in self.ticks.iter().enumerate().filter(|(_, ticks)| **ticks != 0) {
            console::line("mark", format_args!("vmpl{vmpl} {ticks}"));
        }
        for (code, cost) in &self.costs {
            let CallCost { count, least, total } = cost;
            console::line("call", format_args!("{code:#x} count {count} least {least} total {total}"));
        }
    }
}
