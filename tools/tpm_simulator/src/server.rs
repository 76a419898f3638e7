//! Listens, gives each connection a thread, and waits for a reason to end.

use crate::machine::{Engine, Machine};
use crate::wire::ConnectionError;
use crate::{control, framing, platform_port};
use std::io;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Why the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Someone asked for it: a signal, or a request of a side channel.
    Requested,
    /// The engine panicked.
    EngineLost,
}

/// What a port serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Commands, in either framing.
    Commands,
    /// The reference simulator's platform switches.
    Platform,
    /// swtpm's control channel.
    Control,
}

impl Service {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Commands => "commands (mssim and raw)",
            Self::Platform => "mssim platform",
            Self::Control => "swtpm control",
        }
    }
}

/// A port that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}:{port}: {error}; {}", remedy(error.kind()))]
pub struct ListenError {
    address: IpAddr,
    port: u16,
    error: io::Error,
}

fn remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::AddrNotAvailable => "choose one of this machine's addresses with --address",
        io::ErrorKind::PermissionDenied => "choose a port from 1024 on with --port",
        _ => "end what uses the port, or choose another with --port",
    }
}

/// How long nobody is accepted after that failed.
const AFTER_A_FAILURE: Duration = Duration::from_millis(100);

/// Opens a port.
pub fn listen(address: IpAddr, port: u16) -> Result<TcpListener, ListenError> {
    TcpListener::bind((address, port)).map_err(|error| ListenError { address, port, error })
}

/// Serves all connections of an open port, on threads of their own.
pub fn serve<E: Engine + 'static>(
    listener: TcpListener,
    service: Service,
    machine: &Arc<Mutex<Machine<E>>>,
    endings: &Sender<Ending>,
) {
    let (machine, endings) = (Arc::clone(machine), endings.clone());
    thread::spawn(move || {
        for stream in listener.incoming() {
            match stream {
                Ok(stream) => connect(stream, service, &machine, &endings),
                Err(error) => {
                    eprintln!("tpm-simulator: a connection could not be accepted: {error}");
                    // Where there are too many open files, the next try fails as well: others have to end first.
                    thread::sleep(AFTER_A_FAILURE);
                }
            }
        }
    });
}

fn connect<E: Engine + 'static>(
    stream: TcpStream,
    service: Service,
    machine: &Arc<Mutex<Machine<E>>>,
    endings: &Sender<Ending>,
) {
    let (machine, endings) = (Arc::clone(machine), endings.clone());
    thread::spawn(move || {
        let outcome = converse(stream, service, &machine);
        let ending = match outcome {
            Ok(ending) => ending,
            Err(ConnectionError::EngineLost) => Some(Ending::EngineLost),
            Err(ConnectionError::Stream(error)) if is_departure(&error) => None,
            Err(error) => {
                eprintln!("tpm-simulator: {}: connection closed: {error}", service.name());
                None
            }
        };
        // A panic of the engine ends this thread before it can tell; it leaves the lock poisoned.
        if let Some(ending) = ending {
            let _ended_already = endings.send(ending);
        }
    });
}

/// A client that just goes away; this is how many end their sessions.
fn is_departure(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted
    )
}

fn converse<E: Engine>(
    stream: TcpStream,
    service: Service,
    machine: &Mutex<Machine<E>>,
) -> Result<Option<Ending>, ConnectionError> {
    // Commands and responses are small and take turns: waiting to fill a packet only delays them.
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = io::BufReader::new(Eager(stream));
    match service {
        Service::Commands => framing::serve(machine, &mut reader, &mut writer),
        Service::Platform => platform_port::serve(machine, &mut reader, &mut writer),
        Service::Control => control::serve(machine, &mut reader, &mut writer),
    }
}

/// Acknowledges at once: clients of the reference protocol write a command in pieces, and wait for each piece's acknowledgement,
/// which Linux holds back for 40 ms.
struct Eager(TcpStream);

impl io::Read for Eager {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // It is off again after each use, and where there is none, it is slow only.
        let _slow_without = rustix::net::sockopt::set_tcp_quickack(&self.0, true);
        self.0.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::tests::echo;
    use std::io::{Read, Write};
    use std::net::Ipv4Addr;
    use std::sync::mpsc::{Receiver, channel};

    fn start(service: Service) -> (u16, Receiver<Ending>) {
        let listener = listen(IpAddr::V4(Ipv4Addr::LOCALHOST), 0).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, receiver) = channel();
        serve(listener, service, &Arc::new(echo()), &sender);
        (port, receiver)
    }

    fn connect_to(port: u16) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap()
    }

    #[test]
    fn connections_of_both_framings_are_served_at_the_same_time() {
        let (port, _endings) = start(Service::Commands);
        let (mut raw, mut mssim) = (connect_to(port), connect_to(port));
        let command = [0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x44];
        for _ in 0..3 {
            raw.write_all(&command).unwrap();
            mssim.write_all(&[&[0, 0, 0, 8, 0, 0, 0, 0, 10][..], &command].concat()).unwrap();
            let (mut first, mut second) = ([0; 10], [0; 18]);
            raw.read_exact(&mut first).unwrap();
            mssim.read_exact(&mut second).unwrap();
            assert_eq!(first, command);
            assert_eq!(second[4..14], command);
        }
    }

    #[test]
    fn a_request_to_stop_is_an_ending() {
        let (port, endings) = start(Service::Platform);
        connect_to(port).write_all(&[0, 0, 0, 21]).unwrap();
        assert_eq!(endings.recv().unwrap(), Ending::Requested);
    }

    #[test]
    fn a_port_in_use_is_refused_with_a_remedy() {
        let (port, _endings) = start(Service::Control);
        let error = listen(IpAddr::V4(Ipv4Addr::LOCALHOST), port).unwrap_err();
        assert!(error.to_string().contains("choose another with --port"));
        // An address for documentation (RFC 5737), which no machine has.
        let error = listen(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 0).unwrap_err();
        assert!(error.to_string().contains("with --address"));
    }
}
