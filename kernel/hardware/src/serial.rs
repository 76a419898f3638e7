//! The log: `log` records on the first serial port, through the GHCB.
//!
//! The host reads every line, so nothing secret and nothing of the guest's goes here.

use crate::cpu;
use core::fmt::{self, Write};
use log::{LevelFilter, Log, Metadata, Record};
use snp_abi::ghcb::event::IoSize;
use spin::Mutex;

const DATA: u16 = 0x3f8;
const STATUS: u16 = 0x3fd;
const TRANSMITTER_EMPTY: u32 = 1 << 5;
/// Bytes of the UART's transmit FIFO: so many can go without asking again.
const FIFO: usize = 16;
/// Times that the port is asked before the log gives up on a line; a host that stops reading must not stop the guest.
const PATIENCE: usize = 1000;
const LINE_BYTES: usize = 200;

struct Logger;
static LOGGER: Logger = Logger;
static PORT: Mutex<()> = Mutex::new(());

/// Starts logging.
pub(crate) fn initialise(level: LevelFilter) {
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(level);
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        let mut line = Line { bytes: [0; LINE_BYTES], length: 0 };
        // A line that is too long is cut; `Line` itself never fails.
        let _ = write!(line, "[svsm {}] {}", record.level(), record.args());
        line.finish();
        let _guard = PORT.lock();
        send(line.bytes.get(..line.length).unwrap_or_default());
    }

    fn flush(&self) {}
}

struct Line {
    bytes: [u8; LINE_BYTES],
    length: usize,
}

impl Line {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    fn finish(&mut self) {
        self.length = self.length.min(LINE_BYTES - 2);
        self.push(b'\r');
        self.push(b'\n');
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.push(byte));
        Ok(())
    }
}

/// Sends bytes if the vCPU has a GHCB that is not in use; a log line is not worth more than that.
fn send(bytes: &[u8]) {
    for part in bytes.chunks(FIFO) {
        let sent = cpu::with_ghcb(|ghcb| {
            for _ in 0..PATIENCE {
                if ghcb.input(STATUS, IoSize::Byte).ok()? & TRANSMITTER_EMPTY != 0 {
                    return ghcb.out_bytes(DATA, part).ok();
                }
            }
            None
        });
        if sent.flatten().is_none() {
            return;
        }
    }
}
