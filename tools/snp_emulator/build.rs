//! Puts the monitor, a bare-metal program, into the launcher. The Makefile builds it first and names it in
//! `SNP_MONITOR_ELF`; without it the launcher builds all the same and says at run time what is missing.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-env-changed=SNP_MONITOR_ELF");
    let output = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default()).join("monitor.elf");
    let monitor = std::env::var_os("SNP_MONITOR_ELF").map(PathBuf::from).filter(|path| path.is_file());
    let bytes = monitor.as_ref().and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
    if let Some(path) = monitor {
        println!("cargo:rerun-if-changed={}", path.display());
    }
    if let Err(error) = std::fs::write(&output, bytes) {
        println!("cargo:warning={}: {error}", output.display());
    }
}
