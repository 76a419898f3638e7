//! One boot of a stock guest: the image built, the blobs handed over, the machine run.

use crate::fetched::Kernel;
use end_to_end::built::Built;
use end_to_end::emulator::{self, Ended};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How a kernel comes to run.
#[derive(Clone, Debug)]
pub enum Way {
    /// By our firmware, from blobs of the host.
    Direct,
    /// By our firmware, from the image itself.
    Embedded,
    /// By this UEFI firmware, from blobs of the host.
    Through(PathBuf),
}

/// What the host hands over.
#[derive(Clone, Debug)]
pub struct Blobs {
    /// Kernel; none if the host keeps it.
    pub kernel: Option<PathBuf>,
    /// Initial RAM disk.
    pub initrd: PathBuf,
    /// Command line, in a file.
    pub command_line: PathBuf,
}

/// A boot to be made.
pub struct Boot<'a> {
    /// Name of the test, and of its files.
    pub name: &'a str,
    /// The kernel that the image is built for.
    pub kernel: &'a Kernel,
    /// The command line that the image is built for.
    pub command_line: &'a str,
    /// How the kernel comes to run.
    pub way: Way,
    /// Options for `snp-emulator run`, and after `--` for QEMU.
    pub options: Vec<String>,
    /// Seconds that it may take.
    pub limit_seconds: u64,
}

impl Boot<'_> {
    /// Builds the image and runs it; what the host hands over is what the image was built for, unless `change` does something
    /// about it.
    pub fn run(
        &self,
        built: &Built,
        logs: &Path,
        change: impl FnOnce(&mut Blobs) -> std::io::Result<()>,
    ) -> Result<Ended, String> {
        let explain = |error: std::io::Error| error.to_string();
        let image = logs.join(format!("{}.igvm", self.name));
        self.build(built, &image)?;
        let command_line = logs.join(format!("{}.cmdline", self.name));
        std::fs::write(&command_line, self.command_line).map_err(explain)?;
        let mut blobs = Blobs {
            kernel: Some(self.kernel.image.clone()),
            initrd: self.kernel.initrd.clone(),
            command_line,
        };
        change(&mut blobs).map_err(explain)?;
        let mut options = self.host_options(&blobs);
        options.extend(["--symbols".to_owned(), built.firmware("kernel").display().to_string()]);
        options.extend(self.options.iter().cloned());
        let ended = emulator::run(built, logs, self.name, &image, &options, self.limit_seconds);
        // Images with a kernel inside are large, and what they hold is known.
        let _ = std::fs::remove_file(&image);
        ended.map_err(explain)
    }

    fn build(&self, built: &Built, image: &Path) -> Result<(), String> {
        let mut command = Command::new(built.tool("igvm-image"));
        command.arg("build").arg("--stage2").arg(built.firmware("stage2"));
        command.arg("--kernel").arg(built.firmware("kernel")).arg("--output").arg(image);
        command.arg("--linux").arg(&self.kernel.image).arg("--initrd").arg(&self.kernel.initrd);
        command.args(["--append", self.command_line]);
        let vcpus = self.options.iter().skip_while(|option| *option != "--smp").nth(1);
        command.args(["--vcpus", vcpus.map_or("1", String::as_str)]);
        match &self.way {
            Way::Direct => {}
            Way::Embedded => {
                command.arg("--embed");
            }
            Way::Through(firmware) => {
                command.arg("--guest-firmware").arg(firmware);
            }
        }
        let output = command.output().map_err(|error| format!("igvm-image: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("igvm-image: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }

    fn host_options(&self, blobs: &Blobs) -> Vec<String> {
        let path = |path: &Path| path.display().to_string();
        match &self.way {
            Way::Embedded => Vec::new(),
            Way::Direct => {
                let files = [
                    ("kernel", blobs.kernel.as_ref()),
                    ("initrd", Some(&blobs.initrd)),
                    ("cmdline", Some(&blobs.command_line)),
                ];
                let present = files.into_iter().filter_map(|(name, file)| Some((name, file?)));
                let option = |(name, file): (&str, &PathBuf)| {
                    ["--fw-cfg".to_owned(), format!("name=opt/org.vouchsafe/{name},file={}", path(file))]
                };
                present.flat_map(option).collect()
            }
            Way::Through(_) => {
                let kernel = blobs.kernel.as_ref().map(|file| ["--kernel".to_owned(), path(file)]);
                let mut options: Vec<String> = kernel.into_iter().flatten().collect();
                options.extend(["--initrd".to_owned(), path(&blobs.initrd)]);
                options.extend(["--append".to_owned(), self.command_line.to_owned()]);
                options
            }
        }
    }
}
