//! The one list of protocols and calls: dispatch, QUERY_PROTOCOL, logging and tests come from it. A row names the type that
//! serves a call, and with it what the call takes from the registers and puts into them.

use crate::attestation::{AllServices, SingleService};
use crate::core_calls::{ConfigureVirtualTom, QueryProtocol, Unsupported};
use crate::guest_call::{CallRow, ProtocolRow};
use crate::pvalidate::Pvalidate;
use crate::svsm::Svsm;
use crate::vcpu_calls::{CreateVcpu, DeleteVcpu, RemapCallingArea};
use crate::vtpm_calls::{self, Command, Query};
use snp_abi::svsm::{AttestationCall, CoreCall, Protocol, VtpmCall, attestation, vtpm};

/// All protocols, in order of their numbers.
pub const PROTOCOLS: &[ProtocolRow] = &[
    ProtocolRow {
        number: Protocol::Core as u32,
        name: "core",
        versions: (1, 1),
        is_offered: always,
        calls: &[
            CallRow::of::<RemapCallingArea>(CoreCall::RemapCallingArea as u32, "REMAP_CA"),
            CallRow::of::<Pvalidate>(CoreCall::Pvalidate as u32, "PVALIDATE"),
            CallRow::of::<CreateVcpu>(CoreCall::CreateVcpu as u32, "CREATE_VCPU"),
            CallRow::of::<DeleteVcpu>(CoreCall::DeleteVcpu as u32, "DELETE_VCPU"),
            // No published text tells how memory changes hands here, and this firmware neither needs nor lends any.
            CallRow::of::<Unsupported>(CoreCall::DepositMemory as u32, "DEPOSIT_MEM"),
            CallRow::of::<Unsupported>(CoreCall::WithdrawMemory as u32, "WITHDRAW_MEM"),
            CallRow::of::<QueryProtocol>(CoreCall::QueryProtocol as u32, "QUERY_PROTOCOL"),
            CallRow::of::<ConfigureVirtualTom>(CoreCall::ConfigureVirtualTom as u32, "CONFIGURE_VTOM"),
        ],
    },
    ProtocolRow {
        number: Protocol::Attestation as u32,
        name: "attestation",
        versions: (attestation::VERSION, attestation::VERSION),
        is_offered: always,
        calls: &[
            CallRow::of::<AllServices>(AttestationCall::AttestServices as u32, "ATTEST_SERVICES"),
            CallRow::of::<SingleService>(
                AttestationCall::AttestSingleService as u32,
                "ATTEST_SINGLE_SERVICE",
            ),
        ],
    },
    ProtocolRow {
        number: Protocol::Vtpm as u32,
        name: "vTPM",
        versions: (vtpm::VERSION, vtpm::VERSION),
        is_offered: vtpm_calls::is_offered,
        calls: &[
            CallRow::of::<Query>(VtpmCall::Query as u32, "VTPM_QUERY"),
            CallRow::of::<Command>(VtpmCall::Command as u32, "VTPM_CMD"),
        ],
    },
];

fn always(_: &Svsm) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_without_doubles() {
        assert!(PROTOCOLS.is_sorted_by(|a, b| a.number < b.number));
        for protocol in PROTOCOLS {
            assert!(protocol.calls.is_sorted_by(|a, b| a.number < b.number), "{}", protocol.name);
            assert!(protocol.versions.0 <= protocol.versions.1);
        }
    }

    fn numbers(protocol: u32) -> Vec<u32> {
        let row = PROTOCOLS.iter().find(|row| row.number == protocol).unwrap();
        row.calls.iter().map(|call| call.number).collect()
    }

    #[test]
    fn every_call_of_each_protocol_has_a_row() {
        assert_eq!(numbers(0), CoreCall::ALL.iter().map(|call| call.to_wire()).collect::<Vec<_>>());
        assert_eq!(numbers(1), AttestationCall::ALL.iter().map(|call| call.to_wire()).collect::<Vec<_>>());
        assert_eq!(numbers(2), VtpmCall::ALL.iter().map(|call| call.to_wire()).collect::<Vec<_>>());
    }

    extern crate std;
    use std::vec::Vec;
}
