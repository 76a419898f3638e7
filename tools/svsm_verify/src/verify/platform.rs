//! Checks on what the processor says about itself, and the claims about it (AMD 56860, "ATTESTATION_REPORT").

use serde_json::{Map, Value, json};
use snp_abi::report::{AttestationReport, FirmwareVersion, SigningKey};
use snp_abi::tcb::TcbVersion;

use super::{Verdict, passed};
use crate::certificates::Endorsed;
use crate::certificates::chain::{Chain, leaf_name};
use crate::policy::{self, MinimumFirmware, Policy};
use crate::reader::hex;
use crate::refusal::Refusal;

/// Ranges that are zero in every report of the version before which the table's row applies (AMD 56860): start, end, version.
const RESERVED: &[(usize, usize, u32)] = &[
    (0x04C, 0x050, u32::MAX),
    (0x188, 0x18B, 3),
    (0x18B, 0x1A0, u32::MAX),
    (0x1EB, 0x1EC, u32::MAX),
    (0x1EF, 0x1F0, u32::MAX),
    (0x1F8, 0x208, 5),
    (0x208, 0x2A0, u32::MAX),
    // Behind the two numbers of the signature.
    (0x330, 0x4A0, u32::MAX),
];
/// Bits of the key information that have a meaning.
const KEY_INFORMATION: u32 = 0b1_1111;

/// Reads a report; what is reserved in its version must be zero, so that nothing in it goes unread.
pub(super) fn parse(bytes: &[u8]) -> Result<AttestationReport, Refusal> {
    let report = AttestationReport::parse(bytes).map_err(Refusal::Report)?;
    let is_dirty = |(start, end, before): &&(usize, usize, u32)| {
        report.version < *before
            && bytes.get(*start..*end).is_none_or(|field| field.iter().any(|byte| *byte != 0))
    };
    if RESERVED.iter().any(|row| is_dirty(&row)) || report.key_information.0 & !KEY_INFORMATION != 0 {
        return Err(Refusal::Reserved("report"));
    }
    Ok(report)
}

/// The four TCB versions by the names that the specification has for them.
pub(super) const fn tcbs(report: &AttestationReport) -> [(&'static str, TcbVersion); 4] {
    [
        ("reported", report.reported_tcb),
        ("launch", report.launch_tcb),
        ("current", report.current_tcb),
        ("committed", report.committed_tcb),
    ]
}

pub(super) fn judge(report: &AttestationReport, policy: &Policy) -> Verdict {
    let rules = &policy.platform;
    let bits = report.platform();
    let unknown = policy::platform::unknown(bits);
    if unknown != 0 && !rules.allow_unknown {
        return Err(Refusal::UnknownPlatform(unknown));
    }
    if let Some((name, must_be_set)) = rules.unmet(bits) {
        return Err(Refusal::Platform(name, must_be_set));
    }
    if report.version < rules.minimum_report_version {
        return Err(Refusal::OldReport(report.version, rules.minimum_report_version));
    }
    versions(report, policy)?;
    for (name, found, wanted) in [
        ("launch", report.launch_mitigations, rules.launch_mitigations),
        ("current", report.current_mitigations, rules.current_mitigations),
    ] {
        if found & wanted != wanted {
            return Err(Refusal::Mitigations(name, found, wanted));
        }
    }
    let set = policy::platform::names(bits).join(", ");
    passed(if set.is_empty() { "no platform bit is set".to_owned() } else { set })
}

fn versions(report: &AttestationReport, policy: &Policy) -> Result<(), Refusal> {
    let rules = &policy.platform;
    let (current, committed) = (number(report.current_version), number(report.committed_version));
    if let Some(minimum) = rules.minimum_firmware
        && let Some(old) = [current, committed].into_iter().find(|version| *version < minimum)
    {
        return Err(Refusal::OldFirmware(old, minimum));
    }
    let is_committed = current == committed && report.current_tcb == report.committed_tcb;
    match rules.require_committed && !is_committed {
        true => Err(Refusal::NotCommitted),
        false => Ok(()),
    }
}

const fn number(version: FirmwareVersion) -> MinimumFirmware {
    MinimumFirmware(version.major, version.minor, version.build)
}

pub(super) fn claims(report: &AttestationReport, chain: &Chain) -> Value {
    let key = report.key_information.signing_key().unwrap_or(SigningKey::None);
    let mut claims = json!({
        "product": format!("{:?}", chain.generation),
        "under_test_root": chain.is_under_test_root,
        "signing_key": leaf_name(key).to_lowercase(),
        "cloud": match &chain.endorsed { Endorsed::Cloud(name) => Value::from(name.as_str()), Endorsed::Chip(_) => Value::Null },
        "chip_id": hex(&report.chip_id),
        "firmware": number(report.current_version).to_string(),
        "committed_firmware": number(report.committed_version).to_string(),
        "platform": policy::platform::names(report.platform()),
        "launch_mitigations": format!("{:#x}", report.launch_mitigations),
        "current_mitigations": format!("{:#x}", report.current_mitigations),
        "report_version": report.version,
        "vmpl": report.vmpl,
        "policy": format!("{:#x}", report.policy.0),
        "launch_digest": hex(&report.measurement),
        "guest_svn": report.guest_svn,
        "family_id": hex(&report.family_id),
        "image_id": hex(&report.image_id),
        "id_key_digest": hex(&report.id_key_digest),
        "author_key_digest": hex(&report.author_key_digest),
        "host_data": hex(&report.host_data),
        "report_id": hex(&report.report_id),
    });
    let all: Map<String, Value> = tcbs(report)
        .into_iter()
        .map(|(name, version)| {
            let parts = version.parts(chain.generation);
            let value = json!({
                "fmc": parts.fmc, "boot_loader": parts.boot_loader, "tee": parts.tee,
                "snp": parts.snp, "microcode": parts.microcode,
            });
            (format!("{name}_tcb"), value)
        })
        .collect();
    if let Some(claims) = claims.as_object_mut() {
        claims.extend(all);
    }
    claims
}
