//! The command line. What `make run` takes as variables comes as environment variables, so that no shell reads their values.

use clap::{Parser, ValueEnum};
use guests::fetched::NEWEST;
use std::path::PathBuf;

/// The guest's command line of the workflow, which the image and PCR 8 hold.
pub const COMMAND_LINE: &str = "console=ttyS0 quiet vouchsafe.agent";

/// Boots a stock guest with a vTPM and verifies it from outside, or boots another guest.
#[derive(Parser)]
pub struct Arguments {
    /// Try what must be refused, too, and write verdicts
    #[arg(long)]
    pub judge: bool,
    /// What runs at VMPL2
    #[arg(long, env = "GUEST", value_enum, default_value_t = Guest::Linux)]
    pub guest: Guest,
    /// One of Debian's kernels: linux-new or linux-6.12
    #[arg(long, env = "LINUX")]
    linux: Option<String>,
    /// A bzImage instead
    #[arg(long, env = "LINUX_KERNEL")]
    kernel: Option<String>,
    /// An initrd instead of ours
    #[arg(long, env = "LINUX_INITRD")]
    initrd: Option<String>,
    /// The kernel's command line
    #[arg(long, env = "LINUX_APPEND", allow_hyphen_values = true)]
    append: Option<String>,
    /// An OVMF.fd with SEV metadata instead of Debian's
    #[arg(long, env = "OVMF")]
    ovmf: Option<String>,
    /// 1: connect the terminal to the guest's console
    #[arg(long, env = "INTERACTIVE")]
    interactive: Option<String>,
    /// The deliberate fault that the kernel was built with
    #[arg(long, env = "KERNEL_FAULT")]
    fault: Option<String>,
    /// Options for `snp-emulator run`
    #[arg(last = true)]
    pub run_flags: Vec<String>,
}

/// What runs at VMPL2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Guest {
    /// A stock Linux kernel
    Linux,
    /// UEFI firmware, which boots that kernel
    Ovmf,
    /// Our test guest
    Payload,
}

impl Guest {
    /// As in file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Ovmf => "ovmf",
            Self::Payload => "payload",
        }
    }
}

/// A variable that is set to nothing is not set.
fn given(value: Option<&String>) -> Option<&str> {
    value.map(String::as_str).filter(|value| !value.is_empty())
}

impl Arguments {
    /// The name of a kernel of Debian's.
    pub fn linux(&self) -> &str {
        given(self.linux.as_ref()).unwrap_or(NEWEST)
    }

    /// The caller's kernel.
    pub fn kernel(&self) -> Option<PathBuf> {
        given(self.kernel.as_ref()).map(PathBuf::from)
    }

    /// The caller's initrd.
    pub fn initrd(&self) -> Option<PathBuf> {
        given(self.initrd.as_ref()).map(PathBuf::from)
    }

    /// The caller's command line.
    pub fn append(&self) -> Option<String> {
        given(self.append.as_ref()).map(str::to_owned)
    }

    /// The caller's UEFI firmware.
    pub fn ovmf(&self) -> Option<PathBuf> {
        given(self.ovmf.as_ref()).map(PathBuf::from)
    }

    /// Whether somebody sits at the guest's console.
    pub fn is_interactive(&self) -> bool {
        given(self.interactive.as_ref()).is_some_and(|value| value != "0")
    }

    /// The deliberate fault in the kernel.
    pub fn fault(&self) -> Option<&str> {
        given(self.fault.as_ref())
    }

    /// Whether the caller wants the workflow: whatever says how Linux is to boot boots it in that way instead.
    pub fn is_workflow(&self) -> bool {
        let boots = [&self.linux, &self.kernel, &self.initrd, &self.append];
        self.judge
            || self.guest == Guest::Linux
                && !self.is_interactive()
                && self.run_flags.is_empty()
                && boots.iter().all(|value| given(value.as_ref()).is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Arguments {
        Arguments::parse_from([&["workflow"], words].concat())
    }

    #[test]
    fn the_workflow_runs_unless_something_says_how_linux_boots() {
        assert!(parse(&[]).is_workflow());
        assert!(parse(&["--linux", "", "--interactive", "0"]).is_workflow());
        for words in [
            &["--linux", "linux-6.12"][..],
            &["--interactive", "1"],
            &["--guest", "ovmf"],
            &["--append", "-x"],
            &["--", "--smp", "4"],
        ] {
            assert!(!parse(words).is_workflow(), "{words:?}");
        }
    }
}
