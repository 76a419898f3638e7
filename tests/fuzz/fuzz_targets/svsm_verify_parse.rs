//! What a relying party is sent: evidence, quotes, public areas, event logs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use svsm_verify::evidence::json;
use svsm_verify::vtpm::event_log::EventLog;
use svsm_verify::vtpm::public_area::PublicArea;
use svsm_verify::vtpm::quote::Quote;
use svsm_verify::{Evidence, Nonce, Policy, Question, manifest, verify};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(evidence) = json::parse(bytes) {
        judge(&evidence);
    }
    let _ = Quote::parse(bytes);
    let _ = PublicArea::parse(bytes);
    let _ = PublicArea::parse_sized(bytes);
    let _ = EventLog::parse(bytes);
    let _ = manifest::read(bytes);
    if let Ok(text) = core::str::from_utf8(bytes) {
        let _ = Policy::parse(text);
    }
});

/// Nothing that a fuzzer writes is signed by AMD: whatever it is, the whole of it is judged, and it is refused.
fn judge(evidence: &Evidence) {
    let policy = Policy::parse("version = 1").unwrap();
    let question = Question::new(Nonce::new([7; 64]), Duration::from_secs(1_790_000_000));
    assert!(!verify(evidence, &policy, &question).is_verified());
}
