//! The first program of the image: from 32-bit protected mode to the kernel.
//!
//! `hardware::stage2_entry` turns on paging with the page tables that `igvm-image` built; what is left is
//! to validate the kernel's memory that was not launched, and to say where the kernel begins.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

use boot_handoff::{DIRECT_WINDOW, Handoff, Parameters};
use core::mem::offset_of;
use hardware::stage2_entry::{Next, offsets};
use hardware::termination::{Reason, terminate};
use hardware::{instructions, own_memory};
use snp_abi::igvm_parameters::ENVIRONMENT_MEMORY_IS_SHARED;

const _: () = {
    assert!(offset_of!(Handoff, cpuid_page) == offsets::CPUID_PAGE);
    assert!(offset_of!(Handoff, page_tables) == offsets::TABLES_START);
    assert!(offsets::TABLES_PAGES == offsets::TABLES_START + 8);
    assert!(DIRECT_WINDOW == offsets::DIRECT_WINDOW);
};

#[expect(unsafe_code, reason = "the entry code calls this symbol; what follows rests on the measured record")]
#[unsafe(no_mangle)]
extern "C" fn stage2_main(record: &'static [u8; 4096]) -> Next {
    let Ok(handoff) = Handoff::parse(record) else { terminate(Reason::Handoff) };
    let parameters = DIRECT_WINDOW.wrapping_add(handoff.parameters_page) as *const Parameters;
    // SAFETY: the page tables that the image brought map the parameters page, which was launched, in the direct window.
    let parameters = unsafe { parameters.read() };
    let shared = parameters.environment & ENVIRONMENT_MEMORY_IS_SHARED != 0;
    let Some(end) = handoff.stage2_validates.end() else { terminate(Reason::Handoff) };
    // SAFETY: the image maps its whole region in the direct window; nothing has used this part of it yet.
    unsafe { own_memory::validate_range(DIRECT_WINDOW, handoff.stage2_validates.start, end, shared) };
    let start = DIRECT_WINDOW.wrapping_add(handoff.stage2_validates.start);
    // SAFETY: just validated, mapped, and still unused.
    unsafe { instructions::zero(start, end.wrapping_sub(handoff.stage2_validates.start)) };
    Next { entry: handoff.kernel_entry, stack: handoff.kernel_stack_top }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    terminate(Reason::Panic)
}
