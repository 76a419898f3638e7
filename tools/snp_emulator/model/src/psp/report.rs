//! MSG_REPORT: the attestation report (AMD 56860, "attestation").

use super::Psp;
use alloc::vec::Vec;
use p384::ecdsa::Signature;
use p384::ecdsa::signature::Signer;
use snp_abi::guest_message::{KeySelection, MessageStatus, ReportRequest, ReportResponseHeader};
use snp_abi::policy::GuestPolicy;
use snp_abi::report::{AttestationReport, KeyInformation, REPORT_BYTES, SigningKey};
use snp_abi::rmp::Vmpl;
use snp_abi::signature::{ALGORITHM_ECDSA_P384_SHA384, EcdsaSignature};
use zerocopy::{FromZeros, IntoBytes};

/// Bits of the key selection word.
const KEY_SELECTION: u32 = 0b11;
/// Where the request's reserved bytes start.
const RESERVED: usize = 0x48;
/// The first version with the processor's family and model, and the first with mitigation vectors.
const WITH_PROCESSOR: u32 = 3;
const WITH_MITIGATIONS: u32 = 5;
/// Every mitigation that this firmware knows.
const MITIGATIONS: u64 = 0b11;
/// The id of a migration agent that does not exist.
const NO_MIGRATION_AGENT: [u8; 32] = [0xFF; 32];

impl Psp {
    /// The response's payload.
    pub(super) fn report(&self, key: Vmpl, request: &ReportRequest) -> Vec<u8> {
        match self.check(key, request) {
            Ok(()) => {
                let header = ReportResponseHeader::new(MessageStatus::Success, REPORT_BYTES as u32);
                let mut payload = header.as_bytes().to_vec();
                payload.extend_from_slice(self.signed_report(request).as_bytes());
                payload
            }
            Err(status) => ReportResponseHeader::new(status, 0).as_bytes().to_vec(),
        }
    }

    fn check(&self, key: Vmpl, request: &ReportRequest) -> Result<(), MessageStatus> {
        let level = u8::try_from(request.vmpl).ok().and_then(Vmpl::from_wire);
        let reserved = &request.as_bytes()[RESERVED..];
        let allowed = level.is_some_and(|level| level >= key)
            && request.key_selection & !KEY_SELECTION == 0
            && reserved.iter().all(|byte| *byte == 0);
        if !allowed {
            return Err(MessageStatus::InvalidParameters);
        }
        match (KeySelection::from_wire(request.key_selection), self.setup.endorsement.kind) {
            (Some(KeySelection::Default), _)
            | (Some(KeySelection::Vcek), SigningKey::Vcek)
            | (Some(KeySelection::Vlek), SigningKey::Vlek) => Ok(()),
            _ => Err(MessageStatus::InvalidKeySelection),
        }
    }

    fn signed_report(&self, request: &ReportRequest) -> AttestationReport {
        let mut report = self.unsigned_report(request);
        let signature: Signature = self.setup.endorsement.key.sign(report.signed_bytes());
        let (r, s) = signature.split_bytes();
        report.signature = EcdsaSignature::new(&r.into(), &s.into());
        report
    }

    fn unsigned_report(&self, request: &ReportRequest) -> AttestationReport {
        let (identity, guest, tcb) = (self.setup.model.identity(), &self.guest, self.setup.model.tcb());
        let mut report = AttestationReport::new_zeroed();
        report.version = identity.report_version;
        report.guest_svn = guest.guest_svn;
        report.policy = GuestPolicy(guest.policy);
        report.family_id = guest.family_id;
        report.image_id = guest.image_id;
        report.vmpl = request.vmpl;
        report.signature_algorithm = ALGORITHM_ECDSA_P384_SHA384;
        report.platform_information = identity.platform.bits();
        report.key_information =
            KeyInformation::new(self.setup.endorsement.kind, false, guest.has_author_key);
        report.report_data = request.report_data;
        report.measurement = guest.measurement.0;
        report.host_data = self.setup.host_data;
        report.id_key_digest = guest.id_key_digest.0;
        report.author_key_digest = guest.author_key_digest.0;
        report.report_id = self.secret(b"REPORT_ID", &[]);
        report.report_id_migration_agent = NO_MIGRATION_AGENT;
        report.chip_id = self.setup.chip_id;
        (report.current_tcb, report.reported_tcb, report.committed_tcb, report.launch_tcb) =
            (tcb, tcb, tcb, tcb);
        (report.current_version, report.committed_version) = (identity.firmware, identity.firmware);
        if identity.report_version >= WITH_PROCESSOR {
            (report.cpu_family, report.cpu_model, report.cpu_stepping) = identity.processor;
        }
        if identity.report_version >= WITH_MITIGATIONS {
            (report.launch_mitigations, report.current_mitigations) = (MITIGATIONS, MITIGATIONS);
        }
        report
    }
}
