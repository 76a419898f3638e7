//! Entry, and what the boot parameters say (Linux Documentation/arch/x86/boot.rst; asm/sev.h).

use core::arch::global_asm;

const E820_COUNT: u64 = 0x1e8;
const SETUP_DATA: u64 = 0x250;
const E820_TABLE: u64 = 0x2d0;
const SETUP_CC_BLOB: u32 = 7;
const SETUP_EVENT_LOG: u32 = 0x5643_4c47;
const CC_MAGIC: u32 = 0x4544_4d41;
/// Secrets page: SVSM base, size, calling area, version, guest VMPL; VMPCK0.
const SECRETS_SVSM_BASE: u64 = 0x140;
const SECRETS_SVSM_SIZE: u64 = 0x148;
const SECRETS_CALLING_AREA: u64 = 0x150;
const SECRETS_VERSION: u64 = 0x158;
const SECRETS_VMPL: u64 = 0x15c;

global_asm!(
    ".section .text",
    ".globl payload_entry",
    "payload_entry:",
    "lea rsp, [rip + boot_stack_top]",
    "xor ebp, ebp",
    "mov rdi, rsi",
    "call {main}",
    "ud2",
    ".section .bss",
    ".balign 16",
    ".skip 65536",
    "boot_stack_top:",
    ".section .text",
    main = sym crate::main,
);

/// A range of RAM.
#[derive(Clone, Copy)]
pub struct Ram {
    pub start: u64,
    pub end: u64,
}

/// What this guest was told.
pub struct Boot {
    pub secrets: u64,
    pub cpuid: u64,
    pub svsm_base: u64,
    pub svsm_size: u64,
    pub calling_area: u64,
    pub svsm_version: u32,
    pub vmpl: u8,
    pub ram: [Ram; 8],
    /// The event log: first byte, and first byte behind it.
    pub event_log: (u64, u64),
}

/// The payload of the firmware's own setup data node.
fn event_log(mut node: u64) -> (u64, u64) {
    while node != 0 {
        if read_u32(node + 8) == SETUP_EVENT_LOG {
            return (node + 16, node + 16 + u64::from(read_u32(node + 12)));
        }
        node = read_u64(node);
    }
    (0, 0)
}

pub fn read_u64(address: u64) -> u64 {
    // SAFETY: the whole of low memory is mapped; what is not granted stops the machine, which is a verdict too.
    unsafe { (address as *const u64).read_unaligned() }
}

pub fn read_u32(address: u64) -> u32 {
    // SAFETY: as for `read_u64`.
    unsafe { (address as *const u32).read_unaligned() }
}

/// Follows the boot parameters to the secrets page.
pub fn read(parameters: u64) -> Boot {
    let node = read_u64(parameters + SETUP_DATA);
    assert!(read_u32(node + 8) == SETUP_CC_BLOB, "no cc_blob in the setup data");
    let blob = u64::from(read_u32(node + 16));
    assert!(read_u32(blob) == CC_MAGIC, "the cc_blob has no magic");
    let (secrets, cpuid) = (read_u64(blob + 8), read_u64(blob + 24));
    let mut ram = [Ram { start: 0, end: 0 }; 8];
    let count = read_u64(parameters + E820_COUNT) & 0xff;
    let entries = (0..count).map(|index| parameters + E820_TABLE + index * 20);
    let usable = entries.filter(|entry| read_u32(entry + 16) == 1);
    for (slot, entry) in ram.iter_mut().zip(usable) {
        let start = read_u64(entry);
        *slot = Ram { start, end: start + read_u64(entry + 8) };
    }
    Boot {
        secrets,
        cpuid,
        svsm_base: read_u64(secrets + SECRETS_SVSM_BASE),
        svsm_size: read_u64(secrets + SECRETS_SVSM_SIZE),
        calling_area: read_u64(secrets + SECRETS_CALLING_AREA),
        svsm_version: read_u32(secrets + SECRETS_VERSION),
        vmpl: read_u32(secrets + SECRETS_VMPL) as u8,
        ram,
        event_log: event_log(node),
    }
}
