//! The GHCB MSR protocol: one register carries request and answer (AMD 56421, "GHCB MSR protocol").
//!
//! Bits 11:0 say what the register holds, bits 63:12 carry the data. [`Request`] and [`Response`] cover one
//! direction each; both ends of the wire use the same type. A request with bits that its row does not define is
//! refused, so that a firmware's slip shows on the emulated machine; undefined bits of an answer are ignored,
//! because a later host may give them a meaning.

use super::HypervisorFeatures;
use super::page_state::PageOperation;
use super::termination::Termination;
use crate::address::FRAME_MASK;
use crate::rmp::Vmpl;
use crate::wire_enum::wire_enum;

const INFO_MASK: u64 = 0xFFF;
/// All ones in bits 63:12: "no preference" and "refused".
const NO_ADDRESS: u64 = !INFO_MASK;

/// The codes of bits 11:0.
mod info {
    pub const GHCB_ADDRESS: u64 = 0x000;
    pub const SEV_INFORMATION: u64 = 0x001;
    pub const SEV_INFORMATION_REQUEST: u64 = 0x002;
    pub const CPUID_REQUEST: u64 = 0x004;
    pub const CPUID: u64 = 0x005;
    pub const AP_RESET_HOLD_REQUEST: u64 = 0x006;
    pub const AP_RESET_HOLD: u64 = 0x007;
    pub const PREFERRED_GHCB_REQUEST: u64 = 0x010;
    pub const PREFERRED_GHCB: u64 = 0x011;
    pub const REGISTER_GHCB_REQUEST: u64 = 0x012;
    pub const REGISTER_GHCB: u64 = 0x013;
    pub const PAGE_STATE_CHANGE_REQUEST: u64 = 0x014;
    pub const PAGE_STATE_CHANGE: u64 = 0x015;
    pub const RUN_VMPL_REQUEST: u64 = 0x016;
    pub const RUN_VMPL: u64 = 0x017;
    pub const HYPERVISOR_FEATURES_REQUEST: u64 = 0x080;
    pub const HYPERVISOR_FEATURES: u64 = 0x081;
    pub const TERMINATE: u64 = 0x100;
}

wire_enum! {
    /// Which register of a CPUID result a request asks for.
    pub enum CpuidRegister: u8 {
        /// EAX.
        Eax = 0,
        /// EBX.
        Ebx = 1,
        /// ECX.
        Ecx = 2,
        /// EDX.
        Edx = 3,
    }
}

/// Why a register value is no message of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MalformedMessage {
    /// Bits 11:0 hold no code of this direction; the code is given.
    UnknownCode(u16),
    /// Bits are set that this message does not define.
    ReservedBits,
    /// A field holds a number without meaning.
    InvalidField,
}

/// What the guest writes before VMGEXIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Code 0: no MSR message, the request is in the GHCB page at this address (4 KiB aligned).
    UseGhcb {
        /// Guest-physical address of the page.
        address: u64,
    },
    /// 0x002: protocol versions and C-bit position.
    SevInformation,
    /// 0x004: one register of a CPUID leaf; a sub-leaf cannot be named.
    Cpuid {
        /// The leaf, EAX of the instruction.
        function: u32,
        /// The register wanted.
        register: CpuidRegister,
    },
    /// 0x006: sleep until the start-up IPI.
    ApResetHold,
    /// 0x010: where the host would like the GHCB.
    PreferredGhcb,
    /// 0x012: this page will be the vCPU's GHCB.
    RegisterGhcb {
        /// Guest-physical address of the page.
        address: u64,
    },
    /// 0x014: make one 4 KiB page private or shared.
    PageStateChange {
        /// Guest-physical address of the page, below 2^52.
        address: u64,
        /// Only `Private` and `Shared` exist in this form.
        operation: PageOperation,
    },
    /// 0x016: continue this vCPU at another VMPL.
    RunVmpl {
        /// The level to run.
        vmpl: Vmpl,
    },
    /// 0x080: what can the host do.
    HypervisorFeatures,
    /// 0x100: end the guest.
    Terminate(Termination),
}

impl Request {
    /// The register value. Address bits outside the message's field are dropped: callers pass page addresses.
    #[must_use]
    pub const fn encode(self) -> u64 {
        match self {
            Self::UseGhcb { address } => address & !INFO_MASK | info::GHCB_ADDRESS,
            Self::SevInformation => info::SEV_INFORMATION_REQUEST,
            Self::Cpuid { function, register } => {
                (function as u64) << 32 | (register.to_wire() as u64) << 30 | info::CPUID_REQUEST
            }
            Self::ApResetHold => info::AP_RESET_HOLD_REQUEST,
            Self::PreferredGhcb => info::PREFERRED_GHCB_REQUEST,
            Self::RegisterGhcb { address } => address & !INFO_MASK | info::REGISTER_GHCB_REQUEST,
            Self::PageStateChange { address, operation } => {
                (operation.to_wire() as u64) << 52 | address & FRAME_MASK | info::PAGE_STATE_CHANGE_REQUEST
            }
            Self::RunVmpl { vmpl } => (vmpl.to_wire() as u64) << 32 | info::RUN_VMPL_REQUEST,
            Self::HypervisorFeatures => info::HYPERVISOR_FEATURES_REQUEST,
            Self::Terminate(reason) => reason.to_data() | info::TERMINATE,
        }
    }

    /// Reads a register value that a guest wrote. Every value accepted is the encoding of its result.
    ///
    /// # Errors
    /// [`MalformedMessage`] for an unknown code, undefined bits or a field without meaning.
    pub const fn decode(value: u64) -> Result<Self, MalformedMessage> {
        let (request, defined) = match value & INFO_MASK {
            info::GHCB_ADDRESS => (Self::UseGhcb { address: value & !INFO_MASK }, !INFO_MASK),
            info::SEV_INFORMATION_REQUEST => (Self::SevInformation, 0),
            info::CPUID_REQUEST => {
                let Some(register) = CpuidRegister::from_wire((value >> 30) as u8 & 0b11) else {
                    return Err(MalformedMessage::InvalidField);
                };
                (Self::Cpuid { function: (value >> 32) as u32, register }, 0xFFFF_FFFF_C000_0000)
            }
            info::AP_RESET_HOLD_REQUEST => (Self::ApResetHold, 0),
            info::PREFERRED_GHCB_REQUEST => (Self::PreferredGhcb, 0),
            info::REGISTER_GHCB_REQUEST => (Self::RegisterGhcb { address: value & !INFO_MASK }, !INFO_MASK),
            info::PAGE_STATE_CHANGE_REQUEST => {
                let operation = match PageOperation::from_wire((value >> 52) as u8 & 0xF) {
                    Some(operation @ (PageOperation::Private | PageOperation::Shared)) => operation,
                    _ => return Err(MalformedMessage::InvalidField),
                };
                let address = value & FRAME_MASK;
                (Self::PageStateChange { address, operation }, 0x00FF_FFFF_FFFF_F000)
            }
            info::RUN_VMPL_REQUEST => {
                let Some(vmpl) = Vmpl::from_wire((value >> 32) as u8) else {
                    return Err(MalformedMessage::InvalidField);
                };
                (Self::RunVmpl { vmpl }, 0xFF_0000_0000)
            }
            info::HYPERVISOR_FEATURES_REQUEST => (Self::HypervisorFeatures, 0),
            info::TERMINATE => (Self::Terminate(Termination::from_data(value)), 0x00FF_F000),
            code => return Err(MalformedMessage::UnknownCode(code as u16)),
        };
        if value & !(INFO_MASK | defined) != 0 {
            return Err(MalformedMessage::ReservedBits);
        }
        Ok(request)
    }
}

/// Error of [`Response::RunVmpl`]: the guest at that level asked for a reset, the host has stopped all of its vCPUs, and VMPL0 may start
/// it again. A convention of this firmware and of hosts that want it (kernel/doc/decisions/0020-vmpl0-restarts-the-guest.md): the
/// GHCB specification only says that an error is not 0.
pub const RUN_VMPL_GUEST_RESET: u32 = 0x8000_0001;

/// What the host leaves in the register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Response {
    /// 0x001, also found in the register before any request.
    SevInformation {
        /// Highest GHCB protocol version of the host.
        maximum_version: u16,
        /// Lowest GHCB protocol version of the host.
        minimum_version: u16,
        /// Position of the C-bit in a page table entry. A claim: the CPUID page is the proof.
        c_bit_position: u8,
    },
    /// 0x005: the register's value.
    Cpuid {
        /// Contents of the register.
        value: u32,
        /// The register that the request named.
        register: CpuidRegister,
    },
    /// 0x007: the vCPU left its sleep; zero means that no start-up IPI came.
    ApResetHold {
        /// Whether a start-up IPI released the vCPU.
        released: bool,
    },
    /// 0x011: the host's preferred GHCB page, `None` without a preference.
    PreferredGhcb {
        /// Guest-physical address of the page.
        address: Option<u64>,
    },
    /// 0x013: the page that the host registered, `None` if it refused.
    RegisterGhcb {
        /// Guest-physical address of the page.
        address: Option<u64>,
    },
    /// 0x015: zero, or the host's error.
    PageStateChange {
        /// 0 if the page has its new state.
        error: u32,
    },
    /// 0x017: zero, or the host's error.
    RunVmpl {
        /// 0 if the other level ran; [`RUN_VMPL_GUEST_RESET`] from hosts that know it.
        error: u32,
    },
    /// 0x081: the host's features (52 bits).
    HypervisorFeatures(HypervisorFeatures),
}

impl Response {
    /// The register value; address and feature bits outside the message's field are dropped.
    #[must_use]
    pub const fn encode(self) -> u64 {
        match self {
            Self::SevInformation { maximum_version, minimum_version, c_bit_position } => {
                (maximum_version as u64) << 48
                    | (minimum_version as u64) << 32
                    | (c_bit_position as u64) << 24
                    | info::SEV_INFORMATION
            }
            Self::Cpuid { value, register } => {
                (value as u64) << 32 | (register.to_wire() as u64) << 30 | info::CPUID
            }
            Self::ApResetHold { released } => (released as u64) << 12 | info::AP_RESET_HOLD,
            Self::PreferredGhcb { address } => encode_address(address) | info::PREFERRED_GHCB,
            Self::RegisterGhcb { address } => encode_address(address) | info::REGISTER_GHCB,
            Self::PageStateChange { error } => (error as u64) << 32 | info::PAGE_STATE_CHANGE,
            Self::RunVmpl { error } => (error as u64) << 32 | info::RUN_VMPL,
            Self::HypervisorFeatures(features) => features.bits() << 12 | info::HYPERVISOR_FEATURES,
        }
    }

    /// Reads a register value that the host left. Bits that the answer does not define are ignored.
    ///
    /// # Errors
    /// [`MalformedMessage::UnknownCode`] if the code is none of the host's.
    pub const fn decode(value: u64) -> Result<Self, MalformedMessage> {
        let upper = (value >> 32) as u32;
        Ok(match value & INFO_MASK {
            info::SEV_INFORMATION => Self::SevInformation {
                maximum_version: (value >> 48) as u16,
                minimum_version: (value >> 32) as u16,
                c_bit_position: (value >> 24) as u8,
            },
            info::CPUID => match CpuidRegister::from_wire((value >> 30) as u8 & 0b11) {
                Some(register) => Self::Cpuid { value: upper, register },
                None => return Err(MalformedMessage::InvalidField),
            },
            info::AP_RESET_HOLD => Self::ApResetHold { released: value & !INFO_MASK != 0 },
            info::PREFERRED_GHCB => Self::PreferredGhcb { address: decode_address(value) },
            info::REGISTER_GHCB => Self::RegisterGhcb { address: decode_address(value) },
            info::PAGE_STATE_CHANGE => Self::PageStateChange { error: upper },
            info::RUN_VMPL => Self::RunVmpl { error: upper },
            info::HYPERVISOR_FEATURES => {
                Self::HypervisorFeatures(HypervisorFeatures::from_bits_retain(value >> 12))
            }
            code => return Err(MalformedMessage::UnknownCode(code as u16)),
        })
    }
}

const fn encode_address(address: Option<u64>) -> u64 {
    match address {
        Some(address) => address & !INFO_MASK,
        None => NO_ADDRESS,
    }
}

const fn decode_address(value: u64) -> Option<u64> {
    match value & !INFO_MASK {
        NO_ADDRESS => None,
        address => Some(address),
    }
}
