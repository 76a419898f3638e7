//! `initrd`: makes the initrd for a stock kernel, as `make run GUEST=linux` boots it.
#![forbid(unsafe_code)]

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// Makes an initrd from our first program and a kernel's modules.
#[derive(Parser)]
struct Arguments {
    /// The kernel's modules, a folder like those in /lib/modules
    #[arg(long)]
    modules: PathBuf,
    /// The first program, statically linked
    #[arg(long)]
    init: PathBuf,
    /// A static busybox, for the shell
    #[arg(long)]
    busybox: Option<PathBuf>,
    /// Where the initrd goes
    #[arg(long)]
    output: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let made = guests::initrd::build(&arguments.modules, &arguments.init, arguments.busybox.as_deref());
    let written = made.and_then(|bytes| {
        std::fs::write(&arguments.output, bytes)
            .map_err(|error| format!("{}: {error}", arguments.output.display()))
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("initrd: {error}");
            ExitCode::FAILURE
        }
    }
}
