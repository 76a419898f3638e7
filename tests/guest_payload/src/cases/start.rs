//! What the firmware gave this guest to start with.

use crate::boot::{Boot, read_u32};
use crate::check::{Check, expect_eq};
use crate::exception::{self, Caught};
use crate::memory::{self, read};
use crate::raw;

const SECRETS_KEYS: u64 = 0x20;
const KEY_BYTES: u64 = 32;
const FAIL_PERMISSION: u64 = 2;

pub fn secrets_page_names_the_svsm(boot: &Boot) -> Check {
    expect_eq!(boot.vmpl, 2, "guest VMPL");
    expect_eq!(boot.svsm_version, 1, "highest SVSM version");
    expect_eq!(boot.svsm_size >= 0x20_0000, true, "SVSM size {:#x}", boot.svsm_size);
    expect_eq!(boot.calling_area & 0xfff, 0, "alignment of the calling area");
    let inside = boot.calling_area >= boot.svsm_base && boot.calling_area < boot.svsm_base + boot.svsm_size;
    expect_eq!(inside, false, "calling area {:#x} inside the SVSM", boot.calling_area);
    Ok(())
}

fn key_is_zero(boot: &Boot, level: u64) -> bool {
    let start = boot.secrets + SECRETS_KEYS + level * KEY_BYTES;
    (start..start + KEY_BYTES).step_by(8).all(|address| read(address) == 0)
}

pub fn secrets_page_lacks_the_key_of_vmpl0(boot: &Boot) -> Check {
    expect_eq!(key_is_zero(boot, 0), true, "VMPCK0 is zero");
    expect_eq!(key_is_zero(boot, 1), true, "VMPCK1 is zero");
    Ok(())
}

pub fn secrets_page_has_the_keys_of_its_own_level_and_below(boot: &Boot) -> Check {
    expect_eq!(key_is_zero(boot, 2), false, "VMPCK2 is zero");
    expect_eq!(key_is_zero(boot, 3), false, "VMPCK3 is zero");
    Ok(())
}

pub fn cpuid_page_is_readable_and_names_the_c_bit(boot: &Boot) -> Check {
    let count = u64::from(read_u32(boot.cpuid));
    expect_eq!((1..=64).contains(&count), true, "CPUID entries {}", count);
    let entries = (0..count).map(|index| boot.cpuid + 16 + index * 48);
    let leaf = entries.into_iter().find(|entry| read_u32(*entry) == 0x8000_001f);
    let Some(leaf) = leaf else {
        expect_eq!(false, true, "leaf 0x8000001F is listed");
        return Ok(());
    };
    expect_eq!(read_u32(leaf + 0x1c) & 0x3f, 51, "C-bit position");
    Ok(())
}

pub fn memory_map_leaves_the_svsm_out(boot: &Boot) -> Check {
    let end = boot.svsm_base + boot.svsm_size;
    let overlap = boot.ram.iter().any(|ram| ram.start < end && boot.svsm_base < ram.end);
    expect_eq!(overlap, false, "RAM overlaps the SVSM");
    Ok(())
}

pub fn rmpadjust_is_refused_at_vmpl2(boot: &Boot) -> Check {
    // How a guest finds out that there is an SVSM above it: change VMPL1's rights.
    expect_eq!(raw::rmpadjust(boot.secrets, 0, 1), FAIL_PERMISSION, "RMPADJUST for VMPL1");
    expect_eq!(raw::rmpadjust(boot.secrets, 0, 2 | 0xf << 8), FAIL_PERMISSION, "RMPADJUST for VMPL2");
    Ok(())
}

pub fn pvalidate_is_refused_at_vmpl2(boot: &Boot) -> Check {
    expect_eq!(raw::pvalidate(boot.secrets, 0, 1).0, FAIL_PERMISSION, "PVALIDATE");
    expect_eq!(raw::pvalidate(boot.secrets, 0, 0).0, FAIL_PERMISSION, "PVALIDATE to rescind");
    Ok(())
}

pub fn rmpquery_shows_full_rights_to_own_memory(boot: &Boot) -> Check {
    let (status, permissions, _) = raw::rmpquery(boot.secrets, 2);
    expect_eq!(status, 0, "RMPQUERY status");
    expect_eq!(permissions, 0xf, "permissions of VMPL2");
    expect_eq!(raw::rmpquery(boot.secrets, 3).1, 0, "permissions of VMPL3");
    Ok(())
}

/// Bits 11:0 of RAX do not count (APM volume 3): stock firmware leaves flags there.
pub fn rmp_instructions_ignore_the_offset_in_a_page(boot: &Boot) -> Check {
    let (status, permissions, _) = raw::rmpquery(boot.secrets + 0x123, 2);
    expect_eq!(status, 0, "RMPQUERY status");
    expect_eq!(permissions, 0xf, "permissions of VMPL2");
    Ok(())
}

pub fn memory_that_was_never_validated_raises_vc(_: &Boot) -> Check {
    let page = memory::fresh_page();
    expect_eq!(exception::probe_read(page), Err(Caught { vector: 29, code: 0x404 }), "read");
    expect_eq!(exception::probe_write(page, 1), Err(Caught { vector: 29, code: 0x404 }), "write");
    Ok(())
}
