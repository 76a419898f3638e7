//! A bare-metal guest at VMPL2 that calls the SVSM and checks what comes back.
//!
//! It shares no code with the firmware that it tests: every number is its own, from the published
//! specifications (SVSM 58019, GHCB 56421, APM 24593). The firmware starts it with Linux's 64-bit boot contract. Results go
//! to the serial port, a line a case: `case NAME ok` or `case NAME FAILED: why`, then `payload: N passed, M failed`,
//! then the test-exit port (0 for success).
//!
//! The fw_cfg file `opt/org.vouchsafe.test/mode` may say otherwise: `host=...` tells what the host's memory is like (`host`),
//! `bench=...` asks for calls to be counted (`cases::bench`), another word names something that the machine must stop (`cases::forbidden`).
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "a bare-metal program whose purpose is raw access to the machine")]

mod attest;
mod boot;
mod cases;
mod check;
mod device;
mod exception;
mod ghcb;
mod host;
mod memory;
mod raw;
mod serial;
mod svsm;
mod tpm;
mod vcpu;

use serial::println;

#[panic_handler]
fn panic(information: &core::panic::PanicInfo<'_>) -> ! {
    println!("payload: panic: {information}");
    ghcb::exit(255)
}

/// Called by the entry code with the boot parameters' address.
extern "C" fn main(boot_parameters: u64) -> ! {
    exception::initialise();
    let boot = boot::read(boot_parameters);
    svsm::set_boot_calling_area(boot.calling_area);
    memory::initialise(&boot);
    ghcb::initialise();
    println!(
        "payload: VMPL{} calling area {:#x} SVSM {:#x}+{:#x}",
        boot.vmpl, boot.calling_area, boot.svsm_base, boot.svsm_size
    );
    vcpu::initialise();
    let words = ghcb::fw_cfg_file(b"opt/org.vouchsafe.test/mode");
    let host = host::Host::of_words(words.as_str());
    host.install();
    match words.as_str().split_ascii_whitespace().find(|word| !word.starts_with(host::PREFIX)) {
        None => cases::run_all(&boot, host),
        Some("evidence") => cases::evidence::run(&boot),
        Some(mode) if mode.starts_with("bench=") => cases::bench::run(&mode["bench=".len()..], &boot),
        Some(mode) => cases::forbidden::run(mode, &boot),
    }
}
