//! Everything that the processors share, behind one lock: the model, memory, nested tables and devices.
//!
//! A processor takes the lock when it leaves the guest and gives it back just before VMRUN, so that
//! each exit is handled against a machine that stands still, except for guests inside VMRUN; those are made to
//! leave where it matters ([`World::remove`], [`World::stop`]).

use crate::attack::Attack;
use crate::backing::Backing;
use crate::devices::Devices;
use crate::finish::{self, Verdict};
use crate::history::History;
use crate::interrupts::MAX_PROCESSORS;
use crate::nested::{MapSize, NestedTables};
use crate::settings::Settings;
use crate::translate::C_BIT;
use crate::{apic, console, log};
use alloc::vec::Vec;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use model::guest_request::HostPolicy;
use model::machine::Changed;
use model::psp::Psp;
use model::vcpu::HostEnd;
use model::{Kind, Machine};
use snp_abi::address::PageSize;
use snp_abi::rmp::{VMPL_COUNT, Vmpl};
use spin::{Mutex, MutexGuard};

/// What other processors may know of a vCPU's processor without the lock.
struct Presence {
    /// 1 while in VMRUN (from before GIF is cleared until after the VMSA is stored).
    inside: AtomicU8,
    /// Completed exits.
    exits: AtomicU64,
    /// Set to end HLT.
    wake: AtomicU8,
}

static PRESENCE: [Presence; MAX_PROCESSORS] =
    [const { Presence { inside: AtomicU8::new(0), exits: AtomicU64::new(0), wake: AtomicU8::new(0) } };
        MAX_PROCESSORS];
static WORLD: Mutex<Option<World>> = Mutex::new(None);
/// Time-stamp ticks between two attempts to kick a processor.
const KICK_TICKS: u64 = 2_000_000;

/// The shared state.
pub struct World {
    /// The rules and their state.
    pub model: Machine,
    /// Guest memory.
    pub memory: Backing,
    /// Nested tables by VMPL, for vCPUs with paging.
    pub tables: [NestedTables; VMPL_COUNT],
    /// Nested tables by VMPL, for vCPUs without paging: everything is private and no address has a C-bit.
    pub unpaged: [NestedTables; VMPL_COUNT],
    /// The platform's devices.
    pub devices: Devices,
    /// How the run was asked for.
    pub settings: Settings,
    /// A page for reads that real hardware answers with ciphertext.
    pub ciphertext: u64,
    /// The last exits.
    pub history: History,
    /// What the ticks went to.
    pub clock: crate::clock::Clock,
    /// The security processor.
    pub psp: Psp,
    /// How the host treats guest messages.
    pub host: HostPolicy,
    /// Where the loader wrote parameters: address and length.
    pub parameters: Vec<(u64, u64)>,
    /// What the host does on purpose.
    pub attack: Attack,
}

/// Bit n: vCPU n shall say where it is.
static DUMP: AtomicU64 = AtomicU64::new(0);

/// Ticks for which vCPUs are waited for, and then the lock.
const ANSWER_TICKS: u64 = 400_000_000;

/// Makes every vCPU say where it is, and prints what was counted so far.
pub fn answer_question(vcpus: usize) {
    request_dump();
    let wait = |is_over: &mut dyn FnMut() -> bool| {
        let begin = crate::instructions::time_stamp();
        while !is_over() && crate::instructions::time_stamp() - begin < ANSWER_TICKS {
            spin_loop();
        }
    };
    wait(&mut || DUMP.load(Ordering::SeqCst) & ((1 << vcpus) - 1) == 0);
    // A vCPU that hangs with the lock does not keep the launcher waiting.
    wait(&mut || match WORLD.try_lock() {
        Some(world) => {
            if let Some(world) = &*world {
                world.clock.print(&world.model.statistics);
            }
            true
        }
        None => false,
    });
    console::line("done", format_args!(""));
}

fn request_dump() {
    DUMP.store(u64::MAX, Ordering::SeqCst);
    // The lock is left alone: a vCPU that hangs with it must not silence the others.
    for (vcpu, presence) in PRESENCE.iter().enumerate().take(MAX_PROCESSORS - 1) {
        presence.wake.store(1, Ordering::SeqCst);
        apic::send_nmi(vcpu as u32);
    }
}

/// Whether this vCPU was asked to say where it is; true once for each question.
pub fn take_dump_request(vcpu: usize) -> bool {
    DUMP.fetch_and(!(1 << vcpu), Ordering::SeqCst) >> vcpu & 1 != 0
}

/// Installs the world, once.
pub fn install(world: World) {
    *WORLD.lock() = Some(world);
}

/// The locked world.
pub struct Guard(MutexGuard<'static, Option<World>>);

impl core::ops::Deref for Guard {
    type Target = World;
    fn deref(&self) -> &World {
        self.0.as_ref().expect("the world exists before any vCPU runs")
    }
}

impl core::ops::DerefMut for Guard {
    fn deref_mut(&mut self) -> &mut World {
        self.0.as_mut().expect("the world exists before any vCPU runs")
    }
}

/// Waits for the lock.
pub fn lock() -> Guard {
    Guard(WORLD.lock())
}

/// Says that a vCPU's processor goes into the guest; GIF is clear, so that no kick is lost.
pub fn set_inside(vcpu: usize) {
    PRESENCE[vcpu].inside.store(1, Ordering::SeqCst);
}

/// Says that it is back and the VMSA is stored.
pub fn set_outside(vcpu: usize) {
    PRESENCE[vcpu].exits.fetch_add(1, Ordering::SeqCst);
    PRESENCE[vcpu].inside.store(0, Ordering::SeqCst);
}

/// The flag that ends a vCPU's HLT.
pub fn wake_flag(vcpu: usize) -> &'static AtomicU8 {
    &PRESENCE[vcpu].wake
}

impl World {
    /// Makes a sleeping vCPU look at its state again.
    pub fn wake(&self, vcpu: usize) {
        PRESENCE[vcpu].wake.store(1, Ordering::SeqCst);
        apic::send_nmi(self.model.vcpus[vcpu].apic_id);
    }

    /// Makes another vCPU's processor leave the guest, and waits for it.
    pub fn stop(&self, me: usize, vcpu: usize) {
        let presence = &PRESENCE[vcpu];
        let exits = presence.exits.load(Ordering::SeqCst);
        if vcpu == me {
            return;
        }
        while presence.inside.load(Ordering::SeqCst) == 1 && presence.exits.load(Ordering::SeqCst) == exits {
            apic::send_nmi(self.model.vcpus[vcpu].apic_id);
            let begin = crate::instructions::time_stamp();
            while presence.inside.load(Ordering::SeqCst) == 1
                && presence.exits.load(Ordering::SeqCst) == exits
                && crate::instructions::time_stamp() - begin < KICK_TICKS
            {
                spin_loop();
            }
        }
    }

    /// Makes every other processor leave the guest once, which flushes its nested translations.
    pub fn shoot_down(&self, me: usize) {
        for vcpu in 0..self.model.vcpus.len() {
            self.stop(me, vcpu);
        }
    }

    /// Brings the model's view of who is inside VMRUN up to date.
    pub fn refresh_inside(&mut self) {
        for (vcpu, state) in self.model.vcpus.iter_mut().enumerate() {
            state.inside = PRESENCE[vcpu].inside.load(Ordering::SeqCst) == 1;
        }
    }

    /// Removes the nested mappings of pages that changed, everywhere.
    pub fn remove(&mut self, me: usize, changed: Option<Changed>) {
        let Some(Changed { address, size }) = changed else { return };
        let size = match size {
            PageSize::Small => MapSize::Small,
            PageSize::Large => MapSize::Large,
        };
        let mut any = false;
        for tables in &mut self.tables {
            any |= tables.unmap(address, size);
            any |= tables.unmap(address | C_BIT, size);
        }
        for tables in &mut self.unpaged {
            any |= tables.unmap(address, size);
        }
        if any {
            self.shoot_down(me);
        }
    }

    /// As [`World::remove`], for pages that the guest shares from now on, or takes back.
    pub fn remove_converted(&mut self, me: usize, changed: Option<Changed>) {
        if let Some(changed) = changed {
            self.devices.iommu.follow(&self.model, changed);
        }
        self.remove(me, changed);
    }

    /// A word of the VMSA that a vCPU runs.
    pub fn vmsa_word(&self, vcpu: usize, offset: usize) -> u64 {
        let state = &self.model.vcpus[vcpu];
        let vmsa = state.vmsas[state.current.index()].unwrap_or(0);
        self.memory.read_u64(vmsa + offset as u64).unwrap_or(0)
    }

    /// The nested tables for a level.
    pub fn tables(&mut self, vmpl: Vmpl, paging: bool) -> &mut NestedTables {
        if paging { &mut self.tables[vmpl.index()] } else { &mut self.unpaged[vmpl.index()] }
    }

    /// Prints what was reported. A fault ends the run in strict mode, a breach always.
    pub fn judge(&mut self) {
        if !self.model.has_violations() {
            return;
        }
        let (mut faults, mut breaches) = (false, false);
        for violation in self.model.take_violations() {
            let word = match violation.fault.kind() {
                Kind::Fault => {
                    faults = true;
                    "violation"
                }
                Kind::Breach => {
                    breaches = true;
                    "breach"
                }
                Kind::Advice => "advice",
            };
            console::line(
                word,
                format_args!(
                    "vcpu {} vmpl {} rip {:#x}: {}",
                    violation.vcpu,
                    violation.vmpl.to_wire(),
                    self.clock.last_rip[violation.vcpu],
                    violation.fault
                ),
            );
        }
        if faults && self.settings.strict {
            self.end(Verdict::Violation);
        }
        if breaches {
            self.end(Verdict::Breach);
        }
    }

    /// Ends the run with a verdict and the summary.
    pub fn end(&mut self, verdict: Verdict) -> ! {
        if verdict == Verdict::Finished {
            // Nothing went wrong on the way; what the firmware holds for its own must be its own still.
            self.model.audit(&self.settings.firmware);
            crate::ledger::compare(self);
            self.judge();
        }
        if !matches!(verdict, Verdict::Finished | Verdict::Failed) {
            self.history.print();
        }
        self.clock.print(&self.model.statistics);
        finish::verdict(self.judge_attack(verdict))
    }

    /// Ends the run because the host cannot go on with the VM; says what its operator sees.
    pub fn host_ends(&mut self, vcpu: usize, end: HostEnd) -> ! {
        let actor = self.model.actor(vcpu);
        log!(
            "the host ends the VM: vcpu {vcpu} vmpl {} rip {:#x}",
            actor.vmpl.to_wire(),
            self.clock.last_rip[vcpu]
        );
        log!("QEMU prints: {end}");
        self.end(Verdict::HostEnded)
    }

    /// Ends the run because a vCPU cannot go on.
    pub fn dead(&mut self, vcpu: usize, why: core::fmt::Arguments<'_>) -> ! {
        let actor = self.model.actor(vcpu);
        log!("vcpu {vcpu} vmpl {} rip {:#x}: {why}", actor.vmpl.to_wire(), self.clock.last_rip[vcpu]);
        self.end(Verdict::Dead)
    }
}
