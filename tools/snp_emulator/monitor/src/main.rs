//! The bare-metal half of the emulated SNP machine: a small hypervisor under QEMU's emulation of AMD
//! nested virtualisation. It runs an unmodified SNP image as its guest and asks [`model`] for every
//! rule of the hardware, the security processor and the host.
//!
//! QEMU itself must not know that its guest is confidential: private and shared memory are told apart by
//! nested page tables (`nested`), #VC is delivered by software (`exits::exception`), and PVALIDATE, RMPADJUST and
//! VMGEXIT are intercepted as the invalid or foreign instructions that they are to QEMU (`exits`).
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "the monitor is one of the two places where hardware is touched")]

extern crate alloc;

mod apic;
mod attack;
mod backing;
mod boot;
mod clock;
mod console;
mod devices;
mod exits;
mod finish;
mod fw_cfg;
mod ghcb;
mod heap;
mod history;
mod instructions;
mod interrupts;
mod launch;
mod ledger;
mod nested;
mod physical;
mod processor;
mod self_test;
mod settings;
mod translate;
mod vector_state;
mod vmcb;
mod world;
mod world_switch;

use alloc::string::String;
use alloc::vec::Vec;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, Ordering};
use model::Machine;
use model::guest_request::HostPolicy;
use model::machine::Configuration;
use model::psp::{Psp, Setup};
use settings::{Invlpgb, LEGACY_MEMORY, Settings};
use world::World;

/// QEMU's CPU 0 never enters a guest: in QEMU 10.0 an XRSTOR on any processor can corrupt CPU 0's
/// virtualisation state. It loads the image and then sleeps; vCPU n runs on processor n + 1, whose APIC has id n.
const SPARE_PROCESSORS: usize = 1;
static LAUNCHED: AtomicBool = AtomicBool::new(false);
/// Ticks are instructions (`--icount`).
static IS_COUNTED: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(information: &core::panic::PanicInfo) -> ! {
    console::emergency_line("panic", format_args!("{information}"));
    finish::fail()
}

/// Runs on the first processor once the monitor is in place.
fn run(own: boot::OwnMemory) -> ! {
    interrupts::prepare_table();
    interrupts::load_tables(0);
    exits::intercepts::prepare();
    let (settings, platform) = read_settings().unwrap_or_else(|error| panic!("{error}"));
    IS_COUNTED.store(settings.is_counted, Ordering::SeqCst);
    if settings.invlpgb == Invlpgb::Shown {
        exits::show_invlpgb();
    }
    apic::set_id(apic::SPARE_ID);
    boot::start_others(settings.vcpus + SPARE_PROCESSORS);
    self_test::send_kicks(0);
    let plan = fw_cfg::read(settings::PLAN_FILE).expect("the launcher passes a plan");
    let commands = model::plan::read(&plan).unwrap_or_else(|error| panic!("launch plan: {error:?}"));
    let vcpus = settings.vcpus;
    let mut world = new_world(settings, platform);
    let digest = launch::load(&mut world, &commands);
    launch::announce(&digest);
    world.admit_devices();
    log!("monitor memory {:#x}-{:#x}, heap in use {} KiB", own.start, own.end, heap::used_bytes() / 1024);
    world::install(world);
    LAUNCHED.store(true, Ordering::SeqCst);
    wait_for_questions(vcpus)
}

/// Processor 0 has nothing to run. Nobody kicks it, so an NMI that wakes it comes from the IOMMU, or from outside (QMP
/// `inject-nmi`): the launcher wants to know where the vCPUs are.
fn wait_for_questions(vcpus: usize) -> ! {
    loop {
        let before = interrupts::nmis(0);
        instructions::halt_until_nmi();
        if interrupts::nmis(0) != before && !world::lock().judge_devices() {
            world::answer_question(vcpus);
        }
    }
}

fn read_settings() -> Result<(Settings, Setup), String> {
    let text = fw_cfg::read(settings::FILE).ok_or_else(|| String::from("no settings over fw_cfg"))?;
    let text = core::str::from_utf8(&text).unwrap_or("");
    Ok((Settings::parse(text)?, settings::platform(text)?))
}

fn new_world(settings: Settings, platform: Setup) -> World {
    let apic_ids: Vec<u32> = (0..settings.vcpus as u32).collect();
    let devices = devices::Devices::new(&settings, &apic_ids);
    let ram = settings.own_address_ram();
    let mut memory = backing::Backing::new(&ram);
    let configuration = Configuration {
        apic_ids,
        contract: settings.host.contract,
        memory_is_shared: settings.memory_is_shared,
        large_pages: settings.large_pages,
        claims: settings.claims,
    };
    let mut model = Machine::new(configuration, &ram);
    memory.add(LEGACY_MEMORY);
    model.add_memory(LEGACY_MEMORY);
    let initial = model.initial_msr();
    for vcpu in &mut model.vcpus {
        vcpu.channels.iter_mut().for_each(|channel| channel.msr = initial);
    }
    let attack = attack::Attack::new(settings.attack.clone());
    let certificates = fw_cfg::read(settings::CERTIFICATES_FILE).unwrap_or_default();
    let history = history::History::new(settings.is_timed.then(|| devices.hertz()));
    World {
        history,
        model,
        memory,
        tables: core::array::from_fn(|_| nested::NestedTables::new()),
        unpaged: core::array::from_fn(|_| nested::NestedTables::new()),
        devices,
        psp: Psp::new(platform),
        host: HostPolicy::new(certificates, settings.throttle),
        clock: clock::Clock::new(settings.is_counted),
        settings,
        ciphertext: heap::frame(1),
        parameters: Vec::new(),
        attack,
    }
}

/// Runs on every other processor.
fn processor_main(index: usize) -> ! {
    interrupts::load_tables(index);
    apic::set_id((index - SPARE_PROCESSORS) as u8);
    apic::enable();
    if index == SPARE_PROCESSORS {
        self_test::run(IS_COUNTED.load(Ordering::SeqCst));
    }
    while !LAUNCHED.load(Ordering::SeqCst) {
        spin_loop();
    }
    processor::Processor::new(index - SPARE_PROCESSORS).run()
}
