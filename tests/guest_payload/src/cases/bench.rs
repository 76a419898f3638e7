//! Calls to be counted, one kind a run: `bench_firmware` (tests/end_to_end) takes the difference to a run without them.

use crate::boot::Boot;
use crate::ghcb;
use crate::memory::fresh_page;
use crate::svsm::{self, boot_calling_area, call, entry, list_next, pvalidate};

/// Null calls of a run, and entries of a PVALIDATE list.
const CALLS: usize = 100;
const ENTRIES: usize = 256;
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
        other => panic!("unknown benchmark {other}"),
    }
    ghcb::exit(0)
}

fn validate(entries: &[u64; ENTRIES]) {
    assert!(pvalidate(entries).rax == svsm::SUCCESS, "the list is refused");
    assert!(usize::from(list_next(boot_calling_area() + 8)) == ENTRIES, "the list is not finished");
}
