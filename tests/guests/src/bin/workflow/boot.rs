//! `make run` with a guest of the caller's choice: builds the image, starts the machine on this terminal, and ends as it ends.

use crate::arguments::{Arguments, Guest};
use end_to_end::built::Built;
use guests::fetched::{Guests, Missing};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Guests may be reset this often while somebody sits at the console.
const RESETS: &str = "1000";
const CHECKS: &str = "console=ttyS0 vouchsafe.vmpl=2 vouchsafe.stress=2";
const SHELL: &str = "console=ttyS0 quiet vouchsafe.shell";
/// What stands for a folder of ours in the launch options of Linux.
const BLOB: &str = "opt/org.vouchsafe";

/// Where a guest comes from.
struct Source<'a> {
    guests: &'a Guests,
    folder: &'a Path,
}

/// Kernel, initrd and command line.
struct Linux {
    kernel: PathBuf,
    initrd: PathBuf,
    command_line: String,
}

/// Boots what the arguments name; the machine's exit status.
pub fn boot(arguments: &Arguments, built: &Built, guests: &Guests, folder: &Path) -> Result<u8, String> {
    let source = Source { guests, folder };
    let image = folder.join(format!("{}.igvm", arguments.guest.name()));
    let mut build = Command::new(built.tool("igvm-image"));
    build.arg("build").arg("--stage2").arg(built.firmware("stage2")).arg("--output").arg(&image);
    // An image is for one number of vCPUs.
    let vcpus = arguments.run_flags.iter().skip_while(|flag| *flag != "--smp").nth(1);
    build.args(["--vcpus", vcpus.map_or("1", String::as_str)]);
    let mut run = Command::new(built.tool("snp-emulator"));
    run.arg("run").arg(&image).args(["--claims", "vouchsafe"]);
    let kernel = match arguments.fault() {
        Some(fault) => {
            println!("the kernel has a deliberate fault: {fault}; this run must end red");
            built.faulty_kernel()
        }
        None => built.firmware("kernel"),
    };
    build.arg("--kernel").arg(&kernel);
    run.arg("--symbols").arg(&kernel);
    match arguments.guest {
        Guest::Payload => {
            build.arg("--guest-elf").arg(built.firmware("guest_payload"));
            run.arg("--symbols").arg(built.firmware("guest_payload"));
        }
        Guest::Linux => {
            let linux = source.linux(arguments)?;
            linux.build(&mut build);
            for (name, file) in [
                ("kernel", &linux.kernel),
                ("initrd", &linux.initrd),
                ("cmdline", &source.file("linux.cmdline", &linux.command_line)?),
            ] {
                run.arg("--fw-cfg").arg(format!("name={BLOB}/{name},file={}", file.display()));
            }
        }
        Guest::Ovmf => {
            let linux = source.linux(arguments)?;
            let firmware = arguments.ovmf().map_or_else(|| guests.firmware().map_err(reason), Ok)?;
            linux.build(&mut build);
            build.arg("--guest-firmware").arg(firmware);
            run.arg("--kernel").arg(&linux.kernel).arg("--initrd").arg(&linux.initrd);
            run.args(["--append", &linux.command_line]);
        }
    }
    let output = build.output().map_err(|error| format!("igvm-image: {error}"))?;
    if !output.status.success() {
        return Err(format!("igvm-image: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    if arguments.is_interactive() {
        run.args(["--interactive", "--timeout", "0"]);
        // UEFI guests cannot be started again.
        if arguments.guest == Guest::Linux {
            run.args(["--host", "plain", "--resets", RESETS]);
        }
    }
    let status = run.args(&arguments.run_flags).status().map_err(|error| format!("snp-emulator: {error}"))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}

fn reason(missing: Missing) -> String {
    match missing {
        Missing::Unavailable(reason) | Missing::Broken(reason) => reason,
    }
}

impl Source<'_> {
    fn linux(&self, arguments: &Arguments) -> Result<Linux, String> {
        let command_line = if arguments.is_interactive() { SHELL } else { CHECKS };
        let command_line = arguments.append().unwrap_or_else(|| command_line.to_owned());
        let (kernel, initrd) = match (arguments.kernel(), arguments.initrd()) {
            (Some(kernel), Some(initrd)) => (kernel, initrd),
            (kernel, initrd) => {
                let fetched = self.fetched(arguments)?;
                (kernel.unwrap_or(fetched.image), initrd.unwrap_or(fetched.initrd))
            }
        };
        Ok(Linux { kernel, initrd, command_line })
    }

    /// A kernel of Debian's. For somebody at the console it has a driver for the TPM and tpm2-tools, where that can be had.
    fn fetched(&self, arguments: &Arguments) -> Result<guests::fetched::Kernel, String> {
        let name = arguments.linux();
        if arguments.is_interactive() && name == guests::fetched::NEWEST {
            match self.guests.shell() {
                Ok(kernel) => return Ok(kernel),
                Err(missing) => println!("this guest has no TPM: {}", reason(missing)),
            }
        }
        self.guests.kernel(name).map_err(reason)
    }

    fn file(&self, name: &str, contents: &str) -> Result<PathBuf, String> {
        let path = self.folder.join(name);
        std::fs::write(&path, contents).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }
}

impl Linux {
    fn build(&self, command: &mut Command) {
        command.arg("--linux").arg(&self.kernel).arg("--initrd").arg(&self.initrd);
        command.args(["--append", &self.command_line]);
    }
}

/// Boots the newest kernel without a TPM, where the driver for ours cannot be built; it checks itself.
pub fn without_tpm(built: &Built, guests: &Guests, folder: &Path) -> Result<u8, String> {
    use clap::Parser;
    let arguments =
        Arguments::parse_from(["workflow", "--linux", guests::fetched::NEWEST, "--guest", "linux"]);
    boot(&arguments, built, guests, folder)
}
