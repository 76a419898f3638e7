//! Numbers and layouts that an SVSM and its guest share (AMD 58019): protocols, calls, result codes, calling area.
//!
//! [`core_protocol`] and [`attestation`] hold the structures of their calls, [`vtpm`] the TPM command framing.

pub mod attestation;
pub mod core_protocol;
pub mod vtpm;

use crate::wire_enum::wire_enum;

wire_enum! {
    /// Protocols, RAX bits 63:32.
    pub enum Protocol: u32 {
        /// Memory, vCPUs, queries; mandatory.
        Core = 0,
        /// Attestation of the services.
        Attestation = 1,
        /// The vTPM.
        Vtpm = 2,
        /// APIC emulation (draft).
        Apic = 3,
        /// UEFI variable service (draft 1.01).
        UefiManagementMode = 4,
    }
}

wire_enum! {
    /// Calls of [`Protocol::Core`].
    pub enum CoreCall: u32 {
        /// Move the calling area.
        RemapCallingArea = 0,
        /// Validate or rescind pages.
        Pvalidate = 1,
        /// Make a page a VMSA.
        CreateVcpu = 2,
        /// Make a VMSA an ordinary page.
        DeleteVcpu = 3,
        /// Give memory to the SVSM.
        DepositMemory = 4,
        /// Take memory back.
        WithdrawMemory = 5,
        /// Is a protocol version there.
        QueryProtocol = 6,
        /// Virtual top of memory.
        ConfigureVirtualTom = 7,
    }
}

wire_enum! {
    /// Calls of [`Protocol::Attestation`].
    pub enum AttestationCall: u32 {
        /// Report over the manifest of all services.
        AttestServices = 0,
        /// Report over one service's manifest.
        AttestSingleService = 1,
    }
}

wire_enum! {
    /// Calls of [`Protocol::Vtpm`].
    pub enum VtpmCall: u32 {
        /// Which platform commands exist.
        Query = 0,
        /// Run one.
        Command = 1,
    }
}

/// RAX of a call: protocol above, call below. The numbers need not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallNumber {
    /// Bits 63:32.
    pub protocol: u32,
    /// Bits 31:0.
    pub call: u32,
}

impl CallNumber {
    /// RAX.
    #[must_use]
    pub const fn encode(self) -> u64 {
        (self.protocol as u64) << 32 | self.call as u64
    }

    /// From RAX.
    #[must_use]
    pub const fn decode(rax: u64) -> Self {
        Self { protocol: (rax >> 32) as u32, call: rax as u32 }
    }
}

/// Result of a call, RAX on return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultCode {
    /// Done.
    Success,
    /// Call again with the same arguments.
    Incomplete,
    /// The protocol does not exist.
    UnsupportedProtocol,
    /// The call does not exist.
    UnsupportedCall,
    /// An address is invalid or not the caller's.
    InvalidAddress,
    /// A structure is malformed.
    InvalidFormat,
    /// An argument is invalid.
    InvalidParameter,
    /// The call is not possible in this state.
    InvalidRequest,
    /// Call again later; the caller loops, so the condition must clear by itself.
    Busy,
    /// A code of the protocol's own.
    ProtocolSpecific(u16),
}

/// First of the protocol-specific codes.
const PROTOCOL_SPECIFIC: u64 = 0x8000_1000;

impl ResultCode {
    /// All codes that every protocol knows.
    const GENERAL: [Self; 9] = [
        Self::Success,
        Self::Incomplete,
        Self::UnsupportedProtocol,
        Self::UnsupportedCall,
        Self::InvalidAddress,
        Self::InvalidFormat,
        Self::InvalidParameter,
        Self::InvalidRequest,
        Self::Busy,
    ];

    /// RAX.
    #[must_use]
    pub const fn encode(self) -> u64 {
        match self {
            Self::Success => 0,
            Self::Incomplete => 0x8000_0000,
            Self::UnsupportedProtocol => 0x8000_0001,
            Self::UnsupportedCall => 0x8000_0002,
            Self::InvalidAddress => 0x8000_0003,
            Self::InvalidFormat => 0x8000_0004,
            Self::InvalidParameter => 0x8000_0005,
            Self::InvalidRequest => 0x8000_0006,
            Self::Busy => 0x8000_0007,
            Self::ProtocolSpecific(code) => PROTOCOL_SPECIFIC.saturating_add(code as u64),
        }
    }

    /// From RAX, `None` for a number that is no result code.
    #[must_use]
    pub fn decode(rax: u64) -> Option<Self> {
        let general = Self::GENERAL.into_iter().find(|code| code.encode() == rax);
        general
            .or_else(|| u16::try_from(rax.checked_sub(PROTOCOL_SPECIFIC)?).ok().map(Self::ProtocolSpecific))
    }
}

/// Offset of `SVSM_CALL_PENDING`, one byte: 1 while the caller waits for service.
pub const CALL_PENDING_OFFSET: usize = 0;
/// Offset of `SVSM_MEM_AVAILABLE`, one byte.
pub const MEMORY_AVAILABLE_OFFSET: usize = 1;
/// Offset of the calling area's free space.
pub const CALLING_AREA_BUFFER_OFFSET: usize = 8;
/// Bytes of the calling area's free space.
pub const CALLING_AREA_BUFFER_BYTES: usize = 0x1000 - CALLING_AREA_BUFFER_OFFSET;
