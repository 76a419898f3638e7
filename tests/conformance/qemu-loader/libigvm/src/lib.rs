//! The `igvm` crate as a static library: its C functions are all that is wanted of it.
pub use igvm::c_api;
