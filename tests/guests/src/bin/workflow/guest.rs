//! A running guest, and the conversation with the agent in it (`tests/guest_init/src/agent.rs`).

use crate::Place;
use end_to_end::emulator::{self, Ended};
use guests::fetched::Kernel;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

/// Seconds that a guest may live.
const LIMIT_SECONDS: u64 = 240;
/// How long one answer may take; booting is the longest.
const PATIENCE: Duration = Duration::from_secs(180);
/// No answer has more bytes.
const MOST_BYTES: usize = 16 << 20;

/// What images are made of, and the keys of the machine that runs them.
pub struct Parts {
    /// Kernel and initrd.
    pub kernel: Kernel,
    /// The folder that keeps the keys of the machine's security processor.
    pub keys: PathBuf,
}

/// An image, and what the host hands over for it.
pub struct Image {
    name: String,
    /// The file.
    pub path: PathBuf,
    /// The kernel's command line.
    pub command_line: String,
    /// Whether UEFI firmware starts the kernel.
    has_firmware: bool,
    /// The guest policy, if it is another than the default: the host's command line has to name it too.
    policy: Option<u64>,
    /// The guest will be restarted, which only a host that does not exist can leave to VMPL0.
    restarts: bool,
}

impl Image {
    /// Builds an image; `policy` is the guest policy, if it is another than the default.
    pub fn build(place: &Place, name: &str, command_line: &str, policy: Option<u64>) -> Result<Self, String> {
        let option = policy.map(|policy| vec!["--policy".to_owned(), format!("{policy:#x}")]);
        let image = Self::of_parts(place, name, command_line, &option.unwrap_or_default())?;
        Ok(Self { policy, ..image })
    }

    /// The same image, in a session in which its guest is restarted.
    pub fn that_restarts(self) -> Self {
        Self { restarts: true, ..self }
    }

    /// Builds an image whose guest is UEFI firmware, which starts the kernel.
    pub fn through(place: &Place, firmware: &Path, name: &str, command_line: &str) -> Result<Self, String> {
        let options = ["--guest-firmware".to_owned(), firmware.display().to_string()];
        Ok(Self { has_firmware: true, ..Self::of_parts(place, name, command_line, &options)? })
    }

    fn of_parts(place: &Place, name: &str, command_line: &str, more: &[String]) -> Result<Self, String> {
        let path = place.folder.join(format!("{name}.igvm"));
        let kernel = &place.parts.kernel;
        let mut command = Command::new(place.built.tool("igvm-image"));
        command.arg("build").arg("--stage2").arg(place.built.firmware("stage2"));
        command.arg("--kernel").arg(place.built.firmware("kernel")).arg("--output").arg(&path);
        command.arg("--linux").arg(&kernel.image).arg("--initrd").arg(&kernel.initrd);
        command.args(["--append", command_line]).args(more);
        let output = command.output().map_err(|error| format!("igvm-image: {error}"))?;
        if !output.status.success() {
            return Err(format!("igvm-image: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        let (name, command_line) = (name.to_owned(), command_line.to_owned());
        Ok(Self { name, path, command_line, has_firmware: false, policy: None, restarts: false })
    }

    /// Starts it; returns when the agent answers.
    pub fn start(&self, place: &Place) -> Result<Guest, String> {
        Guest::start(self, place).map_err(|error| {
            let folder = place.folder.display();
            format!("the guest does not answer: {error}; see {folder}/{}.serial and .machine", self.name)
        })
    }
}

/// A running guest.
pub struct Guest {
    port: BufReader<UnixStream>,
    machine: JoinHandle<io::Result<Ended>>,
    // The socket lies in it.
    _folder: tempfile::TempDir,
}

impl Guest {
    fn start(image: &Image, place: &Place) -> io::Result<Self> {
        // Paths of sockets must be short.
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("agent");
        let listener = UnixListener::bind(&socket)?;
        let command_line = place.folder.join(format!("{}.cmdline", image.name));
        std::fs::write(&command_line, &image.command_line)?;
        let options = options(place, image, &command_line, &socket);
        let (built, logs) = (place.built.clone(), place.folder.clone());
        let (name, path) = (image.name.clone(), image.path.clone());
        let machine = std::thread::spawn(move || {
            let ended = emulator::run(&built, &logs, &name, &path, &options, LIMIT_SECONDS);
            // A machine that never came to connect must not be waited for.
            drop(UnixStream::connect(&socket));
            ended
        });
        let (stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut guest = Self { port: BufReader::new(stream), machine, _folder: folder };
        guest.answer()?.map_err(io::Error::other)?;
        Ok(guest)
    }

    /// Sends a request; what the guest answers, or why it failed there.
    fn ask(&mut self, line: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let mut send = || {
            let port = self.port.get_mut();
            port.write_all(format!("{line}\n").as_bytes())?;
            port.write_all(bytes)?;
            self.answer()
        };
        match send() {
            Ok(answer) => answer.map_err(|reason| format!("{line}: {reason}")),
            Err(error) => Err(format!("{line}: the guest does not answer: {error}")),
        }
    }

    fn answer(&mut self) -> io::Result<Result<Vec<u8>, String>> {
        let mut line = String::new();
        self.port.read_line(&mut line)?;
        let (word, length) = line.trim_end().split_once(' ').ok_or(io::ErrorKind::UnexpectedEof)?;
        let length = length.parse().ok().filter(|length| *length <= MOST_BYTES);
        let mut bytes = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
        self.port.read_exact(&mut bytes)?;
        Ok(if word == "ok" { Ok(bytes) } else { Err(String::from_utf8_lossy(&bytes).into_owned()) })
    }

    /// Runs one of tpm2-tools; what it printed.
    pub fn run(&mut self, command: &str) -> Result<String, String> {
        self.ask(&format!("run {command}"), &[]).map(|text| String::from_utf8_lossy(&text).into_owned())
    }

    /// Writes a file.
    pub fn put(&mut self, path: &str, bytes: &[u8]) -> Result<(), String> {
        self.ask(&format!("put {path} {}", bytes.len()), bytes).map(|_| ())
    }

    /// Reads a file.
    pub fn get(&mut self, path: &str) -> Result<Vec<u8>, String> {
        self.ask(&format!("get {path}"), &[])
    }

    /// Makes a folder.
    pub fn folder(&mut self, path: &str) -> Result<(), String> {
        self.ask(&format!("folder {path}"), &[]).map(|_| ())
    }

    /// The event log of the firmware.
    pub fn event_log(&mut self) -> Result<Vec<u8>, String> {
        self.ask("log", &[])
    }

    /// Restarts the guest, under the same VMPL0; returns when the agent answers again.
    pub fn restart(&mut self) -> Result<(), String> {
        self.ask("restart", &[])?;
        let greeting = self.answer().map_err(|error| format!("the guest does not come back: {error}"))?;
        greeting.map(|_| ())
    }

    /// Turns the guest off, and waits for the machine to end well.
    pub fn finish(mut self) -> Result<(), String> {
        self.ask("off", &[])?;
        let ended = self.machine.join().map_err(|_| "the machine's thread died")?;
        match ended.map_err(|error| error.to_string())?.status {
            Some(0) => Ok(()),
            status => Err(format!("the machine ends with status {status:?}")),
        }
    }
}

fn options(place: &Place, image: &Image, command_line: &Path, socket: &Path) -> Vec<String> {
    let kernel = &place.parts.kernel;
    let mut options = vec!["--psp-keys".to_owned(), place.parts.keys.display().to_string()];
    if image.restarts {
        options.extend(["--host", "plain", "--resets", "1"].map(str::to_owned));
    }
    if let Some(policy) = image.policy {
        options.extend(["--policy".to_owned(), format!("{policy:#x}")]);
    }
    if image.has_firmware {
        for (name, file) in [("--kernel", &kernel.image), ("--initrd", &kernel.initrd)] {
            options.extend([name.to_owned(), file.display().to_string()]);
        }
        options.extend(["--append".to_owned(), image.command_line.clone()]);
    } else {
        for (name, file) in
            [("kernel", &*kernel.image), ("initrd", &kernel.initrd), ("cmdline", command_line)]
        {
            options.push("--fw-cfg".to_owned());
            options.push(format!("name=opt/org.vouchsafe/{name},file={}", file.display()));
        }
    }
    options.extend(
        [
            "--",
            "-device",
            "virtio-serial-pci",
            "-device",
            "virtserialport,chardev=agent,name=org.vouchsafe.agent",
            "-chardev",
        ]
        .map(str::to_owned),
    );
    options.push(format!("socket,id=agent,path={}", socket.display()));
    options
}
