//! From QEMU's PVH entry to [`crate::run`], with the monitor moved to the top of memory.
//!
//! QEMU loads the ELF at 1 MiB, where the guest's memory will be. The launcher keeps a range at the
//! end of memory for the monitor and names it on the command line (`own=START-END`, hexadecimal);
//! the image moves there before anything of the guest is loaded, so that guest-physical and
//! host-physical addresses are the same and QEMU's devices can be used as they are.

mod processors;
mod relocate;

pub use processors::start_others;

use crate::{heap, physical};
use core::arch::global_asm;

global_asm!(include_str!("entry.s"));

/// The range of physical memory that the monitor owns.
#[derive(Clone, Copy, Debug)]
pub struct OwnMemory {
    /// First byte, 2 MiB aligned.
    pub start: u64,
    /// First byte behind the range.
    pub end: u64,
}

/// `hvm_start_info` of the PVH boot protocol: offset of the command line's address.
const START_INFO_COMMAND_LINE: u64 = 24;
const COMMAND_LINE_LIMIT: usize = 256;

#[unsafe(no_mangle)]
extern "C" fn boot_processor_main(start_info: u64) -> ! {
    // Until the monitor has moved, nothing of the guest exists and every address is fair.
    physical::reserve_own(0, 0);
    let mut text = [0u8; COMMAND_LINE_LIMIT];
    let own = parse_own(command_line(start_info, &mut text)).expect("command line lacks own=START-END");
    relocate::to_top(own, in_place)
}

/// Continues with the same virtual addresses on the moved image.
extern "C" fn in_place(start: u64, end: u64, image_end: u64) -> ! {
    let own = OwnMemory { start, end };
    physical::reserve_own(own.start, own.end);
    heap::initialise(image_end, own.end);
    crate::run(own)
}

fn command_line(start_info: u64, text: &mut [u8; COMMAND_LINE_LIMIT]) -> &str {
    let address = physical::read_u64(start_info + START_INFO_COMMAND_LINE);
    physical::read_bytes(address, text);
    let length = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    core::str::from_utf8(&text[..length]).unwrap_or("")
}

fn parse_own(line: &str) -> Option<OwnMemory> {
    let value = line.split_ascii_whitespace().find_map(|word| word.strip_prefix("own="))?;
    let (start, end) = value.split_once('-')?;
    let own =
        OwnMemory { start: u64::from_str_radix(start, 16).ok()?, end: u64::from_str_radix(end, 16).ok()? };
    (own.start < own.end && own.start.is_multiple_of(2 << 20)).then_some(own)
}
