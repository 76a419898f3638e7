//! The one list of protocols and calls: dispatch, QUERY_PROTOCOL, logging and tests come from it.

use crate::core_calls;
use crate::failure::Failure;
use crate::pvalidate;
use crate::serve::Request;
use snp_abi::svsm::{CallNumber, CoreCall};

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
    /// The calls, in order of their numbers.
    pub calls: &'static [Call],
}

/// All protocols, in order of their numbers.
pub const PROTOCOLS: &[Protocol] = &[Protocol {
    number: snp_abi::svsm::Protocol::Core as u32,
    name: "core",
    versions: (1, 1),
    calls: &[
        Call {
            number: CoreCall::RemapCallingArea as u32,
            name: "REMAP_CA",
            handler: core_calls::remap_calling_area,
        },
        Call { number: CoreCall::Pvalidate as u32, name: "PVALIDATE", handler: pvalidate::pvalidate },
        Call { number: CoreCall::CreateVcpu as u32, name: "CREATE_VCPU", handler: core_calls::create_vcpu },
        Call { number: CoreCall::DeleteVcpu as u32, name: "DELETE_VCPU", handler: core_calls::delete_vcpu },
        // No published text tells how memory changes hands here, and this firmware neither needs nor lends any.
        Call {
            number: CoreCall::DepositMemory as u32,
            name: "DEPOSIT_MEM",
            handler: core_calls::unsupported,
        },
        Call {
            number: CoreCall::WithdrawMemory as u32,
            name: "WITHDRAW_MEM",
            handler: core_calls::unsupported,
        },
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
    ],
}];

/// The protocol with this number.
pub fn protocol(number: u32) -> Option<&'static Protocol> {
    PROTOCOLS.iter().find(|protocol| protocol.number == number)
}

/// The call with this number.
pub fn call(number: CallNumber) -> Option<&'static Call> {
    protocol(number.protocol)?.calls.iter().find(|call| call.number == number.call)
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

    #[test]
    fn every_call_of_the_core_protocol_has_a_row() {
        let core = protocol(0).unwrap();
        let numbers: Vec<u32> = core.calls.iter().map(|call| call.number).collect();
        let known: Vec<u32> = CoreCall::ALL.iter().map(|call| call.to_wire()).collect();
        assert_eq!(numbers, known);
    }

    extern crate std;
    use std::vec::Vec;
}
