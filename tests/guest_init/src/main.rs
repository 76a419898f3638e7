//! The first program of a stock Linux guest: it says over the console whether the guest has what it was given, and
//! turns the machine off.
//!
//! `tests/guests` builds it, statically linked, into an initrd together with modules of the guest's own kernel, and
//! reads what it says. The kernel's command line tells it what to expect: `vouchsafe.NAME=VALUE`, see [`wanted`].
//! Every check is a row of the table in `checks` and prints one line `vouchsafe: NAME passed|failed DETAIL`.
#![forbid(unsafe_code)]

mod agent;
mod checks;
mod devices;
mod stress;
mod wanted;

use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, reboot};
use std::fs::Permissions;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use wanted::Wanted;

/// Modules in the order in which they must be loaded, as the initrd has them.
const MODULES: &str = "/modules";
const SHELL: &str = "/bin/busybox";
/// For whoever sits there.
const THINGS: &str = "dmesg | grep -i sev; nproc; cat /proc/cmdline";
const THINGS_WITH_TPM: &str = "tpm2_pcrread sha256:0,4,8,9; tpm2_getrandom --hex 16; tpm2_createek -c ek.ctx -G rsa -u ek.pub; dmesg | grep -iE 'sev|svsm'";

fn main() {
    mount_all();
    let wanted = Wanted::of_command_line(&fs::read_to_string("/proc/cmdline").unwrap_or_default());
    say("user space");
    load_modules();
    let mut restarts = wanted.restart;
    if wanted.shell {
        run_shell();
    } else if wanted.agent {
        restarts |= agent::serve() == agent::End::Restart;
    } else {
        checks::run(&wanted);
    }
    say("done");
    rustix::fs::sync();
    let command = if restarts { RebootCommand::Restart } else { RebootCommand::PowerOff };
    if let Err(error) = reboot(command) {
        say(&format!("the machine does not go off: {error}"));
    }
    // When the first program ends, the kernel panics, which nobody can overlook.
}

/// Prints a line for the program that started the guest.
fn say(text: &str) {
    println!("vouchsafe: {text}");
}

fn mount_all() {
    const PLACES: &[(&str, &str)] =
        &[("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/tmp")];
    for (kind, place) in PLACES {
        // The kernel mounts nothing for an initrd; a file system that fails shows in the check that needs it.
        let _ = fs::create_dir_all(place);
        if let Err(error) = mount(*kind, *place, *kind, MountFlags::empty(), None) {
            say(&format!("{place} cannot be mounted: {error}"));
        }
    }
    let _ = fs::create_dir_all("/sys/kernel/config");
    // configfs is a module in some kernels; the checks that need it say so.
    let _ = mount("configfs", "/sys/kernel/config", "configfs", MountFlags::empty(), None);
}

fn load_modules() {
    let mut paths: Vec<_> = match fs::read_dir(MODULES) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(_) => return,
    };
    paths.sort();
    for path in paths {
        let loaded = File::open(&path)
            .map_err(|error| error.to_string())
            .and_then(|file| rustix::system::finit_module(&file, c"", 0).map_err(|error| error.to_string()));
        if let Err(error) = loaded {
            say(&format!("module {} is not loaded: {error}", path.display()));
        }
    }
}

/// A shell for whoever sits at the console; the machine goes off when it ends.
fn run_shell() {
    if let Err(error) = Command::new(SHELL).args(["--install", "-s", "/bin"]).status() {
        say(&format!("there is no shell in this initrd: {error}"));
        return;
    }
    // Busybox asks the first program, which is not busybox, to restart.
    for (name, option) in [("reboot", "reboot"), ("poweroff", "poweroff"), ("halt", "poweroff")] {
        let path = format!("/bin/{name}");
        let script = format!("#!{SHELL} sh\nexec {SHELL} {option} -f\n");
        let written = fs::remove_file(&path)
            .and_then(|()| fs::write(&path, script))
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o755)));
        if let Err(error) = written {
            say(&format!("{path}: {error}"));
        }
    }
    let has_tpm = std::path::Path::new(agent::TPM_DEVICE).exists();
    println!(
        "\nThis is a stock Linux kernel at VMPL2. `reboot` restarts it, `exit` turns the machine off, Ctrl-A X ends it at once."
    );
    println!("Things to try: {}\n", if has_tpm { THINGS_WITH_TPM } else { THINGS });
    // A session of its own with the console as its terminal, so that Ctrl-C reaches what runs and not the shell.
    let status = Command::new(SHELL)
        .arg0("setsid")
        .args(["-c", SHELL, "sh", "-l"])
        .env("PATH", "/bin:/usr/bin")
        .env("TPM2TOOLS_TCTI", agent::TRANSPORT)
        .env("HOME", "/")
        .env("TERM", "linux")
        .env("PS1", "vouchsafe-guest:\\w# ")
        .status();
    if let Err(error) = status {
        say(&format!("the shell cannot be started: {error}"));
    }
}
