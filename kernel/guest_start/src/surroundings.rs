//! What goes into the start of a guest, and what comes out of it.

use crate::host_files::HostFiles;
use crate::memory::GuestMemory;
use snp_abi::secrets::SecretsPage;
use snp_abi::vmsa::Vmsa;

/// A guest that is ready to run.
#[derive(Debug)]
pub struct ReadyGuest {
    /// Registers of its first vCPU.
    pub vmsa: Vmsa,
    /// Address of the first calling area.
    pub calling_area: u64,
}

/// What the firmware lends for the start of a guest.
pub struct Surroundings<'a> {
    /// The VM, and the guest's memory in it.
    pub memory: GuestMemory<'a>,
    /// The host's files, for a guest that needs them.
    pub files: Option<&'a mut dyn HostFiles>,
    /// Makes the guest's secrets page, which names its first calling area.
    pub secrets: &'a dyn Fn(u64) -> SecretsPage,
}
