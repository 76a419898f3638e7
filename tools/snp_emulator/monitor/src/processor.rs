//! One processor of the machine, running one vCPU: VMSA in, VMRUN, VMSA out, exit handled.

use crate::interrupts;
use crate::vector_state::{self, VectorState};
use crate::vmcb::{self, SAVE_AREA_BYTES, Vmcb};
use crate::world::{self, Guard};
use crate::world_switch::{self, Registers};
use crate::{apic, exits, heap, instructions, log, physical, translate};
use alloc::vec::Vec;
use core::mem::offset_of;
use core::sync::atomic::Ordering;
use model::vcpu::{HostEnd, Run};
use snp_abi::ghcb::event::{EventInjection, EventKind};
use snp_abi::rmp::Vmpl;
use snp_abi::vmsa::Vmsa;

const RFLAGS_INTERRUPT: u64 = 1 << 9;
/// V_TPR, at the same place in VMCB 0x60 and in a VMSA: what the guest reads from CR8.
const VIRTUAL_PRIORITY_THRESHOLD: u64 = 0xff;
/// VMCB 0x60: V_INTR_MASKING.
const VIRTUAL_MASKING: u64 = 1 << 24;
/// VMCB 0x60: V_IRQ at the highest priority, V_IGN_TPR. It is never delivered: the exit says that the guest takes interrupts.
const INTERRUPT_WINDOW: u64 = 1 << 8 | 0xf << 16 | 1 << 20 | (interrupts::WINDOW_VECTOR as u64) << 32;
const EVENT_VALID: u64 = 1 << 31;
const EVENT_KIND: u64 = 7 << 8;
/// VINTR_CTRL of a VMSA: interrupt shadow.
const VMSA_SHADOW: u64 = 1 << 10;
/// VMEXIT_INVALID as QEMU 10 shows it.
const EXIT_INVALID: u64 = 0xffff_ffff;
const GENERAL_REGISTERS: usize = offset_of!(Vmsa, rcx);

/// The VMSA whose vector state is in the processor.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Loaded {
    host: u64,
    generation: u64,
    vmpl: Vmpl,
}

/// A processor.
pub struct Processor {
    /// vCPU that it runs.
    pub vcpu: usize,
    /// Its VMCB.
    pub vmcb: Vmcb,
    /// General registers of the guest.
    pub registers: Registers,
    /// Level that the registers belong to.
    pub vmpl: Vmpl,
    host_state: u64,
    vector: VectorState,
    loaded: Option<Loaded>,
    /// Local flushes are intercepted.
    watches_flushes: bool,
    /// Entries of levels below VMPL0.
    lower_entries: u64,
}

impl Processor {
    /// Makes the processor that runs `vcpu`.
    pub fn new(vcpu: usize) -> Self {
        let mut vmcb = Vmcb::new();
        exits::intercepts::apply(&mut vmcb, vcpu);
        let host_state = heap::frame(1);
        exits::intercepts::enable_svm(heap::frame(1));
        // SAFETY: the page is this processor's for good, and SVM was enabled above.
        unsafe { world_switch::save_host(host_state) };
        Self {
            vcpu,
            vmcb,
            registers: Registers::default(),
            vmpl: Vmpl::Vmpl0,
            host_state,
            vector: VectorState::new(),
            loaded: None,
            watches_flushes: false,
            lower_entries: 0,
        }
    }

    /// Runs the vCPU for ever.
    pub fn run(&mut self) -> ! {
        loop {
            let mut world = world::lock();
            world::wake_flag(self.vcpu).store(0, Ordering::SeqCst);
            world.judge();
            world.follow_reset(self.vcpu);
            world.attack_vcpu(self.vcpu);
            if world::take_dump_request(self.vcpu) {
                self.dump(match world.model.vcpus[self.vcpu].run() {
                    Run::Running => "running",
                    Run::Halted => "halted",
                    Run::Stopped => "stopped",
                    Run::Held => "held",
                    Run::Initialised => "waits for a start-up IPI",
                });
                self.dump_interrupts();
            }
            if !self.runnable(&mut world) {
                drop(world);
                interrupts::idle(world::wake_flag(self.vcpu));
                continue;
            }
            self.interrupt_vmpl0(&mut world);
            let vmsa = self.vmsa(&mut world);
            let state = &world.model.vcpus[self.vcpu];
            let generation = state.generations[state.current.index()];
            self.load(vmsa, generation, &mut world);
            self.inject(vmsa, &mut world);
            self.watch_flushes(&world);
            self.enter(vmsa, world);
            let mut world = world::lock();
            self.after(generation, &mut world);
        }
    }

    /// Whether the vCPU has something to run; a halted one resumes for an interrupt.
    fn runnable(&self, world: &mut Guard) -> bool {
        let state = &mut world.model.vcpus[self.vcpu];
        match state.run() {
            Run::Running => return true,
            Run::Stopped | Run::Held | Run::Initialised => return false,
            Run::Halted => {}
        }
        let interrupt =
            self.receives_interrupts(world) && interrupts::highest_pending(self.vcpu_processor()).is_some();
        let state = &mut world.model.vcpus[self.vcpu];
        let enabled = self.vmcb.read(vmcb::RFLAGS) & RFLAGS_INTERRUPT != 0;
        if state.nmi_pending || (interrupt && enabled) {
            state.set_run(Run::Running);
        }
        state.run() == Run::Running
    }

    /// QEMU's CPU 0 never enters a guest, so vCPU n is processor n + 1.
    fn vcpu_processor(&self) -> usize {
        self.vcpu + 1
    }

    /// Devices interrupt the guest operating system: the level below VMPL0 where there is one.
    fn receives_interrupts(&self, world: &Guard) -> bool {
        let state = &world.model.vcpus[self.vcpu];
        state.current != Vmpl::Vmpl0 || state.vmsas[1..].iter().all(Option::is_none)
    }

    /// Host address of the VMSA to run; a VMSA that cannot be run ends the VM.
    fn vmsa(&self, world: &mut Guard) -> u64 {
        let world = &mut **world;
        let vmsa = world.model.check_vmsa(self.vcpu, &world.memory);
        let host = vmsa.and_then(|guest| {
            world.memory.host(guest).ok_or(HostEnd::RunFailed("there is no memory at the VMSA's address"))
        });
        host.unwrap_or_else(|end| {
            world.judge();
            world.host_ends(self.vcpu, end)
        })
    }

    /// Lets the host run VMPL0 although the level below did not call, if it is time for that. A pending event of the level is
    /// kept in its VMSA, as whoever runs it next finds it.
    fn interrupt_vmpl0(&mut self, world: &mut Guard) {
        let every = world.settings.vmpl0_events;
        if every == 0 || world.model.vcpus[self.vcpu].current == Vmpl::Vmpl0 {
            return;
        }
        self.lower_entries += 1;
        if self.lower_entries.is_multiple_of(every)
            && self.vmcb.read(vmcb::EVENT_INJECTION) & EVENT_VALID == 0
        {
            world.model.vcpus[self.vcpu].interrupt_vmpl0();
        }
    }

    /// Moves the VMSA into VMCB and registers, and with another VMSA than before the vector state as well.
    fn load(&mut self, host: u64, generation: u64, world: &mut Guard) {
        self.vmpl = world.model.vcpus[self.vcpu].current;
        let wanted = Loaded { host, generation, vmpl: self.vmpl };
        if self.loaded != Some(wanted) {
            self.exchange_vector_state(wanted, world);
        }
        physical::read_bytes(host, self.vmcb.save_area());
        physical::read_bytes(host + GENERAL_REGISTERS as u64, self.registers.in_vmsa());
        let control = physical::read_u64(host + offset_of!(Vmsa, vintr_ctrl) as u64);
        self.vmcb.write(vmcb::INTERRUPT_SHADOW, u64::from(control & VMSA_SHADOW != 0));
        let paging = translate::paging(&self.vmcb);
        let root = world.tables(self.vmpl, paging).root();
        self.vmcb.write(vmcb::NESTED_CR3, root);
        world.clock.enter(self.vmpl);
        world.model.vcpus[self.vcpu].has_run = true;
        if self.vmpl != Vmpl::Vmpl0 {
            world.count_guest_entry();
        }
    }

    /// Local flushes cost an exit each, so they are watched only while this vCPU may hold old translations.
    fn watch_flushes(&mut self, world: &Guard) {
        let watch = world.model.stale.is_held_by_vcpu(self.vcpu);
        if watch != self.watches_flushes {
            exits::intercepts::watch_flushes(&mut self.vmcb, watch);
            self.watches_flushes = watch;
        }
    }

    /// Whether a VMSA that was loaded still is its level's.
    fn is_current(&self, loaded: &Loaded, world: &Guard) -> bool {
        world.model.vcpus[self.vcpu].generations[loaded.vmpl.index()] == loaded.generation
    }

    fn exchange_vector_state(&mut self, wanted: Loaded, world: &Guard) {
        let xcr0 = instructions::read_xcr0();
        // SAFETY: x87, SSE and AVX are what the emulated processor has.
        unsafe { instructions::write_xcr0(vector_state::COMPONENTS) };
        if let Some(old) = self.loaded.filter(|old| old.host != wanted.host && self.is_current(old, world)) {
            let image = self.vector.save();
            let mut part = [0; vector_state::VMSA_BYTES];
            physical::read_bytes(old.host + vector_state::VMSA_OFFSET, &mut part);
            vector_state::to_vmsa(&image, &mut part);
            physical::write_bytes(old.host + vector_state::VMSA_OFFSET, &part);
            physical::write_u64(old.host + offset_of!(Vmsa, xcr0) as u64, xcr0);
        }
        let mut part = [0; vector_state::VMSA_BYTES];
        physical::read_bytes(wanted.host + vector_state::VMSA_OFFSET, &mut part);
        self.vector.restore(&vector_state::image(&part));
        let xcr0 =
            physical::read_u64(wanted.host + offset_of!(Vmsa, xcr0) as u64) & vector_state::COMPONENTS | 1;
        // SAFETY: a subset of the components that the processor has, x87 included; SSE is needed for AVX.
        unsafe { instructions::write_xcr0(if xcr0 & 2 == 0 { 1 } else { xcr0 }) };
        let auxiliary = physical::read_u32(wanted.host + offset_of!(Vmsa, tsc_aux) as u64);
        // SAFETY: TSC_AUX is read by RDTSCP and RDPID only, which the monitor does not use.
        unsafe { instructions::write_msr(snp_abi::msr::TSC_AUX, auxiliary.into()) };
        self.loaded = Some(wanted);
    }

    /// Decides what to inject at this entry.
    ///
    /// Interrupts are injected as events and not through V_IRQ, which would spare the exits for windows: QEMU 10.0 keeps V_IRQ in a
    /// word that other threads change at the same time, so that it can vanish undelivered, and nothing tells that from a
    /// delivery. The vector would be in service in the APIC for ever and hold back all others.
    fn inject(&mut self, vmsa: u64, world: &mut Guard) {
        let threshold = physical::read_u64(vmsa + offset_of!(Vmsa, vintr_ctrl) as u64);
        let mut control = VIRTUAL_MASKING | threshold & VIRTUAL_PRIORITY_THRESHOLD;
        let requested = physical::read_u64(vmsa + offset_of!(Vmsa, event_inj) as u64);
        if requested & EVENT_VALID != 0 {
            physical::write_u64(vmsa + offset_of!(Vmsa, event_inj) as u64, 0);
            self.vmcb.write(vmcb::EVENT_INJECTION, requested);
        }
        if let Some(event) = world.attack_event(self.vcpu) {
            self.vmcb.write(vmcb::EVENT_INJECTION, event);
        }
        if self.receives_interrupts(world) {
            let free = |vmcb: &Vmcb| vmcb.read(vmcb::EVENT_INJECTION) & EVENT_VALID == 0;
            let state = &mut world.model.vcpus[self.vcpu];
            if state.nmi_pending && free(&self.vmcb) {
                state.nmi_pending = false;
                let event = EventInjection { vector: 2, kind: EventKind::Nmi, error_code: None };
                self.vmcb.write(vmcb::EVENT_INJECTION, event.encode());
            }
            if let Some(vector) = interrupts::highest_pending(self.vcpu_processor()) {
                let enabled = self.vmcb.read(vmcb::RFLAGS) & RFLAGS_INTERRUPT != 0
                    && self.vmcb.read(vmcb::INTERRUPT_SHADOW) & 1 == 0;
                if enabled && free(&self.vmcb) {
                    interrupts::clear_pending(self.vcpu_processor(), vector);
                    let event = EventInjection { vector, kind: EventKind::Interrupt, error_code: None };
                    self.vmcb.write(vmcb::EVENT_INJECTION, event.encode());
                } else {
                    control |= INTERRUPT_WINDOW;
                }
            }
        }
        self.vmcb.write(vmcb::VIRTUAL_INTERRUPT, control);
    }

    /// Enters the guest, and stores the VMSA when it is back.
    fn enter(&mut self, vmsa: u64, world: Guard) {
        let host_cr3 = instructions::read_cr3();
        let event = self.vmcb.read(vmcb::EVENT_INJECTION);
        instructions::hold_events();
        instructions::renew_interrupt_request();
        world::set_inside(self.vcpu);
        drop(world);
        // SAFETY: the nested tables map guest memory only (`World::remove`, `exits::memory`), the pages are this
        // processor's, GIF is clear.
        unsafe { world_switch::run(self.vmcb.address(), &raw mut self.registers, self.host_state) };
        let broken = self.vmcb.read(vmcb::CR3) == host_cr3
            || self.vmcb.read(vmcb::EXIT_CODE) as u32 == EXIT_INVALID as u32;
        if !broken {
            self.store(vmsa);
        }
        world::set_outside(self.vcpu);
        instructions::allow_events();
        if broken {
            self.refused(vmsa, event);
        }
    }

    /// VMRUN did not run: the VMCB holds the monitor's own state now, the VMSA what was to run.
    fn refused(&self, vmsa: u64, event: u64) -> ! {
        let word = |offset: usize| physical::read_u64(vmsa + offset as u64);
        panic!(
            "VMRUN refused vCPU {} VMPL{} (exit {:#x}): event {event:#x} vintr {:#x} efer {:#x} cr0 {:#x} cr3 {:#x} cr4 {:#x} dr6 {:#x} dr7 {:#x} cs {:#x} rip {:#x}",
            self.vcpu,
            self.vmpl.to_wire(),
            self.vmcb.read(vmcb::EXIT_CODE),
            self.vmcb.read(vmcb::VIRTUAL_INTERRUPT),
            word(offset_of!(Vmsa, efer)),
            word(offset_of!(Vmsa, cr0)),
            word(offset_of!(Vmsa, cr3)),
            word(offset_of!(Vmsa, cr4)),
            word(offset_of!(Vmsa, dr6)),
            word(offset_of!(Vmsa, dr7)),
            word(offset_of!(Vmsa, cs)),
            word(offset_of!(Vmsa, rip)),
        )
    }

    /// Moves VMCB and registers into the VMSA, as hardware does at every exit.
    fn store(&mut self, vmsa: u64) {
        let save = self.vmcb.save_area();
        // The VMPL byte has no place in the VMCB; hardware keeps it.
        save[offset_of!(Vmsa, vmpl)] = self.vmpl.to_wire();
        physical::write_bytes(vmsa, save);
        physical::write_bytes(vmsa + GENERAL_REGISTERS as u64, self.registers.in_vmsa());
        let shadow = self.vmcb.read(vmcb::INTERRUPT_SHADOW) & 1;
        let priority = self.vmcb.read(vmcb::VIRTUAL_INTERRUPT) & VIRTUAL_PRIORITY_THRESHOLD;
        physical::write_u64(
            vmsa + offset_of!(Vmsa, vintr_ctrl) as u64,
            shadow << VMSA_SHADOW.trailing_zeros() | priority,
        );
    }

    /// Handles the exit, unless the VMSA was replaced meanwhile.
    fn after(&mut self, generation: u64, world: &mut Guard) {
        world.model.statistics.exits += 1;
        world.clock.leave(self.vcpu, self.vmpl, self.registers.guest_ticks());
        world.clock.last_rip[self.vcpu] = self.vmcb.read(vmcb::RIP);
        world.history.note(self.vcpu, self.vmpl, &self.vmcb, &self.registers);
        self.note_delivery();
        if world.model.vcpus[self.vcpu].generations[self.vmpl.index()] != generation {
            self.loaded = None;
            self.vmcb.write(vmcb::EVENT_INJECTION, 0);
            return;
        }
        if world.settings.trace {
            self.trace();
        }
        // Hardware notes every exit, so that VMPL0 can tell a call from a return that nobody asked for.
        self.set_exit_code(world, self.vmcb.read(vmcb::EXIT_CODE));
        exits::handle(self, world);
        self.keep_vmsa(world, generation);
    }

    /// What was injected and not delivered must be injected again.
    fn note_delivery(&mut self) {
        self.vmcb.write(vmcb::EVENT_INJECTION, 0);
        let interrupted = self.vmcb.read(vmcb::EXIT_INTERRUPT_INFO);
        if interrupted & EVENT_VALID == 0 {
            return;
        }
        if interrupted & EVENT_KIND == 0 {
            interrupts::set_pending(self.vcpu_processor(), interrupted as u8);
        } else {
            self.vmcb.write(vmcb::EVENT_INJECTION, interrupted);
        }
    }

    /// The handler changed VMCB and registers: the VMSA follows, if it is still the one that runs.
    fn keep_vmsa(&mut self, world: &mut Guard, generation: u64) {
        if world.model.vcpus[self.vcpu].generations[self.vmpl.index()] != generation {
            self.loaded = None;
            // What the last one was about to take is not the next one's.
            self.vmcb.write(vmcb::EVENT_INJECTION, 0);
            return;
        }
        if let Some(loaded) = self.loaded {
            self.store(loaded.host);
        }
    }

    fn trace(&self) {
        crate::console::line(
            "trace",
            format_args!(
                "vcpu {} vmpl {} exit {:#x} info {:#x} {:#x} rip {:#x} rax {:#x} rcx {:#x}",
                self.vcpu,
                self.vmpl.to_wire(),
                self.vmcb.read(vmcb::EXIT_CODE),
                self.vmcb.read(vmcb::EXIT_INFO_1),
                self.vmcb.read(vmcb::EXIT_INFO_2),
                self.vmcb.read(vmcb::RIP),
                self.vmcb.read(vmcb::RAX),
                self.registers.rcx
            ),
        );
    }

    /// Goes past an instruction of `length` bytes.
    pub fn skip(&mut self, length: u64) {
        let next = self.vmcb.read(vmcb::RIP).wrapping_add(length);
        let next = if translate::long_mode(&self.vmcb) { next } else { next & 0xffff_ffff };
        self.vmcb.write(vmcb::RIP, next);
        self.vmcb.write(vmcb::INTERRUPT_SHADOW, 0);
    }

    /// Sets a word of the VMSA that runs: in the VMCB where that has the field, as it is copied back from there.
    pub fn set_save_word(&mut self, offset: usize, _world: &mut Guard, value: u64) {
        if offset < SAVE_AREA_BYTES {
            self.vmcb.write_save_area(offset, value);
        } else if let Some(loaded) = self.loaded {
            physical::write_u64(loaded.host + offset as u64, value);
        }
    }

    /// Sets the task priority: in the real APIC, which holds interrupts back, and where the guest reads it.
    pub fn set_task_priority(&mut self, value: u64) {
        instructions::write_cr8(value);
        let control = self.vmcb.read(vmcb::VIRTUAL_INTERRUPT) & !VIRTUAL_PRIORITY_THRESHOLD;
        self.vmcb.write(vmcb::VIRTUAL_INTERRUPT, control | value & 0xf);
    }

    /// Says in the VMSA why the guest left, for the software of a higher level.
    pub fn set_exit_code(&mut self, world: &mut Guard, code: u64) {
        self.set_save_word(offset_of!(Vmsa, guest_exit_code), world, code);
    }

    /// Prints which interrupts wait, and for what.
    fn dump_interrupts(&self) {
        let apic::State { in_service, requested, task_priority, timer_vector, timer_left } = apic::state();
        let vectors = |bits: [u32; 8]| {
            (0..256usize).filter(|vector| bits[vector / 32] >> (vector % 32) & 1 != 0).collect::<Vec<_>>()
        };
        log!(
            "  interrupts: to inject {:x?}, in service {:x?}, requested {:x?}, priority {task_priority:#x}, timer {timer_vector:#x} left {timer_left:#x}",
            interrupts::all_pending(self.vcpu_processor()).collect::<Vec<_>>(),
            vectors(in_service),
            vectors(requested),
        );
    }

    /// Prints what the vCPU was doing.
    pub fn dump(&self, why: &str) {
        let read = |field| self.vmcb.read(field);
        log!(
            "{why}: vcpu {} vmpl {} exit {:#x} info {:#x} {:#x} cs {:#x} rip {:#x} rsp {:#x} rflags {:#x}",
            self.vcpu,
            self.vmpl.to_wire(),
            read(vmcb::EXIT_CODE),
            read(vmcb::EXIT_INFO_1),
            read(vmcb::EXIT_INFO_2),
            read(vmcb::CS) & 0xffff,
            read(vmcb::RIP),
            read(vmcb::RSP),
            read(vmcb::RFLAGS)
        );
        log!(
            "  cr0 {:#x} cr2 {:#x} cr3 {:#x} cr4 {:#x} efer {:#x} rax {:#x} {:x?}",
            read(vmcb::CR0),
            read(vmcb::CR2),
            read(vmcb::CR3),
            read(vmcb::CR4),
            read(vmcb::EFER),
            read(vmcb::RAX),
            self.registers
        );
    }
}
