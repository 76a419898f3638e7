//! Things that the machine must stop, one a run: the mode names which.

use super::many_vcpus;
use crate::boot::Boot;
use crate::device::Device;
use crate::memory::{read, shared_view, write};
use crate::serial::println;
use crate::{exception, ghcb, host, svsm, vcpu};

/// Exit code of a mode that should never have come back.
const CAME_BACK: u64 = 201;
const COPIED: u64 = 0x7465_7374_2064_6d61;

/// Does what a mode says; the machine stops it, or it reports that nothing did.
pub fn run(mode: &str, boot: &Boot) -> ! {
    let page = boot.svsm_base + 0x3000;
    println!("payload: mode {mode}");
    match mode {
        "read-vmpl0" => {
            let value = read(page);
            println!("payload: read {value:#x} from VMPL0 memory");
        }
        "write-vmpl0" => write(page, 0),
        "execute-vmpl0" => {
            // SAFETY: the machine stops this, or the test fails; it does not return into anything either way.
            let function: extern "C" fn() = unsafe { core::mem::transmute(boot.svsm_base as *const ()) };
            function();
        }
        "write-vmsa" => {
            let created = vcpu::prepare(1);
            assert!(vcpu::create(&created, vcpu::apic_id(0)) == svsm::SUCCESS);
            write(created.vmsa + 8, 1);
        }
        "shared-write" => write(shared_view(vcpu::private_page()), 1),
        "unhandled-vc" => {
            let page = crate::memory::fresh_page();
            read(page);
        }
        "terminate" => {
            crate::raw::msr_request(crate::raw::TERMINATE | 1 << 12 | 7 << 16);
        }
        "hang" => loop {
            core::hint::spin_loop();
        },
        "churn" => match many_vcpus::churn(1000) {
            Ok(()) => {
                println!("payload: churn ok");
                ghcb::exit(0)
            }
            Err(failure) => println!("payload: churn FAILED: {}", failure.text()),
        },
        "vectors" => own_real_mode_vectors(),
        "dma" => copy_by_device(false),
        "dma-to-private" => copy_by_device(true),
        // The reset control register of a PC.
        "reset" => ghcb::output(0xcf9, 1, 6),
        "triple-fault" => exception::triple_fault(),
        _ => println!("payload: unknown mode"),
    }
    ghcb::exit(CAME_BACK)
}

/// Has the memory in which a processor in real mode finds its vectors, and calls the SVSM often. Every vector leads to a HLT of this
/// guest's: where VMPL0 executes that, it would execute anything.
fn own_real_mode_vectors() {
    const VECTORS: u64 = 0;
    const CODE: u64 = 0x1000;
    const STACK: u64 = 0xf000;
    for page in [VECTORS, CODE, STACK] {
        assert!(!host::memory_is_shared() || ghcb::change_state(page, 1), "the host keeps low memory");
        assert!(svsm::validate(page) == svsm::SUCCESS, "the SVSM does not validate low memory");
    }
    // Vectors 0 and 1 stay as they are: Rust knows no memory at address 0.
    for place in (VECTORS + 8..VECTORS + 0x400).step_by(8) {
        write(place, CODE << 32 | CODE);
    }
    write(CODE, 0xf4f4_f4f4_f4f4_f4f4);
    for _ in 0..3000 {
        svsm::call(1 << 32, 0);
    }
    println!("payload: vectors ok");
    ghcb::exit(0)
}

/// A device copies one shared page to another, and then perhaps once more, after the page was taken back from the host.
fn copy_by_device(take_back: bool) {
    let Some(device) = Device::find() else {
        return println!("payload: the machine has no device that copies");
    };
    let [source, target] = [(); 2].map(|()| vcpu::private_page());
    [source, target].into_iter().for_each(ghcb::share);
    write(shared_view(source), COPIED);
    write(shared_view(target), 0);
    device.fetch(source, 8);
    device.store(target, 8);
    if read(shared_view(target)) != COPIED {
        return println!("payload: the device did not copy");
    }
    if take_back {
        assert!(ghcb::change_state(target, 1), "the host does not make a page private");
        assert!(svsm::validate(target) == svsm::SUCCESS, "the SVSM does not validate a page");
        write(target, 0);
        device.store(target, 8);
        return println!("payload: the device wrote {:#x} to private memory", read(target));
    }
    println!("payload: dma ok");
    ghcb::exit(0)
}
