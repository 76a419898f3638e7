//! The findings as a table for people and as JSON for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{Finding, Verdict, sum};
use crate::hosts::Host;

/// A line for each finding, its remedy below it, and the sum.
#[must_use]
pub fn to_text(host: &Host, findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:<8} {:<18} {}", finding.verdict, finding.subject, finding.reason);
        if !finding.remedy.is_empty() {
            let _ = writeln!(text, "{:<27} {}", "", finding.remedy);
        }
    }
    let outcome = match sum(findings) {
        Verdict::Fits => "launches this image",
        Verdict::Unknown => "may launch this image: not everything about it is documented",
        Verdict::Warns => "launches this image; mind the warnings",
        Verdict::Refused => "does not launch this image",
    };
    let _ = writeln!(text, "{} {outcome}", host.title);
    text
}

/// The same as one object.
#[must_use]
pub fn to_json(host: &Host, findings: &[Finding]) -> Value {
    let rows: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "subject": finding.subject,
                "verdict": finding.verdict.to_string(),
                "reason": finding.reason,
                "remedy": finding.remedy,
            })
        })
        .collect();
    json!({ "host": host.name, "title": host.title, "verdict": sum(findings).to_string(), "findings": rows })
}
