//! An initrd for a kernel: our first program, modules, and a shell where there is one.

use crate::cpio::Archive;
use crate::{modules, programs};
use std::path::{Path, PathBuf};

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

/// The programs that the workflow runs in the guest, and a library that they load by name.
const TPM2_TOOLS: &[&str] = &["usr/bin/tpm2", "usr/lib/x86_64-linux-gnu/libtss2-tcti-device.so.0"];

/// What goes into an initrd.
pub struct Contents<'a> {
    /// The kernel's folder below `/lib/modules`.
    pub modules: &'a Path,
    /// Further modules of the same kernel, object files, in loading order.
    pub more_modules: &'a [PathBuf],
    /// The first program.
    pub init: &'a Path,
    /// A static busybox: shell and network tools.
    pub busybox: Option<&'a Path>,
    /// A folder with Debian's tpm2-tools and everything that they need.
    pub tpm2_tools: Option<&'a Path>,
}

/// Makes an initrd. `modules` is the kernel's folder below `/lib/modules`; `busybox` brings a shell and network tools.
pub fn build(modules: &Path, init: &Path, busybox: Option<&Path>) -> Result<Vec<u8>, String> {
    build_all(&Contents { modules, more_modules: &[], init, busybox, tpm2_tools: None })
}

/// Makes an initrd with everything that there is.
pub fn build_all(contents: &Contents<'_>) -> Result<Vec<u8>, String> {
    let mut archive = Archive::default();
    for directory in DIRECTORIES {
        archive.directory(directory);
    }
    archive.character_device("dev/console", CONSOLE.0, CONSOLE.1);
    archive.program("init", &read(contents.init)?);
    if let Some(busybox) = contents.busybox {
        archive.program("bin/busybox", &read(busybox)?);
    }
    if let Some(tree) = contents.tpm2_tools {
        add_programs(&mut archive, tree)?;
    }
    let modules = modules::in_order(contents.modules, MODULES)?;
    for (number, module) in modules.iter().enumerate() {
        archive.file(&format!("modules/{number:02}-{}.ko", module.name), &module.object);
    }
    for (number, path) in contents.more_modules.iter().enumerate() {
        let number = modules.len() + number;
        let name = path.file_name().unwrap_or_default().display();
        archive.file(&format!("modules/{number:02}-{name}"), &read(path)?);
    }
    Ok(archive.finish())
}

fn add_programs(archive: &mut Archive, tree: &Path) -> Result<(), String> {
    for directory in programs::DIRECTORIES {
        archive.directory(directory);
    }
    for file in programs::with_libraries(tree, TPM2_TOOLS)? {
        archive.program(&file.path, &file.contents);
    }
    // All tools are one program, which asks for its name.
    let bin = tree.join("usr/bin");
    let entries = std::fs::read_dir(&bin).map_err(|error| format!("{}: {error}", bin.display()))?;
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.retain(|name| name.starts_with("tpm2_"));
    names.sort();
    for name in names {
        archive.link(&format!("usr/bin/{name}"), "tpm2");
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}
