//! What the machine answers to values of the GHCB MSR, one a line on stdin: the conformance suite kvm-ghcb compares it with KVM.
//!
//! `msr_answers HOST`: each line of the output is the value of the MSR afterwards, `terminate`, or `end` for what ends the run.
//! The memory is 8 MiB from address 0, and CPUID answers with a number for each register.
#![forbid(unsafe_code)]

use std::io::{BufRead, Write};
use std::process::ExitCode;

use model::host_profiles::Host;
use model::hypervisor::MsrOutcome;
use model::rmp::MemoryRange;
use model::{Configuration, Contents, Machine};
use snp_abi::cpuid::{CpuidQuery, CpuidRegisters};

const MEMORY_BYTES: u64 = 8 << 20;

/// Nobody looks at contents here.
struct Nothing;

impl Contents for Nothing {
    fn scramble(&mut self, _: u64, _: u64) {}

    fn is_scrambled(&self, _: u64) -> bool {
        false
    }

    fn read(&self, _: u64, bytes: &mut [u8]) -> bool {
        bytes.fill(0);
        true
    }

    fn write(&mut self, _: u64, _: &[u8]) -> bool {
        true
    }
}

fn cpuid(_: CpuidQuery) -> CpuidRegisters {
    CpuidRegisters { eax: 0xC0DE_0000, ecx: 0xC0DE_0001, edx: 0xC0DE_0002, ebx: 0xC0DE_0003 }
}

fn machine(host: Host) -> Machine {
    let configuration = Configuration {
        apic_ids: vec![0, 1],
        contract: host.profile().contract,
        memory_is_shared: true,
        large_pages: false,
        claims: false,
    };
    Machine::new(configuration, &[MemoryRange { start: 0, bytes: MEMORY_BYTES }])
}

fn answer(host: Host, value: u64) -> String {
    let mut machine = machine(host);
    machine.vcpus[0].channel().msr = value;
    let outcome = machine.vmgexit(0, cpuid, &mut Nothing);
    match outcome {
        MsrOutcome::Terminated(_) => "terminate".to_owned(),
        MsrOutcome::Malformed | MsrOutcome::Ended(_) => "end".to_owned(),
        _ => format!("{:#x}", machine.vcpus[0].channel().msr),
    }
}

fn main() -> ExitCode {
    let Some(host) = std::env::args().nth(1).and_then(|name| Host::from_name(&name)) else {
        eprintln!("usage: msr_answers HOST <VALUES");
        return ExitCode::from(2);
    };
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let Some(value) = line.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok())
        else {
            eprintln!("msr_answers: {line} is no number in hexadecimal");
            return ExitCode::FAILURE;
        };
        if writeln!(output, "{}", answer(host, value)).is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
