//! Other people's guests, as `tools/setup/guests.sh` leaves them.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The kernel that has a driver for our TPM.
pub const NEWEST: &str = "linux-new";
/// The script, from the root of the repository.
const SCRIPT: &str = "tools/setup/guests.sh";
const FOLDER_VARIABLE: &str = "VOUCHSAFE_GUESTS";
/// The script's status when a guest cannot be had here.
const UNAVAILABLE: i32 = 75;

/// Why there is no guest.
#[derive(Debug)]
pub enum Missing {
    /// The archive does not have it, or there is no way to it: tests of it are skipped.
    Unavailable(String),
    /// Something else went wrong.
    Broken(String),
}

/// Where fetched guests are.
pub struct Guests {
    folder: PathBuf,
    init: PathBuf,
}

/// A kernel with an initrd for it.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The bzImage.
    pub image: PathBuf,
    /// The initrd.
    pub initrd: PathBuf,
    /// Debian's version.
    pub version: String,
}

/// UEFI firmware.
#[derive(Clone, Debug)]
pub struct Firmware {
    /// The file.
    pub file: PathBuf,
    /// Debian's version.
    pub version: String,
}

/// Writes a file in one step: another run may be reading it.
fn replace(path: &Path, contents: &[u8]) -> Result<(), Missing> {
    let explain = |error: std::io::Error| Missing::Broken(format!("{}: {error}", path.display()));
    let new = path.with_extension(format!("new-{}", std::process::id()));
    std::fs::write(&new, contents).map_err(explain)?;
    std::fs::rename(&new, path).map_err(explain)
}

impl Guests {
    /// Guests below the build's folder `target`, for programs that run in the root of the repository.
    pub fn of(target: &Path) -> Self {
        let folder = std::env::var_os(FOLDER_VARIABLE).map_or_else(|| target.join("guests"), PathBuf::from);
        Self { folder, init: target.join("x86_64-unknown-linux-gnu/release/guest_init") }
    }

    /// Fetches a kernel, unless it is there, and makes its initrd.
    pub fn kernel(&self, name: &str) -> Result<Kernel, Missing> {
        self.fetch(&[name, "busybox"])?;
        let folder = self.folder.join(name);
        let busybox = self.folder.join("busybox/busybox");
        let contents = crate::initrd::build(&folder.join("modules"), &self.init, Some(&busybox))
            .map_err(Missing::Broken)?;
        let initrd = folder.join("initrd");
        replace(&initrd, &contents)?;
        let version = std::fs::read_to_string(folder.join("version")).unwrap_or_default();
        Ok(Kernel { image: folder.join("vmlinuz"), initrd, version: version.trim().to_owned() })
    }

    /// Fetches the newest kernel with a driver for our TPM and tpm2-tools, and makes an initrd of them.
    pub fn workflow(&self) -> Result<Kernel, Missing> {
        self.with_tpm("initrd", None)
    }

    /// The same with a shell.
    pub fn shell(&self) -> Result<Kernel, Missing> {
        self.fetch(&["busybox"])?;
        self.with_tpm("shell-initrd", Some(&self.folder.join("busybox/busybox")))
    }

    fn with_tpm(&self, name: &str, busybox: Option<&Path>) -> Result<Kernel, Missing> {
        self.fetch(&[NEWEST, "tpm2-tools", "tpm-svsm"])?;
        let folder = self.folder.join(NEWEST);
        let contents = crate::initrd::build_all(&crate::initrd::Contents {
            modules: &folder.join("modules"),
            more_modules: &[self.folder.join("tpm-svsm/tpm_svsm.ko")],
            init: &self.init,
            busybox,
            tpm2_tools: Some(&self.folder.join("tpm2-tools/tree")),
        });
        let initrd = self.folder.join("tpm-svsm").join(name);
        replace(&initrd, &contents.map_err(Missing::Broken)?)?;
        let version = std::fs::read_to_string(folder.join("version")).unwrap_or_default();
        Ok(Kernel { image: folder.join("vmlinuz"), initrd, version: version.trim().to_owned() })
    }

    /// Fetches OVMF for SEV-SNP.
    pub fn firmware(&self) -> Result<PathBuf, Missing> {
        self.fetch(&["ovmf"])?;
        Ok(self.folder.join("ovmf/OVMF.amdsev.fd"))
    }

    /// The newest firmware that Debian has, of sid.
    pub fn newest_firmware(&self) -> Result<Firmware, Missing> {
        self.fetch(&["ovmf-sid"])?;
        let folder = self.folder.join("ovmf-sid");
        let version = std::fs::read_to_string(folder.join("version")).unwrap_or_default();
        Ok(Firmware { file: folder.join("OVMF.amdsev.fd"), version: version.trim().to_owned() })
    }

    /// Runs the script; who watches sees what it says.
    fn fetch(&self, names: &[&str]) -> Result<(), Missing> {
        let child = Command::new(SCRIPT).args(names).stderr(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| Missing::Broken(format!("{SCRIPT}: {error}")))?;
        let mut last = String::new();
        for line in
            child.stderr.take().into_iter().flat_map(|stream| BufReader::new(stream).lines()).flatten()
        {
            eprintln!("{line}");
            last = line;
        }
        let status = child.wait().map_err(|error| Missing::Broken(format!("{SCRIPT}: {error}")))?;
        let last = last.trim_start_matches("setup: ").to_owned();
        match status.code() {
            Some(0) => Ok(()),
            Some(UNAVAILABLE) => Err(Missing::Unavailable(last)),
            _ => Err(Missing::Broken(format!("{SCRIPT}: {last}"))),
        }
    }
}
