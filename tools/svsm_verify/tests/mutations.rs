//! Structured mutations of good evidence. A mutant that is accepted must say the same as what it came from, by a rule that
//! shares nothing with the verifier: this file reads reports, quotes and logs itself.

mod synthetic;

use svsm_verify::Evidence;
use synthetic::{Machine, judge, policy, tpm::Log};

/// So many mutants are tried; a failure prints the number that leads to it.
const MUTANTS: u64 = 6000;

/// A small generator, so that the same mutants come each time.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// What evidence says: the signed bytes, the manifest, the key, the quote, the values, and what extended which PCR.
#[derive(Debug, PartialEq)]
struct Said {
    report: Vec<u8>,
    manifest: Vec<u8>,
    ak: Option<Vec<u8>>,
    quote: Option<Vec<u8>>,
    values: Option<Vec<u8>>,
    measured: Option<Vec<(u32, Vec<u8>)>>,
}

fn said(evidence: &Evidence) -> Said {
    Said {
        report: evidence.report.get(..0x2A0).unwrap_or_default().to_vec(),
        manifest: evidence.manifest.clone(),
        ak: evidence.ak_public.clone(),
        quote: evidence.quote_message.clone(),
        values: evidence.pcrs.clone(),
        measured: evidence.event_log.as_deref().and_then(measured),
    }
}

/// PCR and SHA-256 of every event of PCRs 0 to 9 that extends, in order within each PCR; `None` if the log cannot be walked.
fn measured(log: &[u8]) -> Option<Vec<(u32, Vec<u8>)>> {
    let word = |at: usize| Some(u32::from_le_bytes(log.get(at..at + 4)?.try_into().ok()?));
    let mut at = 32 + word(28)? as usize;
    let mut found = Vec::new();
    while at < log.len() {
        let (pcr, kind, digests) = (word(at)?, word(at + 4)?, word(at + 8)?);
        at += 12;
        for _ in 0..digests {
            let bank = u16::from_le_bytes(log.get(at..at + 2)?.try_into().ok()?);
            let size = match bank {
                4 => 20,
                11 => 32,
                12 => 48,
                _ => return None,
            };
            if bank == 11 && kind != 3 && pcr < 10 {
                found.push((pcr, log.get(at + 2..at + 34)?.to_vec()));
            }
            at += 2 + size;
        }
        at += 4 + word(at)? as usize;
    }
    // The order between PCRs is nobody's claim.
    found.sort_by_key(|(pcr, _)| *pcr);
    Some(found)
}

/// The parts that are bytes.
fn parts(evidence: &mut Evidence) -> Vec<&mut Vec<u8>> {
    let Evidence {
        report,
        manifest,
        ek_public,
        ak_public,
        quote_message,
        quote_signature,
        pcrs,
        event_log,
        ..
    } = evidence;
    let optional = [ek_public, ak_public, quote_message, quote_signature, pcrs, event_log];
    [report, manifest].into_iter().chain(optional.into_iter().flatten()).collect()
}

fn mutate_bytes(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let length = bytes.len();
    let at = dice.below(length);
    let span = 1 + dice.below(40).min(length.saturating_sub(at + 1));
    match dice.below(9) {
        0 => bytes.truncate(at),
        1 => bytes.extend(vec![dice.next() as u8; span]),
        2 => drop(bytes.drain(at..(at + span).min(length))),
        3 => {
            let copied = bytes[at..(at + span).min(length)].to_vec();
            bytes.splice(at..at, copied);
        }
        4 => bytes[at..(at + span).min(length)].fill(0),
        5 => bytes[at..(at + span).min(length)].fill(0xFF),
        6 => bytes[at] = bytes[at].wrapping_add(1),
        7 => bytes[at] = dice.next() as u8,
        _ => bytes[at] ^= 1 << dice.below(8),
    }
}

/// Changes the log as a log: events left out, repeated, swapped, moved to another PCR, retyped, with other data.
fn mutate_log(machine: &Machine, dice: &mut Dice) -> Vec<u8> {
    let mut log = machine.log.clone();
    let (one, other) = (dice.below(log.events.len()), dice.below(log.events.len()));
    match dice.below(8) {
        0 => drop(log.events.remove(one)),
        1 => log.events.insert(other, log.events[one].clone()),
        2 => log.events.swap(one, other),
        3 => log.events[one].0 = dice.below(24) as u32,
        4 => log.events[one].1 = dice.next() as u32,
        5 => log.events[one].1 = 3,
        6 => log.events[one].2.push(0),
        _ => log.locality = Some(dice.next() as u8),
    }
    let banks: &[u16] = [&[4, 11, 12][..], &[11], &[11, 12], &[12], &[4]][dice.below(5)];
    if dice.below(3) == 0 { log.bytes_of(banks) } else { log.bytes() }
}

fn mutate(genuine: &Evidence, other: &Evidence, machine: &Machine, dice: &mut Dice) -> Evidence {
    let mut mutant = genuine.clone();
    match dice.below(10) {
        0 => mutant.event_log = Some(mutate_log(machine, dice)),
        1 => {
            let mut other = other.clone();
            let index = dice.below(8);
            let taken = parts(&mut other)[index].clone();
            *parts(&mut mutant)[index] = taken;
        }
        2 => match dice.below(4) {
            0 => drop(mutant.certificates.remove(dice.below(2))),
            1 => mutant.certificates.reverse(),
            2 => mutant.certificates.insert(0, other.certificates[0].clone()),
            _ => mutant.certificates.extend(other.certificates.clone()),
        },
        3 => {
            let (one, two) = (dice.below(8), dice.below(8));
            let taken = parts(&mut mutant)[one].clone();
            *parts(&mut mutant)[two] = taken;
        }
        _ => {
            for _ in 0..=dice.below(3) {
                let index = dice.below(8);
                let part = parts(&mut mutant).swap_remove(index);
                if !part.is_empty() {
                    mutate_bytes(part, dice);
                }
            }
        }
    }
    mutant
}

#[test]
fn an_accepted_mutant_says_what_its_original_says() {
    let machine = Machine::genuine();
    let mut another = Machine {
        endorsement_key: synthetic::tpm::Key::other_endorsement_rsa(),
        attestation_key: synthetic::tpm::Key::foreign_attestation_rsa(),
        log: Log::of_direct_boot("another command line"),
        ..Machine::genuine()
    };
    another.report.report_id = [9; 32];
    let (genuine, other) = (machine.evidence(), another.evidence());
    let (text, root) = (policy(""), machine.root());
    let original = said(&genuine);
    assert!(original.measured.as_ref().is_some_and(|measured| measured.len() == 12));
    let mut accepted = 0;
    for number in 0..MUTANTS {
        let mutant = mutate(&genuine, &other, &machine, &mut Dice(number));
        if judge(&mutant, &text, &root).is_verified() {
            accepted += 1;
            assert_eq!(said(&mutant), original, "mutant {number}");
        }
    }
    // Unsigned things may change: the order of certificates, types and data of events, SHA-1.
    assert!((1..MUTANTS / 4).contains(&accepted), "{accepted} of {MUTANTS} mutants were accepted");
}
