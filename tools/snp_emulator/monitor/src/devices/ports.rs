//! I/O ports, memory-mapped registers and MSRs of the guest, forwarded to QEMU's devices.

use super::iommu;
use crate::finish::Verdict;
use crate::world::World;
use crate::{console, fw_cfg, instructions, log, physical};
use model::cpu_hotplug;

const CMOS_INDEX: u16 = 0x70;
const CMOS_DATA: u16 = 0x71;
/// CMOS registers with the memory between 16 MiB and 4 GiB, in 64 KiB units, and above 4 GiB.
const CMOS_MEMORY_LOW: u8 = 0x34;
const CMOS_MEMORY_ABOVE_4G: u8 = 0x5b;
/// Where bare-metal test programs say how they ended: 0 well, anything else not (QEMU's isa-debug-exit port).
const TEST_EXIT: u16 = 0xf4;
/// The monitor's own console, and the one that firmware writes its debug messages to.
const MONITOR_CONSOLE: u16 = 0xe9;
const FIRMWARE_CONSOLE: u16 = 0x402;
/// PM1a control of QEMU's q35: sleep type in 12:10, sleep enable in 13.
const PM1_CONTROL: u16 = 0x604;
const SLEEP_ENABLE: u32 = 1 << 13;
const RESET_CONTROL: u16 = 0xcf9;
const RESET_CPU: u32 = 1 << 2;
const KEYBOARD_COMMAND: u16 = 0x64;
const KEYBOARD_RESET: u32 = 0xfe;
/// Serial port 1: transmit register, and the bit that says it is free.
const SERIAL_DATA: u16 = 0x3f8;
const SERIAL_STATUS: u16 = 0x3fd;
const SERIAL_FREE: u8 = 1 << 5;
const MEGABYTE: u64 = 1 << 20;

impl World {
    /// An access to an I/O port by a vCPU: `output` is the value of an OUT; returns the value of an IN.
    pub fn port_access(&mut self, vcpu: usize, port: u16, bytes: u8, output: Option<u32>) -> u32 {
        if let Some(value) = output {
            self.port_output(vcpu, port, bytes, value);
            return 0;
        }
        match port {
            CMOS_DATA => self.cmos_register(),
            MONITOR_CONSOLE | FIRMWARE_CONSOLE => u32::from(MONITOR_CONSOLE as u8),
            _ if cpu_hotplug::is_port(port) => self.devices.cpu_hotplug.read(port, bytes),
            _ if fw_cfg::is_port(port) => self.devices.fw_cfg.input(port, bytes),
            _ => raw_input(port, bytes),
        }
    }

    fn port_output(&mut self, vcpu: usize, port: u16, bytes: u8, value: u32) {
        match port {
            TEST_EXIT if value == 0 => self.end(Verdict::Finished),
            TEST_EXIT => {
                log!("the guest reports failure {value}");
                self.end(Verdict::Failed)
            }
            PM1_CONTROL if value & SLEEP_ENABLE != 0 => self.end(Verdict::Finished),
            RESET_CONTROL if value & RESET_CPU != 0 => self.reset(vcpu, "port 0xcf9"),
            KEYBOARD_COMMAND if value & 0xff == KEYBOARD_RESET => self.reset(vcpu, "the keyboard controller"),
            MONITOR_CONSOLE | FIRMWARE_CONSOLE => self.firmware_console(value as u8),
            SERIAL_DATA => {
                // A chardev that is slow must not lose what a string instruction sends in one go.
                while raw_input(SERIAL_STATUS, 1) as u8 & SERIAL_FREE == 0 {
                    core::hint::spin_loop();
                }
                raw_output(port, bytes, value);
            }
            CMOS_INDEX => {
                self.devices.cmos_index = value as u8 & 0x7f;
                raw_output(port, bytes, value);
            }
            _ if cpu_hotplug::is_port(port) => self.devices.cpu_hotplug.write(port, value),
            _ if fw_cfg::is_port(port) => self.fw_cfg_output(vcpu, port, bytes, value),
            _ => raw_output(port, bytes, value),
        }
    }

    fn firmware_console(&mut self, byte: u8) {
        if self.settings.trace {
            console::line("firmware", format_args!("{:?}", char::from(byte)));
        }
    }

    /// A CMOS register; those with the memory size show the guest's, not the monitor's as well.
    fn cmos_register(&self) -> u32 {
        let below = self.settings.ram_below_4g().saturating_sub(16 * MEGABYTE) >> 16;
        let above = self.settings.ram_above_4g() >> 16;
        let index = self.devices.cmos_index;
        match index {
            CMOS_MEMORY_LOW | 0x35 => (below >> (8 * (index - CMOS_MEMORY_LOW))) as u32 & 0xff,
            CMOS_MEMORY_ABOVE_4G..=0x5d => (above >> (8 * (index - CMOS_MEMORY_ABOVE_4G))) as u32 & 0xff,
            _ => raw_input(CMOS_DATA, 1),
        }
    }

    /// Reads a device register.
    pub fn device_read(&mut self, address: u64, bytes: u64) -> u64 {
        if iommu::is_register(address) || !physical::is_reachable(address, bytes) {
            return u64::MAX;
        }
        match bytes {
            1 => physical::read_u8(address).into(),
            2 => physical::read_u16(address).into(),
            4 => physical::read_u32(address).into(),
            _ => physical::read_u64(address),
        }
    }

    /// Writes a device register.
    pub fn device_write(&mut self, vcpu: usize, address: u64, bytes: u64, value: u64) {
        if iommu::is_register(address)
            || !physical::is_reachable(address, bytes)
            || self.filter_apic_page(vcpu, address, value as u32)
        {
            return;
        }
        match bytes {
            1 => physical::write_u8(address, value as u8),
            2 => physical::write_u16(address, value as u16),
            4 => physical::write_u32(address, value as u32),
            _ => physical::write_u64(address, value),
        }
    }
}

/// IN on a port of QEMU's.
pub fn raw_input(port: u16, bytes: u8) -> u32 {
    match bytes {
        // SAFETY: devices that write memory by themselves are set up through fw_cfg (filtered) or PCI (behind the IOMMU).
        1 => u32::from(unsafe { instructions::in_u8(port) }),
        // SAFETY: as above.
        2 => u32::from(unsafe { instructions::in_u16(port) }),
        // SAFETY: as above.
        _ => unsafe { instructions::in_u32(port) },
    }
}

/// OUT on a port of QEMU's.
pub fn raw_output(port: u16, bytes: u8, value: u32) {
    match bytes {
        // SAFETY: as for `raw_input`.
        1 => unsafe { instructions::out_u8(port, value as u8) },
        // SAFETY: as for `raw_input`.
        2 => unsafe { instructions::out_u16(port, value as u16) },
        // SAFETY: as for `raw_input`.
        _ => unsafe { instructions::out_u32(port, value) },
    }
}
