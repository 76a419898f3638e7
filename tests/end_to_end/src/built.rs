//! Where the Makefile puts what it builds, seen from the program that runs.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder `target`, with everything in it that the emulated tests use.
#[derive(Clone)]
pub struct Built {
    target: PathBuf,
}

impl Built {
    /// What was built together with this program, which lies in `target/release`.
    pub fn beside_this_program() -> io::Result<Self> {
        let program = std::env::current_exe()?;
        let target = program.parent().and_then(Path::parent).ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { target: target.to_owned() })
    }

    /// A host program.
    pub fn tool(&self, name: &str) -> PathBuf {
        self.target.join("release").join(name)
    }

    /// An image.
    pub fn image(&self, name: &str) -> PathBuf {
        self.target.join("images").join(format!("{name}.igvm"))
    }

    /// An image for this number of vCPUs; one for more than one is made in `folder` from the other.
    pub fn image_for_vcpus(&self, name: &str, vcpus: &str, folder: &Path) -> io::Result<PathBuf> {
        let image = self.image(name);
        if vcpus == "1" {
            return Ok(image);
        }
        let made = folder.join(format!("{name}-{vcpus}.igvm"));
        let mut command = Command::new(self.tool("igvm-image"));
        command.arg("vcpus").arg(image).arg(vcpus).arg("--output").arg(&made);
        let output = command.output()?;
        if output.status.success() {
            Ok(made)
        } else {
            Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
        }
    }

    /// The ELF file of a bare-metal program.
    pub fn firmware(&self, name: &str) -> PathBuf {
        self.target.join("x86_64-unknown-none/firmware").join(name)
    }

    /// The kernel's ELF file as it is built without the TPM.
    pub fn kernel_without_tpm(&self) -> PathBuf {
        self.target.join("lean/x86_64-unknown-none/firmware/kernel")
    }

    /// The kernel's ELF file as it is built with a deliberate fault; the last one that was built.
    pub fn faulty_kernel(&self) -> PathBuf {
        self.target.join("fault/x86_64-unknown-none/firmware/kernel")
    }

    /// A folder for what runs leave behind; it exists afterwards.
    pub fn logs(&self, stage: &str) -> io::Result<PathBuf> {
        let folder = self.target.join("results").join(stage);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}
