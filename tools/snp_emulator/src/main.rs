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
mod symbols;

use arguments::{Action, Command, RunArguments};
use clap::Parser;
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

fn run(arguments: &RunArguments) -> Result<u8, machine::RunError> {
    let image = std::fs::read(&arguments.image)
        .map_err(|error| machine::RunError::File(machine::name(&arguments.image), error))?;
    let plan = plan::encode(&image, arguments.smp).map_err(machine::RunError::Image)?;
    machine::run(arguments, &plan)
}
