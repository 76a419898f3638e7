//! `initrd`: makes the initrd for a stock kernel, as `make run GUEST=linux` boots it.
#![forbid(unsafe_code)]

use clap::Parser;
use guests::initrd::Contents;
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
    /// A module of the same kernel that comes from elsewhere; may be given several times, in loading order
    #[arg(long)]
    module: Vec<PathBuf>,
    /// A folder with tpm2-tools and everything that they need
    #[arg(long)]
    tpm2_tools: Option<PathBuf>,
    /// Where the initrd goes
    #[arg(long)]
    output: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let made = guests::initrd::build_all(&Contents {
        modules: &arguments.modules,
        more_modules: &arguments.module,
        init: &arguments.init,
        busybox: arguments.busybox.as_deref(),
        tpm2_tools: arguments.tpm2_tools.as_deref(),
    });
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
