//! Memory accesses that the nested page tables did not resolve. Source: AMD APM volume 2, 15.36.10.

use crate::Contents;
use crate::machine::{Actor, Changed, Machine};
use crate::rmp::{Entry, State};
use crate::violation::Fault;
use snp_abi::address::{LARGE_PAGE_BYTES, PAGE_BYTES, PAGES_IN_LARGE_PAGE, PageSize};
use snp_abi::rmp::{Permissions, Vmpl};

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Data read.
    Read,
    /// Data write.
    Write,
    /// Instruction fetch.
    Fetch,
    /// Read or update of a page table entry by the processor.
    Walk,
}

/// One access.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// Guest-physical address, without the C-bit.
    pub address: u64,
    /// The C-bit of the mapping.
    pub c_bit: bool,
    /// The vCPU runs without paging, so that everything is private.
    pub unpaged: bool,
    /// What the access does.
    pub kind: Kind,
    /// The vCPU runs at CPL 3.
    pub user: bool,
}

/// A set of the 512 pages of 2 MiB.
pub struct Alike([u64; 8]);

impl Alike {
    /// Whether page number `page` is in the set.
    pub fn contains(&self, page: u64) -> bool {
        self.0.get((page / 64) as usize).is_some_and(|word| word >> (page % 64) & 1 != 0)
    }
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Allowed: map the page like this and try again.
    Map {
        /// First byte of the page.
        address: u64,
        /// Size of the mapping.
        size: PageSize,
        /// Writes are allowed.
        write: bool,
        /// Fetches are allowed.
        execute: bool,
        /// Mappings of the page to remove first.
        changed: Option<Changed>,
    },
    /// A read of ciphertext: map something meaningless, read-only.
    Ciphertext,
    /// #VC with code 0x404; mappings to remove first.
    NotValidated(Option<Changed>),
    /// No memory there: #VC with code 0x400, for the guest to ask the host for MMIO.
    Device,
    /// Hardware leaves the guest for good here; it was reported.
    Denied,
}

impl Machine {
    /// Decides about an access.
    pub fn access(&mut self, actor: Actor, access: Access, contents: &mut dyn Contents) -> Verdict {
        let always_private = access.unpaged || matches!(access.kind, Kind::Fetch | Kind::Walk);
        let Some(entry) = self.rmp.entry(access.address).copied() else {
            if access.c_bit && !access.unpaged {
                self.report(actor, Fault::PrivateDevice { address: access.address });
                return Verdict::Denied;
            }
            return Verdict::Device;
        };
        if access.c_bit || always_private {
            self.private_access(actor, access, entry)
        } else {
            self.shared_access(actor, access, entry, contents)
        }
    }

    fn private_access(&mut self, actor: Actor, access: Access, entry: Entry) -> Verdict {
        let address = access.address;
        if !entry.is(State::ASSIGNED) {
            self.assign_for_access(address);
            let page = address & !(PAGE_BYTES - 1);
            return Verdict::NotValidated(Some(Changed { address: page, size: PageSize::Small }));
        }
        if self.stale.held_by(address, actor.vcpu, actor.vmpl) {
            self.report(actor, Fault::StaleTranslation { address });
        }
        if !entry.is(State::VALIDATED) {
            return Verdict::NotValidated(None);
        }
        let had = entry.permissions(actor.vmpl);
        let needed = needed_permissions(access);
        if !had.contains(needed) {
            let fault = Fault::VmplPermission { address, needed: needed.bits(), had: had.bits() };
            self.report(actor, fault);
            return Verdict::Denied;
        }
        self.map_private(actor, address, had)
    }

    fn map_private(&mut self, actor: Actor, address: u64, had: Permissions) -> Verdict {
        let size = if self.uniform(address) { PageSize::Large } else { PageSize::Small };
        let address = address & !(size.bytes() - 1);
        for entry in self.rmp.pages_mut(address, size).into_iter().flatten() {
            entry.mapped |= 1 << actor.vmpl.index();
        }
        Verdict::Map {
            address,
            size,
            write: had.contains(Permissions::WRITE),
            execute: had.intersects(Permissions::USER_EXECUTE | Permissions::SUPERVISOR_EXECUTE),
            changed: None,
        }
    }

    fn shared_access(
        &mut self,
        actor: Actor,
        access: Access,
        entry: Entry,
        contents: &mut dyn Contents,
    ) -> Verdict {
        let address = access.address;
        let mut changed = None;
        if entry.is(State::ASSIGNED | State::VALIDATED) {
            if access.kind == Kind::Read {
                return Verdict::Ciphertext;
            }
            self.report(actor, Fault::SharedWriteToPrivate { address });
            return Verdict::Denied;
        }
        if entry.is(State::ASSIGNED) {
            changed = self.share_for_access(address, contents);
        }
        let shared = |page: &Entry| !page.is(State::ASSIGNED);
        let large = address & !(LARGE_PAGE_BYTES - 1);
        let whole = self.rmp.large(large).is_some_and(|entries| entries.iter().all(shared));
        let size = if whole { PageSize::Large } else { PageSize::Small };
        Verdict::Map { address: address & !(size.bytes() - 1), size, write: true, execute: false, changed }
    }

    /// The pages of the 2 MiB around an address that are in the same state as its page, so that a mapping of the one is
    /// right for the others: the shell may map them together. Private ones count as mapped from here on.
    pub fn alike(&mut self, address: u64, vmpl: Vmpl) -> Alike {
        let mut alike = Alike([0; 8]);
        let Some(wanted) = self.rmp.entry(address).copied() else { return alike };
        let first = address & !(LARGE_PAGE_BYTES - 1);
        let is_any_stale = self.stale.first_in(first, LARGE_PAGE_BYTES).is_some();
        for number in 0..PAGES_IN_LARGE_PAGE {
            let page = first + number * PAGE_BYTES;
            let itself = page == address & !(PAGE_BYTES - 1);
            // An access to a page with old translations must be seen.
            if !itself && is_any_stale && self.stale.first_in(page, PAGE_BYTES).is_some() {
                continue;
            }
            let Some(entry) = self.rmp.entry_mut(page).filter(|entry| itself || entry.same_rights(&wanted))
            else {
                continue;
            };
            if entry.is(State::ASSIGNED) {
                entry.mapped |= 1 << vmpl.index();
            }
            alike.0[(number / 64) as usize] |= 1 << (number % 64);
        }
        alike
    }

    /// Whether software at `vmpl` may read (and with `write` also write) the private page at `address` now:
    /// for accesses that the machine makes on behalf of the processor, such as the frame of an exception.
    pub fn allows(&self, actor: Actor, address: u64, write: bool) -> bool {
        let needed = if write { Permissions::READ | Permissions::WRITE } else { Permissions::READ };
        self.rmp.entry(address).is_some_and(|entry| {
            entry.is(State::ASSIGNED | State::VALIDATED) && entry.permissions(actor.vmpl).contains(needed)
        })
    }

    /// Whether the host, and a device, can access `bytes` from `address`: shared memory only.
    pub fn host_may_access(&self, address: u64, bytes: u64) -> bool {
        let last = address.saturating_add(bytes.max(1) - 1);
        (address & !(PAGE_BYTES - 1)..=last)
            .step_by(PAGE_BYTES as usize)
            .all(|page| self.rmp.entry(page).is_some_and(|entry| !entry.is(State::ASSIGNED)))
    }
}

fn needed_permissions(access: Access) -> Permissions {
    match access.kind {
        Kind::Read | Kind::Walk => Permissions::READ,
        Kind::Write => Permissions::READ | Permissions::WRITE,
        Kind::Fetch if access.user => Permissions::USER_EXECUTE,
        Kind::Fetch => Permissions::SUPERVISOR_EXECUTE,
    }
}
