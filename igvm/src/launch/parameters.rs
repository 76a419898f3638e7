//! Writes the host's parameters into a plan, as a loader does before the launch.

use snp_abi::acpi::{InvalidMadt, write_madt};
use snp_abi::address::page_of;
use snp_abi::igvm_parameters::{ENVIRONMENT_MEMORY_IS_SHARED, MemoryMapEntry};
use zerocopy::IntoBytes;

use super::{LaunchPlan, PAGE};
use crate::file::ParameterKind;

/// What a machine tells its guest.
#[derive(Debug, Clone)]
pub struct HostParameters<'a> {
    /// The memory map, ascending.
    pub memory_map: &'a [MemoryMapEntry],
    /// APIC ids, one per vCPU.
    pub apic_ids: &'a [u32],
    /// Whether memory that is not in the file starts shared; QEMU always says so.
    pub memory_is_shared: bool,
}

/// A parameter that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// The parameter's area is too small for its value.
    #[error("the {0:?} parameter does not fit in its area")]
    TooLarge(ParameterKind),
}

impl ParameterKind {
    /// Bytes that the smallest value of the kind takes.
    pub(super) const fn minimum_bytes(self) -> u64 {
        match self {
            Self::VcpuCount | Self::Environment => 4,
            Self::MemoryMap => size_of::<MemoryMapEntry>() as u64,
            Self::Madt => 44,
            Self::Srat
            | Self::Slit
            | Self::Pptt
            | Self::MmioRanges
            | Self::CommandLine
            | Self::DeviceTree => 0,
        }
    }
}

impl LaunchPlan {
    /// Fills the parameter pages.
    ///
    /// # Errors
    /// If a value is larger than its area; the plan is then partly filled and of no use.
    pub fn fill(&mut self, host: &HostParameters<'_>) -> Result<(), ParameterError> {
        for parameter in self.parameters.clone() {
            let error = ParameterError::TooLarge(parameter.kind);
            let mut madt = vec![0; parameter.area_bytes as usize];
            let value = match parameter.kind {
                ParameterKind::VcpuCount => &(host.apic_ids.len() as u32).to_le_bytes()[..],
                ParameterKind::Environment if host.memory_is_shared => {
                    &ENVIRONMENT_MEMORY_IS_SHARED.to_le_bytes()[..]
                }
                ParameterKind::Environment => &[0; 4],
                ParameterKind::MemoryMap => host.memory_map.as_bytes(),
                // No host that is played here has a value for them: the area stays zeros.
                ParameterKind::Srat
                | ParameterKind::Slit
                | ParameterKind::Pptt
                | ParameterKind::MmioRanges
                | ParameterKind::CommandLine
                | ParameterKind::DeviceTree => &[],
                ParameterKind::Madt => {
                    write_madt(host.apic_ids.iter().copied(), &mut madt).map_err(|_: InvalidMadt| error)?
                }
            };
            let end = parameter.offset.checked_add(value.len() as u64);
            if end.is_none_or(|end| end > parameter.area_bytes) {
                return Err(error);
            }
            self.write(parameter.area.wrapping_add(parameter.offset), value);
        }
        Ok(())
    }

    /// Copies bytes into the plan's pages; the area was claimed page by page, so every address has one.
    fn write(&mut self, mut address: u64, mut value: &[u8]) {
        while !value.is_empty() {
            let (page_address, offset) = (page_of(address), address as usize % PAGE);
            let mut written = value.len();
            if let Some(page) = self.pages.iter_mut().find(|page| page.address == page_address) {
                let (_, place) = page.content.split_at_mut(offset);
                written = written.min(place.len());
                for (slot, byte) in place.iter_mut().zip(value) {
                    *slot = *byte;
                }
            }
            address = address.wrapping_add(written as u64);
            value = value.get(written..).unwrap_or_default();
        }
    }
}
