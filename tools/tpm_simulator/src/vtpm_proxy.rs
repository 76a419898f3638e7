//! `--vtpm-proxy`: a TPM device of Linux, such as `/dev/tpm1`, served through `/dev/vtpmx`.
//!
//! The kernel makes the device by an ioctl (`linux/vtpm_proxy.h`), and no ioctl is safe Rust. Python has one: the
//! program starts a few lines of it, which make the device, put its file in place of standard input, and start the
//! program again. From there on the device is a file that gives whole commands and takes whole responses.

use crate::machine::{Engine, Machine, lock};
use crate::wire::{BUFFER_BYTES, ConnectionError};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

/// The device that makes devices.
const MAKER: &str = "/dev/vtpmx";

/// The option under which the program finds the device's file as its standard input.
pub const INHERITED: &str = "--vtpm-on-stdin";

/// VTPM_PROXY_IOC_NEW_DEV is `_IOWR(0xa1, 0, struct of five u32)`; flag 1 says that it is a TPM 2.0.
const MAKE_DEVICE: &str = r#"
import fcntl, os, struct, sys
maker = os.open("/dev/vtpmx", os.O_RDWR)
made = fcntl.ioctl(maker, 0xC014A100, struct.pack("=5I", 1, 0, 0, 0, 0))
_, number, file, _, _ = struct.unpack("=5I", made)
print(f"tpm-simulator: serving /dev/tpm{number}", flush=True)
os.dup2(file, 0)
os.execv(sys.argv[1], sys.argv[1:])
"#;

/// Why no device could be made.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The kernel's module is not there.
    #[error("there is no {MAKER}; load the kernel's module with `modprobe tpm_vtpm_proxy`, and run as root")]
    NoModule,
    /// The program that makes the device did not start.
    #[error("cannot start python3, which makes the device: {0}; install python3")]
    NoPython(io::Error),
    /// This program could not find itself.
    #[error("cannot tell where this program is: {0}")]
    NoSelf(io::Error),
}

/// Makes a device and starts this program again with `arguments`; comes back only with an error.
pub fn restart_with_device(arguments: &[String]) -> Result<std::convert::Infallible, ProxyError> {
    if !Path::new(MAKER).exists() {
        return Err(ProxyError::NoModule);
    }
    let program = std::env::current_exe().map_err(ProxyError::NoSelf)?;
    let error =
        Command::new("python3").args(["-c", MAKE_DEVICE]).arg(program).args(arguments).arg(INHERITED).exec();
    Err(ProxyError::NoPython(error))
}

/// TPM2_CC_SET_LOCALITY of `linux/vtpm_proxy.h`: a header and one byte.
const SET_LOCALITY: [u8; 4] = [0x20, 0, 0x10, 0];

/// Serves a device until the kernel closes it. Each read is one whole command.
pub fn serve<E: Engine>(
    machine: &Mutex<Machine<E>>,
    reader: &mut impl Read,
    writer: &mut impl Write,
) -> Result<(), ConnectionError> {
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        let command = match reader.read(&mut buffer)? {
            0 => return Ok(()),
            length => buffer.get(..length).unwrap_or_default(),
        };
        let response = match command {
            [_, _, _, _, _, _, a, b, c, d, locality] if [*a, *b, *c, *d] == SET_LOCALITY => {
                lock(machine)?.set_locality(*locality);
                crate::machine::header_only(0).to_vec()
            }
            command => lock(machine)?.execute(command),
        };
        writer.write_all(&response)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::tests::{echo, events};

    #[test]
    fn the_kernel_sets_the_locality_by_a_command_that_the_tpm_never_sees() {
        let machine = echo();
        let set = [0x80, 1, 0, 0, 0, 11, 0x20, 0, 0x10, 0, 3];
        let mut answer = Vec::new();
        serve(&machine, &mut set.as_slice(), &mut answer).unwrap();
        assert_eq!(answer, [0x80, 1, 0, 0, 0, 10, 0, 0, 0, 0]);
        serve(&machine, &mut [7; 12].as_slice(), &mut answer).unwrap();
        assert_eq!(events(&machine), ["power on", "3: 12 bytes"]);
    }

    #[test]
    fn without_the_module_the_error_names_the_remedy() {
        if !Path::new(MAKER).exists() {
            let error = restart_with_device(&[]).unwrap_err();
            assert!(error.to_string().contains("modprobe"));
        }
    }
}
