//! The answer as one static page: each check with its reason, and the event log as a list. No script, nothing from elsewhere.

use std::fmt::Write as _;

use crate::claims::{ClaimsSet, Outcome};
use crate::evidence::Evidence;
use crate::reader::hex;
use crate::vtpm::event_log::{Event, EventLog};
use crate::vtpm::hash::HashAlgorithm;

/// No more letters of an event's data are shown.
const MOST_LETTERS: usize = 200;

const STYLE: &str = "body{font:16px/1.4 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1b1b1b;background:#fff}\
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ccc;padding:.35rem .6rem;text-align:left;vertical-align:top}\
.passed{color:#0a6b2d}.failed{color:#b00020;font-weight:bold}.not_asked{color:#666}\
.verdict{font-size:1.6rem;margin:1rem 0}code{word-break:break-all;font-size:.85rem}";

/// The page.
#[must_use]
pub fn page(answer: &ClaimsSet, evidence: &Evidence) -> String {
    let (class, verdict) = match (answer.is_verified(), answer.is_under_test_root()) {
        (false, _) => ("failed", "REFUSED"),
        (true, true) => ("not_asked", "VERIFIED (TEST ROOT)"),
        (true, false) => ("passed", "VERIFIED"),
    };
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>svsm-verify: {verdict}</title>\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <style>{STYLE}</style></head><body>\n<h1>Evidence of a guest with a vTPM</h1>\n\
         <p class=\"verdict {class}\">{verdict}</p>\n"
    );
    page.push_str("<table><tr><th>Check</th><th>Question</th><th>Outcome</th><th>Reason</th></tr>\n");
    for judged in answer.checks() {
        let (word, why) = judged.outcome.words();
        let shown = match judged.outcome {
            Outcome::Passed(_) => "pass",
            Outcome::Failed(_) => "FAIL",
            Outcome::NotAsked(_) => "not asked",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td class=\"{word}\">{shown}</td><td>{}</td></tr>",
            judged.check.name(),
            escape(judged.check.question()),
            escape(&why),
        );
    }
    page.push_str("</table>\n");
    if let Some(log) = evidence.event_log.as_deref() {
        events(&mut page, log);
    }
    page.push_str("</body></html>\n");
    page
}

fn events(page: &mut String, log: &[u8]) {
    page.push_str("<h2>Event log</h2>\n<p>Digests and their order are proved where the check <code>event_log</code> passed; types and data are what the guest says.</p>\n");
    let log = match EventLog::parse(log) {
        Ok(log) => log,
        Err(error) => {
            let _ =
                writeln!(page, "<p class=\"failed\">It cannot be read: {}</p>", escape(&error.to_string()));
            return;
        }
    };
    page.push_str("<table><tr><th>PCR</th><th>Type</th><th>SHA-256</th><th>Data</th></tr>\n");
    for event in &log.events {
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{:#x}</td><td><code>{}</code></td><td>{}</td></tr>",
            event.pcr,
            event.kind,
            digest(event),
            escape(&data(event)),
        );
    }
    page.push_str("</table>\n");
}

fn digest(event: &Event) -> String {
    let found = event.digests.iter().find(|digest| digest.0 == HashAlgorithm::Sha256);
    found.map_or(String::new(), |digest| hex(&digest.1))
}

/// Text if it is text, else hexadecimal; its beginning.
fn data(event: &Event) -> String {
    let text = std::str::from_utf8(&event.data).ok().map(|text| text.trim_end_matches('\0'));
    let shown = match text {
        Some(text) if text.chars().all(|letter| !letter.is_control()) => text.to_owned(),
        _ => hex(&event.data),
    };
    shown.chars().take(MOST_LETTERS).collect()
}

/// Text in HTML: nothing of it is markup, also where it stands in an attribute.
fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, letter| {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
        escaped
    })
}
