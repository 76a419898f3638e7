//! The platform around the vCPUs: QEMU's own devices, reached through the monitor, which filters what
//! would end, confuse or endanger the machine.

mod apic_filter;
mod clock;
mod fw_cfg_view;
pub mod iommu;
mod ports;
mod reset;
mod x2apic;

use crate::settings::Settings;
use alloc::vec::Vec;
use model::cpu_hotplug::CpuHotplug;

/// State of the filters.
pub struct Devices {
    fw_cfg: fw_cfg_view::View,
    /// Register that the guest selected in the CMOS.
    cmos_index: u8,
    /// vCPUs, bit n for number n, whose processors' APICs have not followed a reset yet.
    loud: u32,
    clock: clock::Clock,
    /// x2APIC mode by vCPU.
    x2apic: Vec<x2apic::X2apic>,
    cpu_hotplug: CpuHotplug,
    /// What devices reach.
    pub iommu: iommu::Iommu,
}

impl Devices {
    /// The devices of a machine with these settings.
    pub fn new(settings: &Settings, apic_ids: &[u32]) -> Self {
        Self {
            fw_cfg: fw_cfg_view::View::new(settings, apic_ids),
            cmos_index: 0,
            loud: 0,
            clock: clock::Clock::new(),
            x2apic: alloc::vec![x2apic::X2apic::default(); apic_ids.len()],
            cpu_hotplug: CpuHotplug::new(apic_ids),
            iommu: iommu::Iommu::new(),
        }
    }

    /// Frequency of the time-stamp counter.
    pub fn hertz(&self) -> u64 {
        self.clock.hertz
    }

    /// The ACPI MADT as the guest sees it.
    pub fn madt(&self) -> Option<&[u8]> {
        self.fw_cfg.madt()
    }
}
