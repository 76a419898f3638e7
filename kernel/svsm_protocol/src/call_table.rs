//! The one list of protocols and calls: dispatch, QUERY_PROTOCOL, logging and tests come from it.

use crate::attestation;
use crate::core_calls;
use crate::failure::Failure;
use crate::pvalidate;
use crate::serve::{Request, Svsm};
use crate::vtpm;
use snp_abi::svsm::{AttestationCall, CoreCall, VtpmCall};

/// One call of a protocol.
pub struct Call {
    /// Number in RAX bits 31:0.
    pub number: u32,
    /// Its name in the specification.
    pub name: &'static str,
    /// What carries it out.
    pub(crate) handler: fn(&mut Request<'_>) -> Result<(), Failure>,
}

/// One protocol.
pub struct Protocol {
    /// Number in RAX bits 63:32.
    pub number: u32,
    /// Its name.
    pub name: &'static str,
    /// Lowest and highest version that is served.
    pub versions: (u32, u32),
    /// Whether this VM has it.
    pub(crate) is_offered: fn(&Svsm) -> bool,
    /// The calls, in order of their numbers.
    pub calls: &'static [Call],
}

impl Protocol {
    /// The call with this number.
    pub(crate) fn call(&self, number: u32) -> Option<&'static Call> {
        self.calls.iter().find(|call| call.number == number)
    }
}

/// All protocols, in order of their numbers.
pub const PROTOCOLS: &[Protocol] = &[
    Protocol {
        number: snp_abi::svsm::Protocol::Core as u32,
        name: "core",
        versions: (1, 1),
        is_offered: always,
        calls: CORE,
    },
    Protocol {
        number: snp_abi::svsm::Protocol::Attestation as u32,
        name: "attestation",
        versions: (snp_abi::svsm::attestation::VERSION, snp_abi::svsm::attestation::VERSION),
        is_offered: always,
        calls: &[
            Call {
                number: AttestationCall::AttestServices as u32,
                name: "ATTEST_SERVICES",
                handler: attestation::attest_services,
            },
            Call {
                number: AttestationCall::AttestSingleService as u32,
                name: "ATTEST_SINGLE_SERVICE",
                handler: attestation::attest_single_service,
            },
        ],
    },
    Protocol {
        number: snp_abi::svsm::Protocol::Vtpm as u32,
        name: "vTPM",
        versions: (snp_abi::svsm::vtpm::VERSION, snp_abi::svsm::vtpm::VERSION),
        is_offered: vtpm::is_offered,
        calls: &[
            Call { number: VtpmCall::Query as u32, name: "VTPM_QUERY", handler: vtpm::query },
            Call { number: VtpmCall::Command as u32, name: "VTPM_CMD", handler: vtpm::command },
        ],
    },
];

/// The calls of the core protocol.
const CORE: &[Call] = &[
    Call {
        number: CoreCall::RemapCallingArea as u32,
        name: "REMAP_CA",
        handler: core_calls::remap_calling_area,
    },
    Call { number: CoreCall::Pvalidate as u32, name: "PVALIDATE", handler: pvalidate::pvalidate },
    Call { number: CoreCall::CreateVcpu as u32, name: "CREATE_VCPU", handler: core_calls::create_vcpu },
    Call { number: CoreCall::DeleteVcpu as u32, name: "DELETE_VCPU", handler: core_calls::delete_vcpu },
    // No published text tells how memory changes hands here, and this firmware neither needs nor lends any.
    Call { number: CoreCall::DepositMemory as u32, name: "DEPOSIT_MEM", handler: core_calls::unsupported },
    Call { number: CoreCall::WithdrawMemory as u32, name: "WITHDRAW_MEM", handler: core_calls::unsupported },
    Call {
        number: CoreCall::QueryProtocol as u32,
        name: "QUERY_PROTOCOL",
        handler: core_calls::query_protocol,
    },
    Call {
        number: CoreCall::ConfigureVirtualTom as u32,
        name: "CONFIGURE_VTOM",
        handler: core_calls::configure_virtual_tom,
    },
];

fn always(_: &Svsm) -> bool {
    true
}

/// The protocol with this number, if this VM has it.
pub(crate) fn protocol(svsm: &Svsm, number: u32) -> Option<&'static Protocol> {
    PROTOCOLS.iter().find(|protocol| protocol.number == number && (protocol.is_offered)(svsm))
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
