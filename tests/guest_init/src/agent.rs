//! The guest's side of the workflow: does what the program outside asks for over a virtio port, with the guest's own files,
//! drivers and programs.
//!
//! It stands for the person at the guest's terminal, and decides nothing. A request is a line of words, and bytes after it
//! where the line says how many; an answer is `ok LENGTH` or `failed LENGTH`, and that many bytes.
//!
//! | request | does |
//! |---|---|
//! | `put PATH LENGTH` and bytes | writes a file, in one piece |
//! | `get PATH` | answers with a file |
//! | `folder PATH` | makes a folder, for instance one that stands for a report in configfs |
//! | `run PROGRAM ARGUMENT...` | runs one of tpm2-tools and answers with what it prints |
//! | `log` | answers with the event log that the firmware handed over |
//! | `off` | turns the machine off |
//! | `restart` | restarts it |

use crate::say;
use rustix::mount::{MountFlags, mount};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The first port of the first virtio-serial device.
const PORT: &str = "/dev/vport0p1";
/// All of tpm2-tools is one program with many names.
const TOOLS: &str = "/usr/bin/tpm2";
/// The TPM through the kernel's resource manager.
pub const TRANSPORT: &str = "device:/dev/tpmrm0";
/// The TPM as Linux shows it.
pub const TPM_DEVICE: &str = "/dev/tpm0";
/// Where programs run, so that their files have short names.
const FOLDER: &str = "/tmp";
const CONFIGFS: &str = "/sys/kernel/config";
/// The list of nodes that the boot loader handed over, and the type of the one that holds the event log
/// (kernel/snp_abi/src/linux.rs, `SETUP_EVENT_LOG`).
const SETUP_DATA: &str = "/sys/kernel/boot_params/setup_data";
const EVENT_LOG_TYPE: &str = "0x56434c47";
/// Where the kernel shows the log that UEFI firmware kept.
const SECURITYFS: &str = "/sys/kernel/security";
const UEFI_LOG: &str = "tpm0/binary_bios_measurements";
/// No request has more bytes.
const MOST_BYTES: u64 = 1 << 20;

type Answer = Result<Vec<u8>, String>;

/// How a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The machine shall go off.
    Off,
    /// It shall restart.
    Restart,
}

/// Serves requests until one turns the machine off or restarts it, or the other side goes away.
pub fn serve() -> End {
    // When everything else was mounted, its module was not loaded yet.
    if fs::read_dir(CONFIGFS).is_ok_and(|mut entries| entries.next().is_none()) {
        let _ = mount("configfs", CONFIGFS, "configfs", MountFlags::empty(), None);
    }
    let _ = mount("securityfs", SECURITYFS, "securityfs", MountFlags::empty(), None);
    converse().unwrap_or_else(|error| {
        say(&format!("{PORT}: {error}"));
        End::Off
    })
}

fn converse() -> io::Result<End> {
    let port = OpenOptions::new().read(true).write(true).open(PORT)?;
    let mut requests = BufReader::new(port.try_clone()?);
    answer(&port, &Ok(Vec::new()))?;
    let mut line = String::new();
    while requests.read_line(&mut line)? != 0 {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let end = match words[..] {
            ["off"] => Some(End::Off),
            ["restart"] => Some(End::Restart),
            _ => None,
        };
        if let Some(end) = end {
            answer(&port, &Ok(Vec::new()))?;
            return Ok(end);
        }
        let done = perform(&words, &mut requests);
        answer(&port, &done)?;
        line.clear();
    }
    Err(ErrorKind::UnexpectedEof.into())
}

fn answer(mut port: &File, answer: &Answer) -> io::Result<()> {
    let (word, bytes) = match answer {
        Ok(bytes) => ("ok", bytes.as_slice()),
        Err(reason) => ("failed", reason.as_bytes()),
    };
    port.write_all(format!("{word} {}\n", bytes.len()).as_bytes())?;
    port.write_all(bytes)
}

fn perform(words: &[&str], requests: &mut impl Read) -> Answer {
    match words {
        ["put", path, length] => put(path, length, requests),
        ["get", path] => fs::read(in_folder(path)).map_err(|error| format!("{path}: {error}")),
        ["folder", path] => match fs::create_dir_all(path) {
            Ok(()) => Ok(Vec::new()),
            Err(error) => Err(format!("{path}: {error}")),
        },
        ["run", program, arguments @ ..] => run(program, arguments),
        ["log"] => event_log(),
        _ => Err(format!("there is no request {words:?}")),
    }
}

fn in_folder(path: &str) -> std::path::PathBuf {
    Path::new(FOLDER).join(path)
}

fn put(path: &str, length: &str, requests: &mut impl Read) -> Answer {
    let length = length.parse().ok().filter(|length| *length <= MOST_BYTES);
    let length = length.ok_or_else(|| format!("{path} is too long"))?;
    let mut bytes = Vec::new();
    requests.take(length).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    // Files of configfs exist already, and take what one write gives them.
    fs::write(in_folder(path), bytes).map_err(|error| format!("{path}: {error}"))?;
    Ok(Vec::new())
}

fn run(program: &str, arguments: &[&str]) -> Answer {
    let output = Command::new(TOOLS)
        .arg0(program)
        .args(arguments)
        .current_dir(FOLDER)
        .env("TPM2TOOLS_TCTI", TRANSPORT)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    let text = [output.stdout, output.stderr].concat();
    if output.status.success() {
        Ok(text)
    } else {
        Err(format!("{}: {}", output.status, String::from_utf8_lossy(&text).trim_end()))
    }
}

fn event_log() -> Answer {
    // The list is not there when nobody handed anything over.
    for node in fs::read_dir(SETUP_DATA).into_iter().flatten().filter_map(Result::ok) {
        let kind = fs::read_to_string(node.path().join("type")).unwrap_or_default();
        if kind.trim() == EVENT_LOG_TYPE {
            return fs::read(node.path().join("data")).map_err(|error| error.to_string());
        }
    }
    let log = fs::read(Path::new(SECURITYFS).join(UEFI_LOG));
    log.map_err(|error| format!("the firmware handed over no event log: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_is_not_known_or_too_long_is_refused() {
        assert!(perform(&["put", "x", "1048577"], &mut io::empty()).is_err());
        assert!(perform(&["put", "x", "-1"], &mut io::empty()).is_err());
        assert!(perform(&["get"], &mut io::empty()).is_err());
        assert!(perform(&["get", "/nowhere/to/be/found"], &mut io::empty()).is_err());
        assert!(perform(&[], &mut io::empty()).is_err());
    }

    #[test]
    fn a_file_is_put_with_exactly_its_bytes() {
        let path = std::env::temp_dir().join(format!("agent-{}", std::process::id()));
        let name = path.display().to_string();
        let mut input = &b"hello\nget"[..];
        assert_eq!(perform(&["put", &name, "6"], &mut input), Ok(Vec::new()));
        assert_eq!(perform(&["get", &name], &mut input), Ok(b"hello\n".to_vec()));
        assert_eq!(input, b"get");
        let _ = fs::remove_file(path);
    }
}
