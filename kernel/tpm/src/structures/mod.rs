//! The structures of Part 2, each read with exactly the response codes that the specification gives it.
//!
//! One file for each family. Types that are only bytes (TPM2B_DIGEST and its like) are read by [`Reader::sized`] with a limit
//! from [`limits`]; the others implement [`Unmarshal`] and [`Marshal`].
//!
//! [`Reader::sized`]: crate::wire::Reader::sized
//! [`Unmarshal`]: crate::wire::Unmarshal
//! [`Marshal`]: crate::wire::Marshal

pub mod algorithms;
pub mod attestation;
pub mod attributes;
pub mod buffers;
pub mod capability;
pub mod handles;
pub mod limits;
pub mod nv;
pub mod pcr_selection;
pub mod public;
pub mod schemes;
pub mod sensitive;
pub mod signature;
pub mod tickets;
