//! The secrets page: what the PSP tells this guest alone, and what an SVSM tells the level below (AMD 56860, table
//! "secrets page"; AMD 58019 for the SVSM's fields).
//!
//! The page holds the keys of the guest's channel to the PSP. It has no `Debug`, and firmware moves VMPCK0 out and
//! wipes it before anything else runs.

use core::mem::offset_of;

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::rmp::{VMPL_COUNT, Vmpl};

/// Bytes of a VM platform communication key.
pub const VMPCK_BYTES: usize = 32;

/// Part of the page that the guest's software may use (0xA0 to 0x100).
#[derive(Clone, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct GuestArea {
    /// Low halves of the message counters, one per VMPCK.
    pub message_counts_low: [u32; VMPL_COUNT],
    /// SEV-ES jump table, unused with SNP.
    pub jump_table_address: u64,
    /// High halves of the message counters (edk2; Linux keeps them zero).
    pub message_counts_high: [u32; VMPL_COUNT],
    reserved_0xc8: [u8; 0x16],
    /// Version of this area.
    pub version: u16,
    /// For the guest.
    pub guest_usage: [u8; 32],
}

/// Where the SVSM is and how to call it (0x140 to 0x160); all zero if there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SvsmArea {
    /// First byte of the SVSM's memory.
    pub base: u64,
    /// Bytes of the SVSM's memory; zero means that there is no SVSM.
    pub size: u64,
    /// Calling area of the boot vCPU, 4 KiB aligned.
    pub calling_area: u64,
    /// Highest SVSM version.
    pub maximum_version: u32,
    /// The level at which the reader runs.
    pub guest_vmpl: u8,
    reserved: [u8; 3],
}

impl SvsmArea {
    /// The fields that an SVSM fills for the level below it.
    #[must_use]
    pub const fn new(
        base: u64,
        size: u64,
        calling_area: u64,
        maximum_version: u32,
        guest_vmpl: Vmpl,
    ) -> Self {
        let guest_vmpl = guest_vmpl.to_wire();
        Self { base, size, calling_area, maximum_version, guest_vmpl, reserved: [0; 3] }
    }
}

/// The page.
#[derive(Clone, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SecretsPage {
    /// Version of the layout.
    pub version: u32,
    /// Bit 0: an initial migration image was used.
    pub flags: u32,
    /// Family, model, stepping as CPUID leaf 1 EAX gives them.
    pub family_model_stepping: u32,
    reserved_0x00c: [u8; 4],
    /// OS-visible workarounds of the processor.
    pub workarounds: [u8; 16],
    /// Keys to the PSP, one per level; a key speaks for its own level and those below.
    pub vmpcks: [[u8; VMPCK_BYTES]; VMPL_COUNT],
    /// For the guest's software.
    pub guest_area: GuestArea,
    /// Which quadwords of the VMSA are tweaked by register protection.
    pub vmsa_tweak_bitmap: [u8; 64],
    /// For the guest of an SVSM.
    pub svsm: SvsmArea,
    /// By how much the TSC is slower than nominal, in 1/100000.
    pub tsc_factor: u32,
    reserved_0x164: [u8; 0xE9C],
}

impl SecretsPage {
    /// The page that a guest at a lower level may read: hardware facts, the keys of that level and below, fresh
    /// counters, and the SVSM's whereabouts. Built from zeros, so that nothing passes that is not named here.
    #[must_use]
    pub fn for_guest(&self, guest: Vmpl, svsm: SvsmArea) -> Self {
        let mut page = Self::new_zeroed();
        page.version = self.version;
        page.flags = self.flags;
        page.family_model_stepping = self.family_model_stepping;
        page.workarounds = self.workarounds;
        page.vmsa_tweak_bitmap = self.vmsa_tweak_bitmap;
        page.tsc_factor = self.tsc_factor;
        page.svsm = svsm;
        let granted = page.vmpcks.iter_mut().zip(&self.vmpcks).skip(guest.index());
        for (copy, key) in granted {
            *copy = *key;
        }
        page
    }

    /// Goes on with the message counters of a guest that ran before, whose page `last` was: the security processor counts on, and
    /// a counter that begins anew would use a nonce twice. Without that page no key is passed on at all.
    pub fn continue_messages(&mut self, last: Option<&GuestArea>) {
        match last {
            Some(last) => {
                self.guest_area.message_counts_low = last.message_counts_low;
                self.guest_area.message_counts_high = last.message_counts_high;
            }
            None => self.vmpcks = [[0; VMPCK_BYTES]; VMPL_COUNT],
        }
    }
}

const _: () = {
    assert!(size_of::<SecretsPage>() == 0x1000);
    assert!(offset_of!(SecretsPage, flags) == 0x004);
    assert!(offset_of!(SecretsPage, family_model_stepping) == 0x008);
    assert!(offset_of!(SecretsPage, workarounds) == 0x010);
    assert!(offset_of!(SecretsPage, vmpcks) == 0x020);
    assert!(offset_of!(SecretsPage, guest_area) == 0x0A0);
    assert!(offset_of!(SecretsPage, vmsa_tweak_bitmap) == 0x100);
    assert!(offset_of!(SecretsPage, svsm) == 0x140);
    assert!(offset_of!(SecretsPage, tsc_factor) == 0x160);
    assert!(offset_of!(GuestArea, jump_table_address) == 0xB0 - 0xA0);
    assert!(offset_of!(GuestArea, message_counts_high) == 0xB8 - 0xA0);
    assert!(offset_of!(GuestArea, version) == 0xDE - 0xA0);
    assert!(offset_of!(GuestArea, guest_usage) == 0xE0 - 0xA0);
    assert!(size_of::<GuestArea>() == 0x60);
    assert!(offset_of!(SvsmArea, size) == 0x148 - 0x140);
    assert!(offset_of!(SvsmArea, calling_area) == 0x150 - 0x140);
    assert!(offset_of!(SvsmArea, maximum_version) == 0x158 - 0x140);
    assert!(offset_of!(SvsmArea, guest_vmpl) == 0x15C - 0x140);
    assert!(size_of::<SvsmArea>() == 0x20);
};

#[cfg(test)]
mod tests {
    use super::*;

    fn page_with_four_keys() -> SecretsPage {
        let mut page = SecretsPage::new_zeroed();
        page.version = 3;
        page.vmpcks = [[0xA0; 32], [0xA1; 32], [0xA2; 32], [0xA3; 32]];
        page.guest_area.message_counts_low = [2, 4, 6, 8];
        page.reserved_0x164[0] = 0xEE;
        page
    }

    #[test]
    fn a_guest_gets_no_key_above_its_level() {
        let svsm = SvsmArea::new(0x0800_0000, 0x0100_0000, 0x0080_F000, 1, Vmpl::Vmpl2);
        let copy = page_with_four_keys().for_guest(Vmpl::Vmpl2, svsm);
        assert_eq!(copy.vmpcks, [[0; 32], [0; 32], [0xA2; 32], [0xA3; 32]]);
        let bytes = copy.as_bytes();
        assert!(!bytes.contains(&0xA0) && !bytes.contains(&0xA1));
    }

    #[test]
    fn a_guest_starts_with_fresh_counters_and_clean_reserved_bytes() {
        let copy = page_with_four_keys().for_guest(Vmpl::Vmpl1, SvsmArea::default());
        assert_eq!(copy.guest_area.message_counts_low, [0; 4]);
        assert_eq!(copy.reserved_0x164, [0; 0xE9C]);
        assert_eq!(copy.version, 3);
    }

    #[test]
    fn a_guest_that_is_started_again_goes_on_counting_or_has_no_keys() {
        let last = page_with_four_keys().guest_area;
        let mut copy = page_with_four_keys().for_guest(Vmpl::Vmpl2, SvsmArea::default());
        copy.continue_messages(Some(&last));
        assert_eq!(copy.guest_area.message_counts_low, [2, 4, 6, 8]);
        assert_eq!(copy.vmpcks[2], [0xA2; 32]);
        copy.continue_messages(None);
        assert_eq!(copy.vmpcks, [[0; 32]; 4]);
    }

    #[test]
    fn linux_and_edk2_find_the_svsm_fields() {
        let svsm = SvsmArea::new(0x0800_0000, 0x0100_0000, 0x0080_F000, 1, Vmpl::Vmpl2);
        let copy = page_with_four_keys().for_guest(Vmpl::Vmpl2, svsm);
        let bytes = copy.as_bytes();
        assert_eq!(bytes[0x140..0x148], 0x0800_0000_u64.to_le_bytes());
        assert_eq!(bytes[0x148..0x150], 0x0100_0000_u64.to_le_bytes());
        assert_eq!(bytes[0x150..0x158], 0x0080_F000_u64.to_le_bytes());
        assert_eq!(bytes[0x158..0x160], [1, 0, 0, 0, 2, 0, 0, 0]);
    }
}
