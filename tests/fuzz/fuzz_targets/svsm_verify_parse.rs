//! What a relying party is sent: evidence, quotes, public areas, event logs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use svsm_verify::evidence::json;
use svsm_verify::vtpm::event_log::EventLog;
use svsm_verify::vtpm::public_area::PublicArea;
use svsm_verify::vtpm::quote::Quote;
use svsm_verify::{Policy, manifest};

fuzz_target!(|bytes: &[u8]| {
    let _ = json::parse(bytes);
    let _ = Quote::parse(bytes);
    let _ = PublicArea::parse(bytes);
    let _ = PublicArea::parse_sized(bytes);
    let _ = EventLog::parse(bytes);
    let _ = manifest::read(bytes);
    if let Ok(text) = core::str::from_utf8(bytes) {
        let _ = Policy::parse(text);
    }
});
