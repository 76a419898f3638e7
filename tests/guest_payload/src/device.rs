//! A PCI device that copies memory: QEMU's `edu`, which the run adds (QEMU docs/specs/edu.rst).

use crate::ghcb;

const CONFIG_ADDRESS: u64 = 0xcf8;
const CONFIG_DATA: u64 = 0xcfc;
/// Bus 0, device 16, function 0.
const CONFIG_ENABLE: u64 = 1 << 31 | 16 << 11;
const IDENTITY: u64 = 0x11e8_1234;
const COMMAND: u64 = 4;
const BASE: u64 = 0x10;
/// The device answers in its window of memory, and may access memory itself.
const COMMAND_ON: u64 = 1 << 1 | 1 << 2;
/// Where its registers are put if no firmware did: a hole below the IOAPIC.
const OWN_BASE: u64 = 0xe800_0000;
const SOURCE: u64 = 0x80;
const DESTINATION: u64 = 0x88;
const COUNT: u64 = 0x90;
const START: u64 = 0x98;
/// Its own memory, in its own addresses.
const BUFFER: u64 = 0x4_0000;
const FROM_MEMORY: u64 = 1;
const TO_MEMORY: u64 = 1 | 1 << 1;

/// The device, turned on.
pub struct Device {
    base: u64,
}

fn config(register: u64) -> u64 {
    ghcb::output(CONFIG_ADDRESS, 4, CONFIG_ENABLE | register);
    ghcb::input_word(CONFIG_DATA)
}

fn set_config(register: u64, value: u64) {
    ghcb::output(CONFIG_ADDRESS, 4, CONFIG_ENABLE | register);
    ghcb::output(CONFIG_DATA, 4, value);
}

impl Device {
    pub fn find() -> Option<Self> {
        if config(0) != IDENTITY {
            return None;
        }
        if config(BASE) & !0xf == 0 {
            set_config(BASE, OWN_BASE);
        }
        set_config(COMMAND, COMMAND_ON);
        Some(Self { base: config(BASE) & !0xf })
    }

    fn copy(&self, source: u64, destination: u64, bytes: u64, start: u64) {
        for (register, value) in
            [(SOURCE, source), (DESTINATION, destination), (COUNT, bytes), (START, start)]
        {
            ghcb::device_write(self.base + register, value);
        }
        while ghcb::device_read(self.base + START) & 1 != 0 {
            core::hint::spin_loop();
        }
    }

    /// Makes the device fetch from memory.
    pub fn fetch(&self, address: u64, bytes: u64) {
        self.copy(address, BUFFER, bytes, FROM_MEMORY);
    }

    /// Makes the device write what it fetched.
    pub fn store(&self, address: u64, bytes: u64) {
        self.copy(BUFFER, address, bytes, TO_MEMORY);
    }
}
