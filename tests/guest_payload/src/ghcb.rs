//! This guest's own GHCB, for I/O, fw_cfg, AP creation and page state changes.

use crate::memory::{read, shared_view, write};
use crate::raw::{self, GHCB_MSR, PAGE_STATE_CHANGE, PAGE_STATE_CHANGED, REGISTER_GHCB, REGISTERED_GHCB};
use crate::svsm;
use core::sync::atomic::{AtomicBool, Ordering};

const RAX: u64 = 0x1f8;
const RCX: u64 = 0x308;
const RDX: u64 = 0x310;
const EXIT_CODE: u64 = 0x390;
const EXIT_INFO_1: u64 = 0x398;
const EXIT_INFO_2: u64 = 0x3a0;
const SCRATCH: u64 = 0x3a8;
const VALID_BITMAP: u64 = 0x3f0;
const SHARED_BUFFER: u64 = 0x800;
const NAE_IO: u64 = 0x7b;
const NAE_DEVICE_READ: u64 = 0x8000_0001;
const NAE_DEVICE_WRITE: u64 = 0x8000_0002;
const NAE_PAGE_STATE_CHANGE: u64 = 0x8000_0010;
const NAE_MSR: u64 = 0x7c;
const NAE_AP_CREATION: u64 = 0x8000_0013;
const NAE_APIC_IDS: u64 = 0x8000_0017;
const IO_IN: u64 = 1;
const IO_STRING_REPEAT: u64 = 1 << 2 | 1 << 3;
const IO_BYTE: u64 = 1 << 4;
const IO_WORD: u64 = 1 << 5;
const IO_DWORD: u64 = 1 << 6;
const TEST_EXIT: u64 = 0xf4;
const FW_CFG_SELECTOR: u64 = 0x510;
const FW_CFG_DATA: u64 = 0x511;
const FW_CFG_DIRECTORY: u64 = 0x19;

#[repr(C, align(4096))]
struct Page([u8; 4096]);
static mut GHCB: Page = Page([0; 4096]);
static mut LIST: Page = Page([0; 4096]);
static READY: AtomicBool = AtomicBool::new(false);

fn page() -> u64 {
    &raw const GHCB as u64
}

fn view() -> u64 {
    shared_view(page())
}

/// Makes a page of this guest's shared with the host: rescinded first, then changed.
pub fn share(address: u64) {
    assert!(svsm::rescind(address) == svsm::SUCCESS, "the SVSM does not rescind a page");
    assert!(change_state(address, 2), "the host does not share a page");
}

/// Asks the host for a page state change: 1 private, 2 shared.
pub fn change_state(address: u64, operation: u64) -> bool {
    raw::msr_request(PAGE_STATE_CHANGE | address | operation << 52) == PAGE_STATE_CHANGED
}

/// Asks the host to make 2 MiB private as one page.
pub fn make_large_page_private(address: u64) -> bool {
    let list = SHARED_BUFFER;
    // Header: current entry 0, last entry 0. Entry: operation 1 (private), size bit 56.
    write(view() + list, 0);
    write(view() + list + 8, address | 1 << 52 | 1 << 56);
    event(NAE_PAGE_STATE_CHANGE, 0, 0, &[(SCRATCH, page() + list)]).1 == 0
}

pub fn initialise() {
    share(page());
    for offset in (0..4096).step_by(8) {
        write(view() + offset, 0);
    }
    assert!(
        raw::msr_request(REGISTER_GHCB | page()) == REGISTERED_GHCB | page(),
        "the GHCB cannot be registered"
    );
    READY.store(true, Ordering::SeqCst);
}

pub fn is_ready() -> bool {
    READY.load(Ordering::SeqCst)
}

/// One event; returns both information words.
fn event(code: u64, first: u64, second: u64, fields: &[(u64, u64)]) -> (u64, u64) {
    let (mut low, mut high) = (0u64, 0u64);
    let all = [(EXIT_CODE, code), (EXIT_INFO_1, first), (EXIT_INFO_2, second)];
    for (offset, value) in all.iter().chain(fields) {
        write(view() + offset, *value);
        let bit = offset / 8;
        if bit < 64 { low |= 1 << bit } else { high |= 1 << (bit - 64) }
    }
    write(view() + VALID_BITMAP, low);
    write(view() + VALID_BITMAP + 8, high);
    // Protocol version 2, usage 0.
    write(view() + 0xff8, 2 << 16);
    raw::write_msr(GHCB_MSR, page());
    raw::vmgexit();
    (read(view() + EXIT_INFO_1), read(view() + EXIT_INFO_2))
}

pub fn output(port: u64, size: u64, value: u64) {
    let size = match size {
        1 => IO_BYTE,
        2 => IO_WORD,
        _ => IO_DWORD,
    };
    event(NAE_IO, port << 16 | size, 0, &[(RAX, value)]);
}

pub fn output_bytes(port: u64, bytes: &[u8]) {
    for part in bytes.chunks(1024) {
        for (offset, byte) in part.iter().enumerate() {
            // SAFETY: the shared buffer is this guest's own.
            unsafe { ((view() + SHARED_BUFFER + offset as u64) as *mut u8).write_volatile(*byte) };
        }
        let scratch = (SCRATCH, page() + SHARED_BUFFER);
        event(NAE_IO, port << 16 | IO_BYTE | IO_STRING_REPEAT, part.len() as u64, &[scratch]);
    }
}

pub fn input_byte(port: u64) -> u8 {
    event(NAE_IO, port << 16 | IO_BYTE | IO_IN, 0, &[(RAX, 0)]);
    read(view() + RAX) as u8
}

/// IN of four bytes.
pub fn input_word(port: u64) -> u64 {
    event(NAE_IO, port << 16 | IO_DWORD | IO_IN, 0, &[(RAX, 0)]);
    read(view() + RAX) & 0xffff_ffff
}

/// Reads eight bytes of a device's registers.
pub fn device_read(address: u64) -> u64 {
    event(NAE_DEVICE_READ, address, 8, &[(SCRATCH, page() + SHARED_BUFFER)]);
    read(view() + SHARED_BUFFER)
}

/// Writes eight bytes of a device's registers.
pub fn device_write(address: u64, value: u64) {
    write(view() + SHARED_BUFFER, value);
    event(NAE_DEVICE_WRITE, address, 8, &[(SCRATCH, page() + SHARED_BUFFER)]);
}

/// AP creation: request 0 (on INIT), 1 (now) or 2 (destroy); `true` if the host did it.
pub fn ap_creation(apic_id: u32, vmpl: u64, request: u64, vmsa: u64, features: u64) -> bool {
    let first = u64::from(apic_id) << 32 | vmpl << 16 | request;
    event(NAE_AP_CREATION, first, vmsa, &[(RAX, features)]).0 as u32 == 0
}

/// APIC ids of the machine's vCPUs; returns how many there are.
pub fn apic_ids(ids: &mut [u32]) -> usize {
    let list = &raw const LIST as u64;
    share(list);
    event(NAE_APIC_IDS, list, 0, &[(RAX, 1)]);
    let word = |index: u64| (read(shared_view(list) + index / 2 * 8) >> (32 * (index % 2))) as u32;
    let count = word(0) as usize;
    for (index, id) in ids.iter_mut().enumerate().take(count) {
        *id = word(index as u64 + 1);
    }
    count
}

/// RDMSR by the host.
pub fn read_msr(register: u64) -> u64 {
    event(NAE_MSR, 0, 0, &[(RCX, register)]);
    read(view() + RAX) & 0xffff_ffff | read(view() + RDX) << 32
}

/// WRMSR by the host.
pub fn write_msr(register: u64, value: u64) {
    event(NAE_MSR, 1, 0, &[(RCX, register), (RAX, value & 0xffff_ffff), (RDX, value >> 32)]);
}

/// Ends the machine: 0 for success.
pub fn exit(code: u64) -> ! {
    if is_ready() {
        output(TEST_EXIT, 1, code);
    }
    loop {
        raw::msr_request(raw::TERMINATE);
    }
}

/// Text of a fw_cfg file; empty if there is none.
pub struct Text {
    bytes: [u8; 64],
    length: usize,
}

impl Text {
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or("?").trim()
    }
}

pub fn fw_cfg_file(name: &[u8]) -> Text {
    let mut text = Text { bytes: [0; 64], length: 0 };
    output(FW_CFG_SELECTOR, 2, FW_CFG_DIRECTORY);
    let count = u32::from_be_bytes([(); 4].map(|()| input_byte(FW_CFG_DATA)));
    for _ in 0..count {
        let entry: [u8; 64] = [(); 64].map(|()| input_byte(FW_CFG_DATA));
        let found = &entry[8..];
        if found.starts_with(name) && found[name.len()] == 0 {
            text.length = u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]).min(64) as usize;
            output(FW_CFG_SELECTOR, 2, u64::from(entry[4]) << 8 | u64::from(entry[5]));
            break;
        }
    }
    for place in &mut text.bytes[..text.length] {
        *place = input_byte(FW_CFG_DATA);
    }
    text
}
