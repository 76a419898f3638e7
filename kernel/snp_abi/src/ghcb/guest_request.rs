//! The host's answer to a guest request: `SW_EXITINFO2` and the number of data pages (AMD 56421, "SNP guest
//! request"). The messages themselves are in [`crate::guest_message`], the certificates in [`crate::certificates`].

use crate::wire_enum::wire_enum;

wire_enum! {
    /// The host's own error, bits 63:32.
    pub enum HostError: u32 {
        /// The data pages do not hold the certificates; RBX says how many are needed. The PSP was not asked.
        BufferTooSmall = 1,
        /// Not now: send the identical message again. The PSP was not asked.
        Busy = 2,
    }
}

/// `SW_EXITINFO2` of a guest request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestRequestOutcome {
    /// The response page holds the PSP's answer.
    Answered,
    /// The host did not pass the message on.
    Host(HostError),
    /// The host reports an error number without a meaning.
    UnknownHostError(u32),
    /// The PSP refused the message with this status.
    Firmware(u32),
}

impl GuestRequestOutcome {
    /// The information word.
    #[must_use]
    pub const fn encode(self) -> u64 {
        match self {
            Self::Answered => 0,
            Self::Host(error) => (error.to_wire() as u64) << 32,
            Self::UnknownHostError(number) => (number as u64) << 32,
            Self::Firmware(status) => status as u64,
        }
    }

    /// Reads the information word; the host's error is looked at first, because then the PSP was not asked.
    #[must_use]
    pub const fn decode(information: u64) -> Self {
        let (host, firmware) = ((information >> 32) as u32, information as u32);
        match (host, HostError::from_wire(host)) {
            (0, _) if firmware == 0 => Self::Answered,
            (0, _) => Self::Firmware(firmware),
            (_, Some(error)) => Self::Host(error),
            (number, None) => Self::UnknownHostError(number),
        }
    }
}
