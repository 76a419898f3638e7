//! Other people's guests, as `tools/setup/guests.sh` leaves them.

use std::path::{Path, PathBuf};
use std::process::Command;

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
        std::fs::write(&initrd, contents).map_err(|error| Missing::Broken(error.to_string()))?;
        let version = std::fs::read_to_string(folder.join("version")).unwrap_or_default();
        Ok(Kernel { image: folder.join("vmlinuz"), initrd, version: version.trim().to_owned() })
    }

    /// Fetches the newest kernel with a driver for our TPM and tpm2-tools, and makes an initrd of them.
    pub fn workflow(&self) -> Result<Kernel, Missing> {
        self.fetch(&["linux-new", "tpm2-tools", "tpm-svsm"])?;
        let folder = self.folder.join("linux-new");
        let contents = crate::initrd::build_all(&crate::initrd::Contents {
            modules: &folder.join("modules"),
            more_modules: &[self.folder.join("tpm-svsm/tpm_svsm.ko")],
            init: &self.init,
            busybox: None,
            tpm2_tools: Some(&self.folder.join("tpm2-tools/tree")),
        });
        let initrd = self.folder.join("tpm-svsm/initrd");
        std::fs::write(&initrd, contents.map_err(Missing::Broken)?)
            .map_err(|error| Missing::Broken(error.to_string()))?;
        let version = std::fs::read_to_string(folder.join("version")).unwrap_or_default();
        Ok(Kernel { image: folder.join("vmlinuz"), initrd, version: version.trim().to_owned() })
    }

    /// Fetches OVMF for SEV-SNP.
    pub fn firmware(&self) -> Result<PathBuf, Missing> {
        self.fetch(&["ovmf"])?;
        Ok(self.folder.join("ovmf/OVMF.amdsev.fd"))
    }

    fn fetch(&self, names: &[&str]) -> Result<(), Missing> {
        let output = Command::new(SCRIPT).args(names).output();
        let output = output.map_err(|error| Missing::Broken(format!("{SCRIPT}: {error}")))?;
        let text = String::from_utf8_lossy(&output.stderr);
        let last = text.lines().last().unwrap_or_default().to_owned();
        match output.status.code() {
            Some(0) => Ok(()),
            Some(UNAVAILABLE) => Err(Missing::Unavailable(last)),
            _ => Err(Missing::Broken(format!("{SCRIPT}: {last}"))),
        }
    }
}
