//! `tpm-simulator`: the TPM engine on sockets, for tpm2-tools, the TSS stacks, QEMU, and tests.
#![forbid(unsafe_code)]

mod arguments;

use arguments::{Arguments, Log};
use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::net::{IpAddr, TcpListener};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::{fs, io, thread};
use tpm::Tpm;
use tpm_simulator::command_log::{CommandLog, Detail};
use tpm_simulator::machine::Machine;
use tpm_simulator::platform::{self, SimulatedPlatform};
use tpm_simulator::random::Source;
use tpm_simulator::server::{self, Ending, Service};
use tpm_simulator::vtpm_proxy;

/// The engine failed while it ran.
const STATUS_ENGINE: u8 = 1;
/// Bad usage, a port in use, or state that cannot be used.
const STATUS_USAGE: u8 = 2;

type Shared = Arc<Mutex<Machine<Tpm<SimulatedPlatform>>>>;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(Ending::Requested) => ExitCode::SUCCESS,
        Ok(Ending::EngineLost) => {
            eprintln!(
                "tpm-simulator: the engine failed, and nothing is known about its state; please report this"
            );
            ExitCode::from(STATUS_ENGINE)
        }
        Err(error) => {
            eprintln!("tpm-simulator: {error}");
            ExitCode::from(STATUS_USAGE)
        }
    }
}

fn run(arguments: &Arguments) -> Result<Ending, Box<dyn std::error::Error>> {
    if arguments.vtpm_proxy && !arguments.vtpm_on_stdin {
        let rest: Vec<String> = std::env::args().skip(1).collect();
        match vtpm_proxy::restart_with_device(&rest)? {}
    }
    let (sender, endings) = channel();
    // From here on a signal waits until the command under way has been answered.
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let on_signal = sender.clone();
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            let _ended_already = on_signal.send(Ending::Requested);
        }
    });
    let machine = build(arguments)?;
    if arguments.vtpm_on_stdin {
        serve_device(&machine, sender)?;
    } else {
        serve_ports(arguments, &machine, &sender)?;
    }
    Ok(wait(&machine, &endings))
}

fn build(arguments: &Arguments) -> Result<Shared, Box<dyn std::error::Error>> {
    let source = match &arguments.seed_from {
        Some(path) => Source::seeded(&fs::read(path).map_err(|error| {
            format!("cannot read {}: {error}; --seed-from needs a file of any bytes", path.display())
        })?),
        None => Source::System,
    };
    let engine = platform::build(source, arguments.state.as_deref(), arguments.pcr_banks.as_deref())?;
    let log = match arguments.log {
        Log::None => CommandLog::silent(),
        Log::Commands => CommandLog::on_stderr(Detail::Names),
        Log::Bytes => CommandLog::on_stderr(Detail::Bytes),
    };
    Ok(Arc::new(Mutex::new(Machine::new(engine, log, arguments.startup))))
}

fn serve_ports(
    arguments: &Arguments,
    machine: &Shared,
    endings: &Sender<Ending>,
) -> Result<(), Box<dyn std::error::Error>> {
    let listeners = match arguments.port {
        0 => listen_anywhere(arguments)?,
        port => listen(arguments, port)?,
    };
    for (listener, port, service) in listeners {
        server::serve(listener, service, machine, endings);
        println!("tpm-simulator: listening on {}: {}", display(arguments.address, port), service.name());
    }
    Ok(())
}

type Listeners = Vec<(TcpListener, u16, Service)>;

/// Ports that are free: the operating system names one, and those that belong to it may be taken, so many are tried. A client's
/// old connections keep ports from being listened on for a minute.
fn listen_anywhere(arguments: &Arguments) -> Result<Listeners, Box<dyn std::error::Error>> {
    const TRIES: usize = 1000;
    let mut last = None;
    for _ in 0..TRIES {
        let listener = server::listen(arguments.address, 0)?;
        match listen_beside(arguments, listener) {
            Ok(listeners) => return Ok(listeners),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| "no port is free".into()))
}

/// All ports or none: nobody connects to half a simulator.
fn listen(arguments: &Arguments, first: u16) -> Result<Listeners, Box<dyn std::error::Error>> {
    listen_beside(arguments, server::listen(arguments.address, first)?)
}

/// The other ports, by the one that is open.
fn listen_beside(
    arguments: &Arguments,
    commands: TcpListener,
) -> Result<Listeners, Box<dyn std::error::Error>> {
    let first = commands.local_addr()?.port();
    let control = arguments.control_port.unwrap_or(first.saturating_add(3));
    if (first..=first.saturating_add(2)).contains(&control) {
        return Err(format!(
            "--control-port {control} also takes the port before it, and --port {first} the port after it; choose ports \
             further apart"
        )
        .into());
    }
    let others = [
        (first.saturating_add(1), Service::Platform),
        (control.saturating_sub(1), Service::Commands),
        (control, Service::Control),
    ];
    let mut listeners = vec![(commands, first, Service::Commands)];
    for (port, service) in others {
        listeners.push((server::listen(arguments.address, port)?, port, service));
    }
    Ok(listeners)
}

fn display(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::from((address, port)).to_string()
}

fn serve_device(machine: &Shared, endings: Sender<Ending>) -> io::Result<()> {
    let mut reader = fs::File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut writer = reader.try_clone()?;
    let machine = Arc::clone(machine);
    thread::spawn(move || {
        let ending = match vtpm_proxy::serve(&machine, &mut reader, &mut writer) {
            Ok(()) => Ending::Requested,
            Err(error) => {
                eprintln!("tpm-simulator: the device was closed: {error}");
                Ending::Requested
            }
        };
        let _ended_already = endings.send(ending);
    });
    Ok(())
}

/// Waits for a reason to end, and for the command that is under way.
fn wait(machine: &Shared, endings: &Receiver<Ending>) -> Ending {
    let ending = endings.recv().unwrap_or(Ending::Requested);
    match machine.lock() {
        Ok(_quiet) => ending,
        Err(_poisoned) => Ending::EngineLost,
    }
}
