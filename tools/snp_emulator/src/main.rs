//! `snp-emulator`: runs an IGVM image of SEV-SNP firmware on an emulated SNP machine.
//!
//! This is the launcher, a host program: it plans the launch from the image, starts QEMU with the bare-metal
//! monitor (`monitor/`), passes the guest's serial port through, and turns what the monitor says into messages
//! and an exit status. Every rule of the machine is in `model/`.
#![forbid(unsafe_code)]

mod arguments;
mod machine;
mod plan;
mod platform;
mod qemu;
mod report;
mod signals;
mod symbols;
mod timeline;

use arguments::{Action, Command, LIST_ATTACKS, RunArguments};
use clap::Parser;
use std::fmt::Write as _;
use std::process::ExitCode;

/// Bad arguments or input.
const STATUS_USAGE: u8 = 2;

fn main() -> ExitCode {
    let Command { action: Action::Run(arguments) } = Command::parse();
    match run(&arguments) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("snp-emulator: {error}");
            ExitCode::from(STATUS_USAGE)
        }
    }
}

/// The table of attacks, as `--attack list` prints it.
fn attacks() -> String {
    let mut text = String::new();
    for attack in model::attack::ATTACKS {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}\n    the host {}\n    claim: {}", attack.name, attack.does, attack.claim);
        for key in attack.keys {
            let _ = writeln!(text, "    {}: {} ({:#x} if not given)", key.name, key.sets, key.default);
        }
    }
    text
}

fn run(arguments: &RunArguments) -> Result<u8, machine::RunError> {
    if arguments.end_with_parent {
        signals::end_with_parent()?;
    }
    if arguments.attack.as_deref() == Some(LIST_ATTACKS) {
        print!("{}", attacks());
        return Ok(0);
    }
    let path = arguments.image.as_deref().ok_or(machine::RunError::NoImage)?;
    let image = std::fs::read(path).map_err(|error| machine::RunError::File(machine::name(path), error))?;
    let machine = plan::Machine {
        host: arguments.host.profile(),
        cpu_signature: arguments.cpu.signature(),
        vcpus: arguments.smp,
        policy: arguments.policy,
    };
    let plan = plan::encode(&image, &machine).map_err(machine::RunError::Image)?;
    machine::run(arguments, &plan)
}
