//! Status codes of the PSP's commands, as far as a guest or its host meets them (AMD 56860, "status codes").

use crate::wire_enum::wire_enum;

wire_enum! {
    /// Why the PSP refused a command.
    pub enum PspStatus: u32 {
        /// The command is not allowed in the guest's state.
        InvalidGuestState = 0x02,
        /// A length is wrong.
        InvalidLength = 0x04,
        /// The policy forbids it, or asks for what the platform does not have.
        PolicyFailure = 0x07,
        /// An address is not allowed.
        InvalidAddress = 0x09,
        /// A signature does not verify.
        BadSignature = 0x0A,
        /// The launch digest, or the tag of a message, is not the expected one.
        BadMeasurement = 0x0B,
        /// The platform cannot do this.
        Unsupported = 0x15,
        /// A parameter is not allowed.
        InvalidParameter = 0x16,
        /// A message counter is exhausted.
        AeadOverflow = 0x1D,
        /// A security version is older than allowed.
        BadSvn = 0x21,
        /// The version of a structure is unknown.
        BadVersion = 0x22,
        /// A key selection or key is not valid.
        InvalidKey = 0x27,
    }
}
