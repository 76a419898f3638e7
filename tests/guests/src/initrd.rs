//! An initrd for a kernel: our first program, modules, and a shell where there is one.

use crate::cpio::Archive;
use crate::modules;
use std::path::Path;

/// Modules that the checks and the shell want; their names in all kernels. `sev_guest` of 6.12 asks for GCM by name, and
/// nothing here answers when the kernel wants a module.
const MODULES: &[&str] = &[
    "configfs",
    "virtio_pci",
    "virtio_blk",
    "virtio_rng",
    "virtio_net",
    "ctr",
    "ghash_generic",
    "gcm",
    "tsm",
    "tsm_report",
    "sev_guest",
    "tpm_svsm",
];
const DIRECTORIES: &[&str] = &["bin", "dev", "etc", "modules", "proc", "sys", "tmp"];
/// The console, which the kernel opens before anything is mounted.
const CONSOLE: (u32, u32) = (5, 1);

/// Makes an initrd. `modules` is the kernel's folder below `/lib/modules`; `busybox` brings a shell and network tools.
pub fn build(modules: &Path, init: &Path, busybox: Option<&Path>) -> Result<Vec<u8>, String> {
    let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let mut archive = Archive::default();
    for directory in DIRECTORIES {
        archive.directory(directory);
    }
    archive.character_device("dev/console", CONSOLE.0, CONSOLE.1);
    archive.program("init", &read(init)?);
    if let Some(busybox) = busybox {
        archive.program("bin/busybox", &read(busybox)?);
    }
    for (number, module) in modules::in_order(modules, MODULES)?.iter().enumerate() {
        archive.file(&format!("modules/{number:02}-{}.ko", module.name), &module.object);
    }
    Ok(archive.finish())
}
