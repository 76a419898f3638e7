//! `SW_EXITINFO1` of the AP creation event: which vCPU, which level, when (AMD 56421, "SNP AP creation").

use crate::rmp::Vmpl;
use crate::wire_enum::wire_enum;

wire_enum! {
    /// What the host shall do with the VMSA.
    pub enum ApCreationRequest: u8 {
        /// Use it at the next INIT.
        CreateOnInit = 0,
        /// Use it at once.
        Create = 1,
        /// Stop the vCPU that uses it.
        Destroy = 2,
    }
}

/// `SW_EXITINFO1`; the VMSA's address goes to `SW_EXITINFO2`, its `SEV_FEATURES` to RAX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApCreation {
    /// The vCPU.
    pub apic_id: u32,
    /// The level that the VMSA is for.
    pub vmpl: Vmpl,
    /// What to do.
    pub request: ApCreationRequest,
}

/// A word with an unknown request, level, or reserved bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidApCreation;

impl ApCreation {
    const RESERVED: u64 = 0xFFF0_FFF8;

    /// The information word.
    #[must_use]
    pub const fn encode(self) -> u64 {
        (self.apic_id as u64) << 32 | (self.vmpl.to_wire() as u64) << 16 | self.request.to_wire() as u64
    }

    /// Reads an information word.
    ///
    /// # Errors
    /// If the request or the level does not exist, or a reserved bit is set.
    pub const fn decode(value: u64) -> Result<Self, InvalidApCreation> {
        if value & Self::RESERVED != 0 {
            return Err(InvalidApCreation);
        }
        let (Some(vmpl), Some(request)) =
            (Vmpl::from_wire((value >> 16) as u8 & 0xF), ApCreationRequest::from_wire(value as u8 & 0b111))
        else {
            return Err(InvalidApCreation);
        };
        Ok(Self { apic_id: (value >> 32) as u32, vmpl, request })
    }
}
