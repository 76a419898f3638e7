//! Calls to be counted, one kind a run: `bench_firmware` (tests/end_to_end) takes the difference to a run without them.

use crate::attest::{Operation, SINGLE_SERVICE, pages};
use crate::boot::Boot;
use crate::ghcb;
use crate::memory::fresh_page;
use crate::svsm::{self, boot_calling_area, call, entry, list_next, pvalidate};
use crate::tpm::{
    GET_MANUFACTURER, NV_DEFINE, create_attestation_key, create_rsa_key, flush_context, nv_write, pcr_extend,
    quote, run_in,
};

/// Null calls of a run, and entries of a PVALIDATE list.
const CALLS: usize = 100;
const ENTRIES: usize = 256;
/// Quotes and reports of a run, and RSA keys: the search for primes is long or short by chance.
const SIGNATURES: usize = 10;
const RSA_KEYS: u8 = 8;
const LARGE: u64 = 2 << 20;
/// Memory that no case uses, for a list of large pages: the machine needs 1 GiB.
const LARGE_PAGES: u64 = 0x1000_0000;

/// Makes the calls that a mode names, and ends the machine.
pub fn run(what: &str, boot: &Boot) -> ! {
    match what {
        "nothing" => {}
        "null-calls" => {
            for _ in 0..CALLS {
                let answer = call(svsm::QUERY_PROTOCOL, 1);
                assert!(answer.served && answer.rax == svsm::SUCCESS, "a null call fails");
            }
        }
        "validate-4k" => validate(&[(); ENTRIES].map(|()| entry(fresh_page(), false, true, false))),
        "validate-2m" => {
            let end = LARGE_PAGES + ENTRIES as u64 * LARGE;
            let is_ram = boot.ram.iter().any(|ram| ram.start <= LARGE_PAGES && end <= ram.end);
            assert!(is_ram, "there is no memory for {ENTRIES} large pages");
            let mut entries = [0; ENTRIES];
            for (index, slot) in entries.iter_mut().enumerate() {
                *slot = entry(LARGE_PAGES + index as u64 * LARGE, true, true, false);
            }
            validate(&entries);
        }
        "tpm-commands" => tpm_commands(&GET_MANUFACTURER),
        "tpm-extends" => tpm_commands(&pcr_extend(16, &[0xab; 32])),
        "tpm-nv-index" => nv_writes(0),
        "tpm-nv-writes" => nv_writes(CALLS),
        "tpm-no-quotes" => quotes(0),
        "tpm-quotes" => quotes(SIGNATURES),
        "tpm-rsa-keys" => rsa_keys(),
        // The first call makes the endorsement key.
        "one-report" => reports(1),
        "reports" => reports(1 + SIGNATURES),
        other => panic!("unknown benchmark {other}"),
    }
    ghcb::exit(0)
}

fn validate(entries: &[u64; ENTRIES]) {
    assert!(pvalidate(entries).rax == svsm::SUCCESS, "the list is refused");
    assert!(usize::from(list_next(boot_calling_area() + 8)) == ENTRIES, "the list is not finished");
}

/// A command that must succeed; the handle behind the header of its response, if there is one.
fn tpm_command(buffer: u64, command: &[u8]) -> [u8; 4] {
    let response = run_in(boot_calling_area(), buffer, command).filter(|response| response.code() == 0);
    let Some(response) = response else { panic!("a TPM command fails") };
    [10, 11, 12, 13].map(|place: usize| response.bytes[place])
}

fn tpm_commands(command: &[u8]) {
    let buffer = pages(1);
    for _ in 0..CALLS {
        tpm_command(buffer, command);
    }
}

/// Writes other contents each time: the same again need not become durable.
fn nv_writes(count: usize) {
    let buffer = pages(1);
    tpm_command(buffer, &NV_DEFINE);
    for number in 0..count {
        tpm_command(buffer, &nv_write(&[number as u8; 64]));
    }
}

fn quotes(count: usize) {
    let buffer = pages(1);
    let key = tpm_command(buffer, create_attestation_key().bytes());
    for _ in 0..count {
        tpm_command(buffer, quote(&key, &[0x5a; 32]).bytes());
    }
}

/// Keys by the endorsement key's template, each with another unique field. They are flushed by a command of their own, which is
/// nothing beside a key.
fn rsa_keys() {
    let buffer = pages(1);
    for number in 0..RSA_KEYS {
        let key = tpm_command(buffer, create_rsa_key(number).bytes());
        tpm_command(buffer, &flush_context(&key));
    }
}

fn reports(count: usize) {
    let operation = Operation::new();
    for _ in 0..count {
        assert!(operation.call(SINGLE_SERVICE).rax == svsm::SUCCESS, "there is no report");
    }
}
