//! The core protocol, but for pages and vCPUs. Source: AMD 58019, chapter 6.

use crate::failure::{Failure, Refusal};
use crate::guest_call::{GuestCall, Operands, Registers, Results, ServedCall, protocol};
use snp_abi::svsm::core_protocol::{CONFIGURE_VIRTUAL_TOM_QUERY, ProtocolQuery, protocol_versions};

/// A call that exists and is not offered.
pub(crate) struct Unsupported;

impl ServedCall for Unsupported {
    type Operands = ();
    type Results = ();

    fn serve(_: &mut GuestCall<'_>, (): (), (): &mut ()) -> Result<(), Failure> {
        Err(Refusal::UnsupportedCall.into())
    }
}

/// QUERY_PROTOCOL: which versions of a protocol are served.
pub(crate) struct QueryProtocol;

/// RCX names a protocol and a version.
impl Operands for ProtocolQuery {
    fn decode(registers: &Registers) -> Result<Self, Refusal> {
        Ok(Self::decode(registers.rcx))
    }
}

/// RCX: the versions served, or 0.
#[derive(Default)]
pub(crate) struct Versions {
    rcx: Option<u64>,
}

impl Results for Versions {
    fn encode(self, registers: &mut Registers) {
        if let Some(rcx) = self.rcx {
            registers.rcx = rcx;
        }
    }
}

impl ServedCall for QueryProtocol {
    type Operands = ProtocolQuery;
    type Results = Versions;

    fn serve(call: &mut GuestCall<'_>, query: ProtocolQuery, versions: &mut Versions) -> Result<(), Failure> {
        let row = protocol(call.protocols, call.svsm, query.protocol);
        let served = row.map(|row| row.versions);
        let served = served.filter(|(least, most)| (*least..=*most).contains(&query.version));
        versions.rcx = Some(protocol_versions(served.map(|(least, most)| (most, least))));
        Ok(())
    }
}

/// CONFIGURE_VTOM: the query says that there is no virtual TOM; setting one is refused.
pub(crate) struct ConfigureVirtualTom;

/// RCX, with the bit that asks for the query.
pub(crate) struct VirtualTom {
    is_query: bool,
}

impl Operands for VirtualTom {
    fn decode(registers: &Registers) -> Result<Self, Refusal> {
        Ok(Self { is_query: registers.rcx & CONFIGURE_VIRTUAL_TOM_QUERY != 0 })
    }
}

impl ServedCall for ConfigureVirtualTom {
    type Operands = VirtualTom;
    type Results = Versions;

    fn serve(_: &mut GuestCall<'_>, operands: VirtualTom, results: &mut Versions) -> Result<(), Failure> {
        if !operands.is_query {
            return Err(Refusal::InvalidRequest.into());
        }
        results.rcx = Some(0);
        Ok(())
    }
}
