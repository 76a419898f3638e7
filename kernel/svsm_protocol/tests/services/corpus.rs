//! A recorded corpus of calls: seeded sequences whose every answer, and what they leave behind, is held in `corpus.txt`.
//!
//! Where the other tests say what is right, this one says that nothing changed: a rebuild of the services replays it. Each line of
//! the file is a sequence's number and the SHA-256 over all that a guest could see of it. `VOUCHSAFE_RECORD=1` writes the file
//! anew; a commit that does so says which answers differ now, and why. So far:
//!
//! * nonces of 1 to 63 bytes are refused (kernel/doc/decisions/0022-nonces-of-64-bytes.md). With that rule taken back, the rebuilt
//!   services gave the answers of the first record, all 100,000.

use crate::vm::{APIC_IDS, BOOT_AREA, BOOT_VMSA, Call, GRANTED, HOLE, LEDGER_END, MIB, REGION, Vm, context};
use model::Contents;
use sha2::{Digest, Sha256};
use snp_abi::address::{PAGE_BYTES, PAGE_LENGTH};
use snp_abi::ghcb::guest_request::{GuestRequestOutcome, HostError};
use snp_abi::svsm::ResultCode;
use std::fmt::Write;
use svsm_protocol::{GuestAddress, PageState, Vtpm, VtpmError};

const SEQUENCES: u64 = 1000;
const CALLS: u64 = 100;
const RECORD: &str = include_str!("corpus.txt");
const RECORD_PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/services/corpus.txt");

/// SplitMix64: the same numbers for ever, whatever becomes of other generators.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// A TPM whose answers follow from its commands.
struct Echo;

impl Vtpm for Echo {
    fn execute(&self, _: u8, command: &[u8], response: &mut [u8]) -> Result<usize, VtpmError> {
        match command.first() {
            Some(0xBB) => Err(VtpmError::Busy),
            _ => {
                let length = command.len().min(response.len());
                response[..length].copy_from_slice(&command[..length]);
                Ok(length)
            }
        }
    }

    fn endorsement_key(&self) -> Result<Vec<u8>, VtpmError> {
        Ok(vec![0x5e; 314])
    }

    fn reset(&self) -> Result<(), VtpmError> {
        Ok(())
    }
}

/// One sequence: a guest that knows its VMSAs and calling areas.
struct Sequence {
    numbers: Numbers,
    vm: Vm,
    /// vCPU, VMSA, calling area.
    places: Vec<(usize, u64, u64)>,
    seen: Sha256,
}

impl Sequence {
    fn new(seed: u64) -> Self {
        let mut vm = Vm::new();
        if seed % 2 == 1 {
            vm.svsm.vtpm = Some(Box::new(Echo));
        }
        let outcomes = [
            None,
            Some(GuestRequestOutcome::Host(HostError::Busy)),
            Some(GuestRequestOutcome::UnknownHostError(7)),
            Some(GuestRequestOutcome::Answered),
        ];
        vm.lock().outcome = outcomes[(seed / 2 % 4) as usize];
        Self { numbers: Numbers(seed), vm, places: vec![(0, BOOT_VMSA, BOOT_AREA)], seen: Sha256::new() }
    }

    fn page(&mut self) -> u64 {
        let numbers = &mut self.numbers;
        match numbers.below(20) {
            0..8 => GRANTED.start + numbers.below(28) * PAGE_BYTES,
            8..14 => GRANTED.end + numbers.below(8) * PAGE_BYTES,
            14..16 => 2 * MIB * (1 + numbers.below(3)),
            16 => numbers.next(),
            17 => numbers.one_of(&[REGION, BOOT_VMSA, HOLE.start, LEDGER_END, 1 << 52, u64::MAX - 0xfff]),
            _ => {
                let (_, vmsa, area) = numbers.one_of(&self.places);
                numbers.one_of(&[vmsa, area])
            }
        }
    }

    fn entry(&mut self) -> u64 {
        let page = self.page();
        let has = self.vm.svsm.ledger.state(GuestAddress(page & !0xfff)) == PageState::Guest;
        let large = u64::from(page.is_multiple_of(2 * MIB) && page != 0);
        match self.numbers.below(10) {
            0 => page & !0xfff | self.numbers.below(0x1000),
            1 | 2 => page & !0xfff | self.numbers.one_of(&[0, 1, 4, 5, 8, 9, 12, 13]),
            3 => page & !0xfff | u64::from(!has) << 2 | 1 << 3 | large,
            _ => page & !0xfff | u64::from(!has) << 2 | large,
        }
    }

    /// Bytes in the guest's memory, where it has memory there.
    fn write(&mut self, address: u64, bytes: &[u8]) {
        let guests = [PageState::Guest, PageState::CallingArea];
        if guests.contains(&self.vm.svsm.ledger.state(GuestAddress(address))) {
            self.vm.lock().memory.write(address, bytes);
        }
    }

    fn pvalidate(&mut self, area: u64) -> Call {
        let entries: Vec<u64> = (0..self.numbers.below(5)).map(|_| self.entry()).collect();
        let next = if self.numbers.below(10) == 0 { self.numbers.below(4) as u16 } else { 0 };
        let list = if self.numbers.below(8) == 0 { GRANTED.start + 0xff8 } else { area + 8 };
        if list == area + 8 {
            self.vm.write_list(list, &entries, next);
        }
        Call::core(1, list)
    }

    fn create(&mut self) -> Call {
        let (vmsa, area) = (self.page(), self.page());
        let is_guests = self.vm.svsm.ledger.state(GuestAddress(vmsa)) == PageState::Guest;
        if is_guests && vmsa.is_multiple_of(PAGE_BYTES) && self.numbers.below(5) != 0 {
            self.vm.prepare_vmsa(vmsa);
        }
        let apic = self.numbers.one_of(&[0, 1, 1, 2, 2, 7, 7, 3]);
        Call { rax: 2, rcx: vmsa, rdx: area, r8: apic }
    }

    fn attest(&mut self) -> Call {
        let page = self.page() & !0xfff;
        let mut operation = [0u8; 0x60];
        let places = [self.page() & !0xfff, self.page(), self.page() & !0xfff, self.page() & !0xfff];
        for (number, place) in places.iter().enumerate() {
            let at = number * 16;
            operation[at..at + 8].copy_from_slice(&place.to_le_bytes());
            let length = if number == 1 { self.numbers.below(70) } else { self.numbers.below(3) * 0x800 };
            operation[at + 8..at + 12].copy_from_slice(&(length as u32).to_le_bytes());
        }
        operation[0x40..].fill(self.numbers.next() as u8 & 1);
        self.write(page, &operation);
        Call { rax: 1 << 32 | self.numbers.below(3), rcx: page, ..Call::default() }
    }

    fn vtpm(&mut self) -> Call {
        let page = self.page();
        if page % PAGE_BYTES < PAGE_BYTES - 64 {
            let mut command = [0; 64];
            command[0] = self.numbers.one_of(&[8, 8, 8, 8, 3, 70]);
            command[5] = self.numbers.one_of(&[20, 20, 40, 0, 0xff]);
            command[9..].fill(self.numbers.one_of(&[0x80, 0xBB, 0x11]));
            self.write(page, &command);
        }
        Call { rax: 2 << 32 | self.numbers.below(3), rcx: page, ..Call::default() }
    }

    fn call(&mut self, area: u64) -> Call {
        match self.numbers.below(24) {
            0..10 => self.pvalidate(area),
            10..12 => Call::core(0, self.page()),
            12..15 => self.create(),
            15 => Call::core(3, self.page()),
            16 | 17 => Call::core(3, self.numbers.one_of(&self.places).1),
            18 => {
                let query = self.numbers.below(4) << 32 | self.numbers.below(3);
                Call::core(6, query)
            }
            19 => Call::core(7, self.numbers.below(4)),
            20 => self.attest(),
            21 | 22 => self.vtpm(),
            _ => {
                let rax = self.numbers.below(4) << 32 | self.numbers.below(10);
                let (rcx, rdx, r8) = (self.page(), self.numbers.next(), self.numbers.next());
                Call { rax, rcx, rdx, r8 }
            }
        }
    }

    fn step(&mut self) {
        let index = self.numbers.below(self.places.len() as u64) as usize;
        let (vcpu, vmsa, area) = self.places[index];
        let call = self.call(area);
        let answer = self.vm.call_during(vcpu, context(vmsa, area), call, None);
        let answer = answer.expect("nothing that a guest does ends the firmware");
        for word in [answer.result.encode(), answer.rcx, answer.rdx, answer.r8] {
            self.seen.update(word.to_le_bytes());
        }
        if answer.result != ResultCode::Success {
            return;
        }
        match call.rax {
            0 => self.places[index].2 = call.rcx,
            2 => {
                let vcpu = APIC_IDS.iter().position(|id| u64::from(*id) == call.r8).unwrap();
                self.places.push((vcpu, call.rcx, call.rdx));
            }
            3 => self.places.retain(|(_, vmsa, _)| *vmsa != call.rcx),
            _ => {}
        }
    }

    /// Everything that the guest saw, and whose each page is at the end, with what it holds.
    fn finish(mut self) -> String {
        crate::invariants::check(&self.vm);
        let host = self.vm.lock();
        let mut bytes = [0; PAGE_LENGTH];
        for address in (0..LEDGER_END).step_by(PAGE_LENGTH) {
            let state = self.vm.svsm.ledger.state(GuestAddress(address));
            self.seen.update(format!("{state:?}"));
            // The firmware's own pages are nothing that a guest sees, but for its first VMSA.
            if let Some(page) = host.memory.page(address).filter(|page| page.is_written())
                && (state != PageState::Own || address == BOOT_VMSA)
            {
                page.read(&mut bytes);
                self.seen.update(bytes);
            }
        }
        let digest = self.seen.finalize();
        digest.iter().take(16).fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    }
}

fn replay(seed: u64) -> String {
    let mut sequence = Sequence::new(seed);
    (0..CALLS).for_each(|_| sequence.step());
    sequence.finish()
}

#[test]
fn recorded_calls_are_answered_as_they_were() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let mut lines: Vec<(u64, String)> = std::thread::scope(|scope| {
        let part = |first: u64| {
            move || {
                (first..SEQUENCES)
                    .step_by(threads as usize)
                    .map(|seed| (seed, replay(seed)))
                    .collect::<Vec<_>>()
            }
        };
        let workers: Vec<_> = (0..threads).map(|first| scope.spawn(part(first))).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    lines.sort();
    let text: String = lines.iter().map(|(seed, digest)| format!("{seed} {digest}\n")).collect();
    if std::env::var_os("VOUCHSAFE_RECORD").is_some() {
        std::fs::write(RECORD_PATH, &text).unwrap();
        return;
    }
    let different: Vec<&str> =
        text.lines().zip(RECORD.lines()).filter(|(now, then)| now != then).map(|(now, _)| now).collect();
    assert_eq!(text.lines().count(), RECORD.lines().count());
    assert!(different.is_empty(), "sequences with other answers than recorded: {different:?}");
}

/// The corpus is worth something only if its calls reach what there is to reach.
#[test]
fn the_corpus_reaches_every_kind_of_answer() {
    let mut results = std::collections::BTreeMap::<String, u64>::new();
    for seed in 0..16 {
        let mut sequence = Sequence::new(seed);
        for _ in 0..CALLS {
            let area = sequence.places[0].2;
            let vmsa = sequence.places[0].1;
            let call = sequence.call(area);
            let answer = sequence.vm.call_during(0, context(vmsa, area), call, None).unwrap();
            if call.rax == 0 && answer.result == ResultCode::Success {
                sequence.places[0].2 = call.rcx;
            }
            *results.entry(format!("{:?}", answer.result)).or_default() += 1;
        }
    }
    for result in ["Success", "UnsupportedProtocol", "UnsupportedCall", "InvalidAddress", "InvalidParameter"]
    {
        assert!(results.get(result).is_some_and(|count| *count >= 10), "{result}: {results:?}");
    }
    assert!(results.len() >= 8, "{results:?}");
}
