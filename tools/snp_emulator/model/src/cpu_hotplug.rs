//! QEMU's ACPI registers for CPU hotplug, as they are on a machine with the guest's processors: OVMF counts processors by them, and
//! QEMU itself has one more. Nothing is ever plugged in or out. Source: QEMU `docs/specs/acpi_cpu_hotplug.rst`, `hw/acpi/cpu.c`.

use alloc::vec::Vec;

/// First port, with ICH9's GPE block.
const FIRST: u16 = 0xcd8;
/// Ports of the present interface, and of the one before it, a bit map of present processors.
const PORTS: u16 = 12;
const BITMAP_PORTS: u16 = 32;
/// Offsets: selector (write) and high half of data (read), flags, command, data.
const SELECTOR: u16 = 0;
const FLAGS: u16 = 4;
const COMMAND: u16 = 5;
const DATA: u16 = 8;
/// Commands: next processor with an event, architectural id.
const NEXT_WITH_EVENT: u8 = 0;
const ARCHITECTURAL_ID: u8 = 3;
/// Flag: the processor is there.
const PRESENT: u32 = 1;

/// The registers.
#[derive(Clone, Debug)]
pub struct CpuHotplug {
    apic_ids: Vec<u32>,
    /// The guest has left the bit map's interface.
    is_modern: bool,
    selector: u32,
    command: u8,
}

/// Whether a port is one of the registers.
pub fn is_port(port: u16) -> bool {
    (FIRST..FIRST + PORTS).contains(&port)
}

impl CpuHotplug {
    /// The registers of a machine with processors of these APIC ids.
    pub fn new(apic_ids: &[u32]) -> Self {
        Self { apic_ids: apic_ids.to_vec(), is_modern: false, selector: 0, command: NEXT_WITH_EVENT }
    }

    /// IN.
    pub fn read(&self, port: u16, bytes: u8) -> u32 {
        let offset = port.wrapping_sub(FIRST);
        let value = if self.is_modern { self.modern(offset) } else { self.bitmap(offset, bytes) };
        match bytes {
            1 => value & 0xff,
            2 => value & 0xffff,
            _ => value,
        }
    }

    fn bitmap(&self, offset: u16, bytes: u8) -> u32 {
        let first = u32::from(offset.min(BITMAP_PORTS)) * 8;
        let bits = u32::from(bytes) * 8;
        let inside = self.apic_ids.iter().filter_map(|id| id.checked_sub(first));
        inside.filter(|bit| *bit < bits.min(32)).fold(0, |map, bit| map | 1 << bit)
    }

    fn modern(&self, offset: u16) -> u32 {
        let Some(apic_id) = self.apic_ids.get(self.selector as usize) else { return 0 };
        match (offset, self.command) {
            (FLAGS, _) => PRESENT,
            (DATA, NEXT_WITH_EVENT) => self.selector,
            (DATA, ARCHITECTURAL_ID) => *apic_id,
            _ => 0,
        }
    }

    /// OUT.
    pub fn write(&mut self, port: u16, value: u32) {
        let offset = port.wrapping_sub(FIRST);
        if !self.is_modern {
            // Only this leads out of the bit map's interface.
            self.is_modern = offset == SELECTOR && value == 0;
            return;
        }
        match offset {
            SELECTOR => self.selector = value,
            // Without processors that come or go there is no event, and the selector stays.
            COMMAND => self.command = value as u8,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firmware_counts_the_guests_processors_and_no_more() {
        let mut registers = CpuHotplug::new(&[0, 1, 2]);
        assert_eq!(registers.read(0xcd8, 1), 0b111, "the bit map");
        // As OVMF does it: leave the bit map, then look at one processor after the other.
        for (port, value) in [(0xcd8, 0), (0xcd8, 0), (0xcdd, 0)] {
            registers.write(port, value);
        }
        let mut count = 0;
        loop {
            registers.write(0xcd8, count);
            registers.write(0xcdd, 0);
            if registers.read(0xcdc, 1) & 1 == 0 {
                break;
            }
            assert_eq!(registers.read(0xce0, 4), count);
            registers.write(0xcdd, 3);
            assert_eq!((registers.read(0xce0, 4), registers.read(0xcd8, 4)), (count, 0));
            count += 1;
        }
        assert_eq!(count, 3);
    }

    #[test]
    fn no_access_reaches_outside() {
        let mut registers = CpuHotplug::new(&[0]);
        for modern in [false, true] {
            for port in 0xcd8..0xce4 {
                for bytes in [1, 2, 4] {
                    registers.read(port, bytes);
                }
                registers.write(port, u32::MAX);
            }
            if !modern {
                registers.write(0xcd8, 0);
            }
        }
    }
}
