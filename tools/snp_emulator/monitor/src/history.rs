//! The last exits of all vCPUs, for a run that ends badly, and each exit's times for `--timeline`.

use crate::console;
use crate::vmcb::{self, Vmcb};
use crate::world_switch::Registers;
use snp_abi::rmp::Vmpl;

/// As many are kept.
const KEPT: usize = 50;

/// One exit.
#[derive(Clone, Copy)]
struct Exit {
    vcpu: usize,
    vmpl: Vmpl,
    code: u64,
    information: [u64; 2],
    rip: u64,
    rax: u64,
}

/// What is kept.
pub struct History {
    exits: [Option<Exit>; KEPT],
    next: usize,
    /// Times go to the launcher.
    is_timed: bool,
}

impl History {
    /// Nothing yet; with `hertz`, the frequency of the time-stamp counter, times are told.
    pub fn new(hertz: Option<u64>) -> Self {
        if let Some(hertz) = hertz {
            console::line("time", format_args!("hertz {hertz}"));
        }
        Self { exits: [None; KEPT], next: 0, is_timed: hertz.is_some() }
    }

    /// Notes an exit, before it is handled.
    pub fn note(&mut self, vcpu: usize, vmpl: Vmpl, vmcb: &Vmcb, registers: &Registers) {
        let exit = Exit {
            vcpu,
            vmpl,
            code: vmcb.read(vmcb::EXIT_CODE),
            information: [vmcb.read(vmcb::EXIT_INFO_1), vmcb.read(vmcb::EXIT_INFO_2)],
            rip: vmcb.read(vmcb::RIP),
            rax: vmcb.read(vmcb::RAX),
        };
        self.exits[self.next] = Some(exit);
        self.next = (self.next + 1) % KEPT;
        if self.is_timed {
            let (entered, left) = (registers.entered_at, registers.left_at);
            console::line(
                "time",
                format_args!("{entered} {left} {vcpu} {} {:#x}", vmpl.to_wire(), exit.code),
            );
        }
    }

    /// Prints the last exits, the oldest first.
    pub fn print(&self) {
        let (newer, older) = self.exits.split_at(self.next);
        for exit in older.iter().chain(newer).flatten() {
            let Exit { vcpu, vmpl, code, information: [first, second], rip, rax } = exit;
            console::line(
                "exit",
                format_args!(
                    "vcpu {vcpu} vmpl {} exit {code:#x} info {first:#x} {second:#x} rax {rax:#x} rip {rip:#x}",
                    vmpl.to_wire()
                ),
            );
        }
    }
}
