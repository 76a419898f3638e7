//! QEMU's command line for an emulated SNP machine.

use crate::arguments::RunArguments;
use std::path::Path;
use std::process::Command;

/// QEMU's CPU 0 never enters the guest (monitor/src/main.rs says why).
const SPARE_PROCESSORS: u32 = 1;
/// From here on QEMU's q35 splits memory: 2 GiB below, the rest above 4 GiB.
const SPLIT_FROM: u64 = 0xb000_0000;
const SPLIT_LOW: u64 = 2 << 30;
const ABOVE: u64 = 4 << 30;
const LARGE_PAGE: u64 = 2 << 20;
/// Devices of virtio's that QEMU makes in the old form where it is not told.
const VIRTIO_DEVICES: [&str; 5] =
    ["virtio-blk-pci", "virtio-net-pci", "virtio-rng-pci", "virtio-scsi-pci", "virtio-serial-pci"];

/// Oldest QEMU with what the monitor needs (x2APIC under TCG, complete SVM intercepts).
pub const LEAST_VERSION: (u32, u32) = (9, 0);

/// The processors. 5-level nested tables reach C-bit 51; physical addresses must be given, the default makes VMRUN fail.
const PROCESSOR: &str = "EPYC-Milan,phys-bits=52,+la57,+x2apic";
/// Where memory lies.
pub struct MemoryLayout {
    /// Guest RAM, as (start, end).
    pub ram: Vec<(u64, u64)>,
    /// The monitor's own part, at the end of memory.
    pub own: (u64, u64),
    /// All of it, for `-m`.
    pub total: u64,
    /// Where QEMU shall end memory below 4 GiB.
    pub low: u64,
}

impl MemoryLayout {
    /// A layout for this much guest memory. The monitor is always above 4 GiB: what is free below belongs to devices, which a guest
    /// may move to any place there.
    pub fn new(guest: u64) -> Self {
        // Heap and image, one RMP entry and nested tables for each page of four levels at the worst.
        let own = (64 << 20) + (guest / 32).next_multiple_of(LARGE_PAGE);
        let total = guest + own;
        let low = if total < SPLIT_FROM { guest } else { guest.min(SPLIT_LOW) };
        let end = ABOVE + guest - low;
        let mut ram = vec![(0, low)];
        if end > ABOVE {
            ram.push((ABOVE, end));
        }
        Self { ram, own: (end, end + own), total, low }
    }
}

/// Files and sockets of a run.
pub struct Paths<'a> {
    /// The monitor's ELF.
    pub monitor: &'a Path,
    /// Its settings.
    pub settings: &'a Path,
    /// The launch plan.
    pub plan: &'a Path,
    /// The host's certificate table.
    pub certificates: &'a Path,
    /// The socket of the monitor's console.
    pub console: &'a Path,
    /// The socket of QEMU's monitor protocol.
    pub control: &'a Path,
}

/// The command that starts QEMU.
pub fn command(arguments: &RunArguments, memory: &MemoryLayout, paths: &Paths<'_>) -> Command {
    let mut command = Command::new(&arguments.qemu);
    let processors = arguments.smp + SPARE_PROCESSORS;
    let accelerator = if arguments.icount { "tcg,thread=single" } else { "tcg,thread=multi" };
    command
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .args(["-machine", &format!("q35,max-ram-below-4g={}", memory.low), "-accel", accelerator])
        .args(["-cpu", PROCESSOR])
        .args(["-smp", &processors.to_string()])
        .args(["-m", &format!("{}M", memory.total >> 20)])
        .arg("-kernel")
        .arg(paths.monitor)
        .args(["-append", &format!("own={:x}-{:x}", memory.own.0, memory.own.1)])
        // First, as it must be there before the devices behind it.
        .args(["-device", "intel-iommu,aw-bits=48,intremap=off"])
        // What QEMU does by itself for a confidential guest: virtio devices go through the IOMMU, which old ones cannot.
        .args(["-global", "virtio-device.iommu_platform=on"])
        .args(
            VIRTIO_DEVICES
                .iter()
                .flat_map(|name| ["-global".to_owned(), format!("{name}.disable-legacy=on")]),
        )
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"])
        .arg("-chardev")
        .arg(socket("machine", paths.console, "server=off"))
        .args(["-device", "isa-debugcon,iobase=0xe9,chardev=machine"])
        .arg("-chardev")
        .arg(socket("control", paths.control, "server=off"))
        .args(["-mon", "chardev=control,mode=control"]);
    let files = [("settings", paths.settings), ("plan", paths.plan), ("certificates", paths.certificates)];
    for (name, file) in files {
        command.arg("-fw_cfg").arg(format!("name=opt/snp-emulator/{name},file={}", file.display()));
    }
    // QEMU's own -kernel starts the monitor; the monitor shows the guest these in its place.
    for (name, file) in [("kernel", &arguments.kernel), ("initrd", &arguments.initrd)] {
        if let Some(file) = file {
            command.arg("-fw_cfg").arg(format!("name=opt/snp-emulator/{name},file={}", file.display()));
        }
    }
    if let Some(text) = &arguments.append {
        // QEMU separates options by commas, and takes two for one.
        let text = text.replace(',', ",,");
        command.arg("-fw_cfg").arg(format!("name=opt/snp-emulator/cmdline,string={text}"));
    }
    for entry in &arguments.fw_cfg {
        command.arg("-fw_cfg").arg(entry);
    }
    if arguments.icount {
        command.args(["-icount", "shift=0,sleep=off", "-seed", "1"]);
        command.args(["-rtc", "base=2026-01-01T00:00:00,clock=vm"]);
    }
    if arguments.interactive {
        command.args(["-serial", "mon:stdio"]);
    } else {
        command.args(["-chardev", "stdio,id=serial,signal=off", "-serial", "chardev:serial"]);
    }
    command.args(&arguments.qemu_arguments);
    command
}

fn socket(id: &str, path: &Path, role: &str) -> String {
    format!("socket,id={id},path={},{role}", path.display())
}

/// QEMU's version from the first line of `--version`.
pub fn version(text: &str) -> Option<(u32, u32)> {
    let number = text.split_ascii_whitespace().nth(3)?;
    let mut parts = number.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_split_where_qemu_splits_it() {
        let small = MemoryLayout::new(1 << 30);
        assert_eq!(small.ram, [(0, 1 << 30)]);
        assert_eq!(small.own.0, 4 << 30);
        let large = MemoryLayout::new(8 << 30);
        assert_eq!(large.ram, [(0, 2 << 30), (4 << 30, 10 << 30)]);
        assert_eq!(large.own.0, 10 << 30);
        let given: u64 = large.ram.iter().map(|(start, end)| end - start).sum();
        assert_eq!(given, 8 << 30);
    }

    #[test]
    fn the_monitor_is_never_where_devices_can_be() {
        for megabytes in (64..4096).step_by(2).chain([8 << 10, 256 << 10]) {
            let layout = MemoryLayout::new(megabytes << 20);
            assert!(layout.own.0 >= 4 << 30, "{megabytes} MiB");
            let given: u64 = layout.ram.iter().map(|(start, end)| end - start).sum();
            assert_eq!(given, megabytes << 20);
            // As QEMU lays it out: what does not fit below is at 4 GiB, and ends with the monitor's.
            let limit = if layout.total >= SPLIT_FROM { SPLIT_LOW } else { SPLIT_FROM };
            let low = limit.min(layout.low);
            assert_eq!((layout.ram[0].1, layout.own.1), (low, ABOVE + layout.total - low), "{megabytes} MiB");
        }
    }

    #[test]
    fn the_version_is_read_from_debians_and_plain_builds() {
        assert_eq!(version("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds)"), Some((10, 0)));
        assert_eq!(version("QEMU emulator version 9.1.0"), Some((9, 1)));
        assert_eq!(version("qemu"), None);
    }
}
