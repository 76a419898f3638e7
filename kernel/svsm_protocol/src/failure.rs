//! Why a call did not succeed, by blame: the guest's requests are refused with a result code, a broken
//! host or processor ends the firmware.

use snp_abi::rmp::RmpStatus;
use snp_abi::svsm::ResultCode;
use snp_abi::svsm::core_protocol::{PVALIDATE_NO_CHANGE, pvalidate_failure};

/// The guest asked for something that it does not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No such protocol.
    UnsupportedProtocol,
    /// No such call in the protocol.
    UnsupportedCall,
    /// An address is not memory of the guest's, or memory with another role.
    InvalidAddress,
    /// A parameter breaks a rule of its call.
    InvalidParameter,
    /// The request makes no sense now.
    InvalidRequest,
    /// Part of the work is done; the same call goes on.
    Incomplete,
    /// Another vCPU works on the same page; the condition ends by itself.
    Busy,
    /// PVALIDATE: the page already was in that state.
    NoChange,
    /// PVALIDATE: this instruction status.
    Pvalidate(RmpStatus),
}

impl Refusal {
    /// RAX for the guest.
    pub fn result_code(self) -> ResultCode {
        match self {
            Self::UnsupportedProtocol => ResultCode::UnsupportedProtocol,
            Self::UnsupportedCall => ResultCode::UnsupportedCall,
            Self::InvalidAddress => ResultCode::InvalidAddress,
            Self::InvalidParameter => ResultCode::InvalidParameter,
            Self::InvalidRequest => ResultCode::InvalidRequest,
            Self::Incomplete => ResultCode::Incomplete,
            Self::Busy => ResultCode::Busy,
            Self::NoChange => PVALIDATE_NO_CHANGE,
            Self::Pvalidate(status) => pvalidate_failure(status).unwrap_or(ResultCode::InvalidRequest),
        }
    }
}

/// Host or processor broke the contract; the firmware must not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fatal {
    /// PVALIDATE or RMPADJUST gave a status that the state of the page makes impossible.
    RmpStatus(Option<RmpStatus>),
    /// The RMP says that a page was validated before, and the ledger knows that it was not: the host maps
    /// one page of memory at two addresses.
    DoubleMapping,
}

/// Why a call did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The guest gets a result code.
    Refusal(Refusal),
    /// The firmware ends.
    Fatal(Fatal),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<Fatal> for Failure {
    fn from(fatal: Fatal) -> Self {
        Self::Fatal(fatal)
    }
}
