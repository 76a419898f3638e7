//! What the guest sees of fw_cfg: QEMU's items, except for those that would show it the monitor's memory and
//! processor, and without DMA into memory that it has not shared.

use super::ports::{raw_input, raw_output};
use crate::fw_cfg::{self, DATA, DMA_HIGH, DMA_LOW, DMA_READ, DMA_SELECT, DMA_SKIP, DMA_WRITE, SELECTOR};
use crate::settings::Settings;
use crate::world::World;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use model::Fault;

const RAM_SIZE: u16 = 0x03;
const PROCESSOR_COUNT: u16 = 0x05;
/// The highest APIC id that a processor may get, and one (FW_CFG_MAX_CPUS).
const APIC_ID_LIMIT: u16 = 0x0f;
/// Items with kernel, initrd and command line (QEMU include/standard-headers/linux/qemu_fw_cfg.h).
const KERNEL_SIZE: u16 = 0x08;
const INITRD_SIZE: u16 = 0x0b;
const KERNEL_DATA: u16 = 0x11;
const INITRD_DATA: u16 = 0x12;
const COMMAND_LINE_SIZE: u16 = 0x14;
const COMMAND_LINE_DATA: u16 = 0x15;
const SETUP_SIZE: u16 = 0x17;
const SETUP_DATA: u16 = 0x18;
/// Offset in a bzImage of the number of its real-mode sectors, and bytes of one.
const SETUP_SECTORS: usize = 0x1f1;
const SECTOR: usize = 512;
/// The byte of a changing file: in the setup header of a bzImage, part of the version's address.
const CHANGING_BYTE: u64 = 0x20e;
const E820_RAM: u32 = 1;
const MADT_SIGNATURE: &[u8; 4] = b"APIC";
const DMAR_SIGNATURE: &[u8; 4] = b"DMAR";
/// A table of the OEM's: nobody else reads it.
const OEM_SIGNATURE: &[u8; 4] = b"OEM0";
/// Offsets in an ACPI table: length, checksum; and where a MADT's entries begin.
const TABLE_LENGTH: usize = 4;
const TABLE_CHECKSUM: usize = 9;
const MADT_ENTRIES: usize = 44;
const MADT_LOCAL_APIC: u8 = 0;
const MADT_LOCAL_X2APIC: u8 = 9;
/// First type that ACPI leaves to OEMs.
const MADT_OEM: u8 = 0x80;

/// The view's state.
pub struct View {
    /// Items that the monitor serves itself.
    own: BTreeMap<u16, Vec<u8>>,
    madt: Option<Vec<u8>>,
    /// The item whose start differs when it is read for the first time.
    changing: Option<u16>,
    key: u16,
    offset: usize,
    dma_high: u32,
}

impl View {
    /// The view for a machine.
    pub fn new(settings: &Settings, apic_ids: &[u32]) -> Self {
        let mut own = BTreeMap::new();
        let total: u64 = settings.ram.iter().map(|range| range.bytes).sum();
        own.insert(RAM_SIZE, total.to_le_bytes().into());
        for count in [PROCESSOR_COUNT, APIC_ID_LIMIT] {
            own.insert(count, (settings.vcpus as u16).to_le_bytes().into());
        }
        if let Some(file) = fw_cfg::find("etc/e820") {
            own.insert(file.key, e820(settings));
        }
        let mut madt = None;
        if let Some(file) = fw_cfg::find("etc/acpi/tables") {
            let mut tables = fw_cfg::read_key(file.key, file.bytes as usize);
            madt = hide_processors(&mut tables, apic_ids);
            hide_iommu(&mut tables);
            own.insert(file.key, tables);
        }
        own.extend(boot_items());
        let changing = fw_cfg::find(&settings.changing_file).map(|file| file.key);
        Self { own, madt, changing, key: 0, offset: 0, dma_high: 0 }
    }

    /// The MADT as the guest sees it.
    pub fn madt(&self) -> Option<&[u8]> {
        self.madt.as_deref()
    }

    /// IN from one of the device's ports.
    pub fn input(&mut self, port: u16, bytes: u8) -> u32 {
        if port != DATA {
            return raw_input(port, bytes);
        }
        let real = raw_input(port, bytes);
        let Some(item) = self.own.get(&self.key) else { return real };
        let value = item.get(self.offset).copied().unwrap_or(0);
        self.offset += 1;
        value.into()
    }

    fn select(&mut self, key: u16) {
        self.key = key;
        self.offset = 0;
    }
}

impl World {
    /// OUT to one of the device's ports.
    pub fn fw_cfg_output(&mut self, vcpu: usize, port: u16, bytes: u8, value: u32) {
        match port {
            SELECTOR => {
                self.devices.fw_cfg.select(value as u16);
                raw_output(port, bytes, value);
            }
            DMA_HIGH => self.devices.fw_cfg.dma_high = value,
            DMA_LOW => {
                let high = core::mem::take(&mut self.devices.fw_cfg.dma_high);
                let address = u64::from(high.swap_bytes()) << 32 | u64::from(value.swap_bytes());
                self.fw_cfg_dma(vcpu, address);
            }
            _ => raw_output(port, bytes, value),
        }
    }

    /// Executes a DMA request of the guest; the request and the buffer must be shared memory.
    fn fw_cfg_dma(&mut self, vcpu: usize, address: u64) {
        let mut request = [0; 16];
        if !self.device_may_access(vcpu, address, 16) || !self.memory.read(address, &mut request) {
            return;
        }
        let word =
            |at: usize| u32::from_be_bytes([request[at], request[at + 1], request[at + 2], request[at + 3]]);
        let (control, length) = (word(0), word(4));
        let buffer = u64::from(word(8)) << 32 | u64::from(word(12));
        let done =
            control & (DMA_READ | DMA_WRITE) == 0 || self.device_may_access(vcpu, buffer, length.into());
        let done = done && self.fw_cfg_transfer(control, buffer, length);
        let status = if done { 0u32 } else { fw_cfg::DMA_ERROR };
        self.memory.write(address, &status.to_be_bytes());
    }

    fn fw_cfg_transfer(&mut self, control: u32, buffer: u64, length: u32) -> bool {
        if control & DMA_SELECT != 0 {
            self.devices.fw_cfg.select((control >> 16) as u16);
        }
        let view = &mut self.devices.fw_cfg;
        let Some(item) = view.own.get(&view.key) else {
            let Some(host) =
                self.memory.host(buffer).or((control & (DMA_READ | DMA_WRITE) == 0).then_some(0))
            else {
                return false;
            };
            let changes =
                control & DMA_SELECT != 0 && view.changing.take_if(|key| *key == view.key).is_some();
            // SAFETY: the buffer is guest memory (`device_may_access`), which QEMU may overwrite.
            let done = unsafe { fw_cfg::transfer(control, host, length) };
            if changes {
                let mut byte = [0];
                self.memory.read(buffer + CHANGING_BYTE, &mut byte);
                self.memory.write(buffer + CHANGING_BYTE, &[byte[0] ^ 1]);
            }
            return done;
        };
        let start = view.offset.min(item.len());
        let end = (view.offset + length as usize).min(item.len());
        view.offset += length as usize;
        if control & DMA_READ != 0 {
            let mut part = item[start..end].to_vec();
            part.resize(length as usize, 0);
            return self.memory.write(buffer, &part);
        }
        control & DMA_SKIP != 0 || control & DMA_WRITE == 0
    }

    /// Whether a device may access guest memory; private memory is a violation.
    pub fn device_may_access(&mut self, vcpu: usize, address: u64, bytes: u64) -> bool {
        let allowed = self.model.host_may_access(address, bytes);
        if !allowed {
            let actor = self.model.actor(vcpu);
            self.model.report(actor, Fault::DeviceAccess { address });
        }
        allowed
    }
}

fn e820(settings: &Settings) -> Vec<u8> {
    let mut table = Vec::new();
    for range in &settings.ram {
        table.extend_from_slice(&range.start.to_le_bytes());
        table.extend_from_slice(&range.bytes.to_le_bytes());
        table.extend_from_slice(&E820_RAM.to_le_bytes());
    }
    table
}

/// What QEMU's `-kernel`, `-initrd` and `-append` would give the guest: QEMU itself got the monitor there.
fn boot_items() -> Vec<(u16, Vec<u8>)> {
    let kernel = fw_cfg::read("opt/snp-emulator/kernel").unwrap_or_default();
    let initrd = fw_cfg::read("opt/snp-emulator/initrd").unwrap_or_default();
    let mut command_line = fw_cfg::read("opt/snp-emulator/cmdline").unwrap_or_default();
    if !kernel.is_empty() {
        command_line.push(0);
    }
    // Sectors of real-mode code behind the first; 0 means 4 (Linux Documentation/arch/x86/boot.rst).
    let sectors =
        kernel.get(SETUP_SECTORS).map_or(0, |count| if *count == 0 { 4 } else { usize::from(*count) });
    let setup = ((sectors + 1) * SECTOR).min(kernel.len());
    let size = |bytes: usize| (bytes as u32).to_le_bytes().to_vec();
    alloc::vec![
        (KERNEL_SIZE, size(kernel.len() - setup)),
        (SETUP_SIZE, size(setup)),
        (INITRD_SIZE, size(initrd.len())),
        (COMMAND_LINE_SIZE, size(command_line.len())),
        (KERNEL_DATA, kernel[setup..].to_vec()),
        (SETUP_DATA, kernel[..setup].to_vec()),
        (INITRD_DATA, initrd),
        (COMMAND_LINE_DATA, command_line),
    ]
}

/// Renames the table that describes the IOMMU, which is the monitor's. Checksums are made by who loads the tables.
fn hide_iommu(tables: &mut [u8]) {
    let start = tables.windows(4).position(|window| window == DMAR_SIGNATURE);
    if let Some(signature) = start.and_then(|start| tables.get_mut(start..start + 4)) {
        signature.copy_from_slice(OEM_SIGNATURE);
    }
}

/// Takes processors that are not the guest's (QEMU has one more) out of the MADT; returns the MADT with its checksum right.
fn hide_processors(tables: &mut [u8], apic_ids: &[u32]) -> Option<Vec<u8>> {
    let start = tables.windows(4).position(|window| window == MADT_SIGNATURE)?;
    let length = u32::from_le_bytes(*tables.get(start + TABLE_LENGTH..)?.first_chunk()?) as usize;
    let table = tables.get_mut(start..start + length)?;
    let mut at = MADT_ENTRIES;
    while let Some([kind, size, ..]) = table.get(at..) {
        let (kind, size) = (*kind, usize::from(*size));
        let entry = table.get_mut(at..at + size.max(2))?;
        match (kind, size) {
            // APIC id at 3; an entry of the OEM's is skipped by everybody.
            (MADT_LOCAL_APIC, 8) if !apic_ids.contains(&u32::from(entry[3])) => entry[0] = MADT_OEM,
            (MADT_LOCAL_X2APIC, 16) => {
                let id = u32::from_le_bytes(*entry.get(4..)?.first_chunk()?);
                if !apic_ids.contains(&id) {
                    entry[0] = MADT_OEM;
                }
            }
            _ => {}
        }
        at += size.max(2);
    }
    let mut madt = table.to_vec();
    madt[TABLE_CHECKSUM] = 0;
    let sum = madt.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    madt[TABLE_CHECKSUM] = sum.wrapping_neg();
    Some(madt)
}
