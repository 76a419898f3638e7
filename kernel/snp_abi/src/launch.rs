//! The launch digest: how the PSP chains the pages of a guest into one measurement (AMD 56860, "launch digest" and
//! "PAGE_INFO").

use core::mem::offset_of;

use sha2::{Digest, Sha384};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::address::PAGE_LENGTH;
use crate::wire_enum::wire_enum;

/// Bytes of the digest.
pub const DIGEST_BYTES: usize = 48;

/// The address under which KVM launches every vCPU's VMSA.
pub const KVM_VMSA_ADDRESS: u64 = 0xFFFF_FFFF_F000;

wire_enum! {
    /// What a page is to the PSP.
    pub enum PageType: u8 {
        /// Measured content.
        Normal = 1,
        /// A vCPU's registers, measured.
        Vmsa = 2,
        /// Zeros by the PSP's own hand; only the address is measured.
        Zero = 3,
        /// Content that the host may choose; only the address is measured.
        Unmeasured = 4,
        /// Filled by the PSP with the guest's secrets.
        Secrets = 5,
        /// CPUID table, checked by the PSP.
        Cpuid = 6,
    }
}

impl PageType {
    /// Whether the page's content goes into the digest.
    #[must_use]
    pub const fn is_content_measured(self) -> bool {
        matches!(self, Self::Normal | Self::Vmsa)
    }
}

/// PAGE_INFO: what is hashed for each page.
#[derive(Debug, Clone, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PageInformation {
    /// The digest so far.
    pub current_digest: [u8; DIGEST_BYTES],
    /// SHA-384 of the content, or zeros.
    pub contents: [u8; DIGEST_BYTES],
    /// 0x70.
    pub length: u16,
    /// [`PageType`].
    pub page_type: u8,
    /// Bit 0: page of an initial migration image.
    pub migration_image: u8,
    /// Permissions of VMPL 1 to 3 and a reserved byte. Sources disagree on the order; KVM passes zeros only, and so
    /// does this code.
    pub vmpl_permissions: [u8; 4],
    /// Guest-physical address.
    pub address: u64,
}

/// The digest while pages are added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchDigest([u8; DIGEST_BYTES]);

impl Default for LaunchDigest {
    fn default() -> Self {
        Self::new()
    }
}

impl LaunchDigest {
    /// The digest of a guest without pages: zeros.
    #[must_use]
    pub const fn new() -> Self {
        Self([0; DIGEST_BYTES])
    }

    /// Adds one 4 KiB page; of types whose content is not measured the content is not looked at.
    pub fn add_page(&mut self, page_type: PageType, address: u64, content: &[u8; PAGE_LENGTH]) {
        let contents =
            if page_type.is_content_measured() { Sha384::digest(content).into() } else { [0; DIGEST_BYTES] };
        let information = PageInformation {
            current_digest: self.0,
            contents,
            length: size_of::<PageInformation>() as u16,
            page_type: page_type.to_wire(),
            migration_image: 0,
            vmpl_permissions: [0; 4],
            address,
        };
        self.0 = Sha384::digest(information.as_bytes()).into();
    }

    /// The measurement as it appears in a report.
    #[must_use]
    pub const fn bytes(&self) -> [u8; DIGEST_BYTES] {
        self.0
    }
}

const _: () = {
    assert!(size_of::<PageInformation>() == 0x70);
    assert!(offset_of!(PageInformation, contents) == 0x30);
    assert!(offset_of!(PageInformation, length) == 0x60);
    assert!(offset_of!(PageInformation, page_type) == 0x62);
    assert!(offset_of!(PageInformation, vmpl_permissions) == 0x64);
    assert!(offset_of!(PageInformation, address) == 0x68);
};
