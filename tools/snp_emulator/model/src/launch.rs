//! The launch: pages loaded by the host through the security processor, and the digest over what was really loaded.
//!
//! Source: SNP firmware ABI (56860), SNP_LAUNCH_UPDATE; order of pages and VMSAs as KVM does it.

use crate::Contents;
use crate::machine::Machine;
use crate::rmp::{Entry, State};
use snp_abi::address::{PAGE_BYTES, PageSize};

impl Machine {
    /// Marks a page as launched: the guest's, validated, for VMPL0 only; with `vmsa` ready to be run.
    /// Returns whether there is memory.
    pub fn launch_page(&mut self, address: u64, vmsa: bool) -> bool {
        self.rmp.smash(address);
        let Some(entry) = self.rmp.entry_mut(address) else { return false };
        *entry = Entry::assigned(PageSize::Small);
        entry.state.insert(State::VALIDATED);
        entry.state.set(State::VMSA, vmsa);
        true
    }

    /// Reads a page as the security processor sees it.
    pub fn page(&self, address: u64, contents: &dyn Contents) -> [u8; PAGE_BYTES as usize] {
        let mut bytes = [0; PAGE_BYTES as usize];
        contents.read(address, &mut bytes);
        bytes
    }
}
