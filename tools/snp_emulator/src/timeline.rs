//! `--timeline`: a run as a trace that Perfetto and Chrome's about:tracing open (the "JSON trace event format").
//!
//! A track for each vCPU has what ran: a slice for each stay in the guest, named by its level, one for each exit that the machine handled,
//! and around VMPL0's stays between two of a lower level one for the call.

use std::collections::BTreeMap;
use std::io::{self, Write};

/// What is known of a vCPU's last stay in the guest.
#[derive(Clone, Copy)]
struct Last {
    left: u64,
    vmpl: u8,
    code: u64,
    /// When VMPL0 took over from a lower level, if it did.
    call: Option<u64>,
}

/// Writes events as they come.
pub struct Timeline<W> {
    out: W,
    ticks_per_microsecond: f64,
    start: Option<u64>,
    last: BTreeMap<u32, Last>,
    any: bool,
}

/// Exit codes by name; others are shown as numbers.
const EXITS: &[(u64, &str)] = &[
    (0x13, "CR3 write"),
    (0x18, "CR8 write"),
    (0x46, "RMP instruction"),
    (0x60, "interrupt"),
    (0x61, "NMI"),
    (0x64, "interrupt window"),
    (0x72, "CPUID"),
    (0x78, "HLT"),
    (0x79, "INVLPG"),
    (0x7b, "I/O"),
    (0x7c, "MSR"),
    (0x81, "VMGEXIT"),
    (0x400, "nested page fault"),
];

impl<W: Write> Timeline<W> {
    /// A trace that goes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, ticks_per_microsecond: 1000.0, start: None, last: BTreeMap::new(), any: false }
    }

    /// Takes a line of the monitor's: `hertz N`, or `ENTERED LEFT VCPU VMPL CODE`. Others are skipped.
    pub fn line(&mut self, line: &str) -> io::Result<()> {
        if let Some(hertz) = line.strip_prefix("hertz ").and_then(|text| text.parse::<u32>().ok()) {
            self.ticks_per_microsecond = (f64::from(hertz) / 1e6).max(f64::MIN_POSITIVE);
            return Ok(());
        }
        match parse(line) {
            Some((entered, left, vcpu, vmpl, code)) => self.stay(entered, left, vcpu, vmpl, code),
            None => Ok(()),
        }
    }

    fn stay(&mut self, entered: u64, left: u64, vcpu: u32, vmpl: u8, code: u64) -> io::Result<()> {
        self.start.get_or_insert(entered);
        let last = self.last.get(&vcpu).copied();
        let mut call = last.and_then(|last| last.call);
        if let Some(last) = last {
            let name =
                EXITS.iter().find(|(known, _)| *known == last.code).map(|(_, name)| (*name).to_owned());
            let name = name.unwrap_or_else(|| format!("exit {:#x}", last.code));
            self.event(&name, "machine", last.left, entered, vcpu)?;
            match (last.vmpl, vmpl) {
                (1.., 0) => call = Some(entered),
                (0, 1..) => {
                    if let Some(began) = call.take() {
                        self.event("call", "call", began, last.left, vcpu)?;
                    }
                }
                _ => {}
            }
        }
        self.event(&format!("VMPL{vmpl}"), "guest", entered, left, vcpu)?;
        self.last.insert(vcpu, Last { left, vmpl, code, call });
        Ok(())
    }

    fn event(&mut self, name: &str, kind: &str, from: u64, to: u64, vcpu: u32) -> io::Result<()> {
        let start = self.start.unwrap_or(from);
        let microseconds = |ticks: u64| ticks as f64 / self.ticks_per_microsecond;
        let (at, length) = (microseconds(from.saturating_sub(start)), microseconds(to.saturating_sub(from)));
        let event = serde_json::json!({
            "name": name, "cat": kind, "ph": "X", "ts": at, "dur": length, "pid": 1, "tid": vcpu,
        });
        let separator = if self.any { ",\n" } else { "[\n" };
        self.any = true;
        write!(self.out, "{separator}{event}")
    }

    /// Ends the trace.
    pub fn finish(&mut self) -> io::Result<()> {
        let end = if self.any { "\n]\n" } else { "[]\n" };
        self.out.write_all(end.as_bytes())?;
        self.out.flush()
    }
}

fn parse(line: &str) -> Option<(u64, u64, u32, u8, u64)> {
    let mut words = line.split_ascii_whitespace();
    let entered = words.next()?.parse().ok()?;
    let left = words.next()?.parse().ok()?;
    let (vcpu, vmpl) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let code = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    Some((entered, left, vcpu, vmpl, code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_a_slice_around_what_vmpl0_did_for_it() {
        let mut bytes = Vec::new();
        let mut timeline = Timeline::new(&mut bytes);
        for line in [
            "hertz 2000000",
            "1000 1010 0 2 0x81",
            "1020 1030 0 0 0x46",
            "1040 1050 0 0 0x81",
            "nonsense",
            "1060 1070 0 2 0x60",
        ] {
            timeline.line(line).unwrap();
        }
        timeline.finish().unwrap();
        let events: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let events = events.as_array().unwrap();
        let call = events.iter().find(|event| event["name"] == "call").unwrap();
        assert_eq!((call["ts"].as_f64(), call["dur"].as_f64()), (Some(10.0), Some(15.0)));
        let count = |kind| events.iter().filter(|event| event["cat"] == kind).count();
        assert_eq!((count("guest"), count("machine")), (4, 3));
    }

    #[test]
    fn a_trace_without_events_is_one_too() {
        let mut bytes = Vec::new();
        Timeline::new(&mut bytes).finish().unwrap();
        assert_eq!(bytes, b"[]\n");
    }
}
