//! A guest behind UEFI firmware: OVMF finds the TPM, measures what it starts, and its log comes to Linux as on any PC.

use crate::Place;
use crate::guest::Image;
use crate::relying_party::{RelyingParty, random};
use crate::steps;
use crate::tampering::{Judged, refusal, verified};
use guests::fetched::Missing;

const VERIFIED: &str = "evidence_of_a_guest_behind_ovmf_is_verified";

/// Verifies such a guest, and refuses its log once an event is missing.
pub fn judge(place: &Place, command_line: &str, judged: &mut Judged) -> Result<(), String> {
    let firmware = match place.guests.firmware() {
        Ok(firmware) => firmware,
        Err(Missing::Unavailable(reason)) => {
            judged.skip(VERIFIED, &reason);
            return Ok(());
        }
        Err(Missing::Broken(reason)) => return Err(reason),
    };
    let image = Image::through(place, &firmware, "uefi", command_line)?;
    let party = RelyingParty::new(place, &image).behind_uefi();
    let (evidence, nonce) = (place.folder.join("uefi"), random());
    let mut guest = image.start(place)?;
    steps::collect(&mut guest, &evidence, &nonce)?;
    steps::prove(&mut guest, &evidence, &party)?;
    guest.finish()?;
    judged.record(VERIFIED, verified(&party.judge(&evidence, &nonce)?));
    let log = evidence.join("eventlog.bin");
    let mut bytes = std::fs::read(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let second = second_event(&bytes).ok_or("the log has no second event")?;
    bytes.drain(second);
    std::fs::write(&log, bytes).map_err(|error| format!("{}: {error}", log.display()))?;
    let answer = party.judge(&evidence, &nonce)?;
    judged.record("ovmfs_log_without_its_first_measurement_is_refused", refusal(&answer, "event_log", ""));
    Ok(())
}

/// Where the first event that was measured stands. Before it is a record in the old form: PCR, type, SHA-1, length, data. It has PCR,
/// type, number of digests, each with its algorithm (SHA-256 or SHA-384), length, data.
fn second_event(log: &[u8]) -> Option<std::ops::Range<usize>> {
    let word = |at: usize| Some(u32::from_le_bytes(*log.get(at..)?.first_chunk()?) as usize);
    let start = 32 + word(28)?;
    let mut end = start + 12;
    for _ in 0..word(start + 8)? {
        end += match log.get(end..end + 2)? {
            [0x0b, 0] => 2 + 32,
            [0x0c, 0] => 2 + 48,
            _ => return None,
        };
    }
    Some(start..end + 4 + word(end)?)
}

#[cfg(test)]
mod tests {
    use super::second_event;

    #[test]
    fn the_first_measured_event_is_found() {
        let mut log = vec![0; 32];
        log[28] = 5;
        log.extend([0; 5]);
        log.extend([0, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0x0b, 0]);
        log.extend([7; 32]);
        log.extend([2, 0, 0, 0, 1, 1, 9]);
        assert_eq!(second_event(&log), Some(37..37 + 12 + 34 + 4 + 2));
        assert_eq!(second_event(&log[..60]), None);
        assert_eq!(second_event(&[]), None);
    }
}
