//! Start states of a vCPU against bytes assembled from Linux's `sev.c` and KVM's rules, and RMP operand words.

use snp_abi::rmp::{
    InvalidAttributes, PVALIDATE_INSTRUCTION, Permissions, RMPADJUST_INSTRUCTION, RmpAdjust, RmpStatus, Vmpl,
};
use snp_abi::vmsa::{SevFeatures, Vmsa};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// A page of zeros with these little-endian values in it: (offset, bytes, value).
fn page(values: &[(usize, usize, u64)]) -> Vec<u8> {
    let mut page = vec![0; 4096];
    for &(offset, length, value) in values {
        page[offset..offset + length].copy_from_slice(&value.to_le_bytes()[..length]);
    }
    page
}

#[test]
fn an_application_processor_starts_as_linux_starts_it() {
    // wakeup_cpu_via_vmgexit() for vector 0x9a at VMPL2 with SEV_STATUS 7.
    let mut expected = vec![
        (0x010, 2, 0x9A00),  // cs.selector = sipi_vector << 8
        (0x012, 2, 0x9A),    // INIT_CS_ATTRIBS
        (0x014, 4, 0xFFFF),  // AP_INIT_CS_LIMIT
        (0x018, 8, 0x9A000), // cs.base = sipi_vector << 12
        (0x064, 4, 0xFFFF),  // gdtr.limit
        (0x072, 2, 0x82),    // INIT_LDTR_ATTRIBS
        (0x074, 4, 0xFFFF),
        (0x084, 4, 0xFFFF), // idtr.limit
        (0x092, 2, 0x83),   // INIT_TR_ATTRIBS
        (0x094, 4, 0xFFFF),
        (0x0CA, 1, 2),           // vmpl
        (0x0D0, 8, 0x1000),      // EFER_SVME
        (0x148, 8, 0x40),        // cr4 & X86_CR4_MCE
        (0x158, 8, 0x6000_0010), // AP_INIT_CR0_DEFAULT
        (0x160, 8, 0x400),       // DR7_RESET_VALUE
        (0x168, 8, 0xFFFF_0FF0), // AP_INIT_DR6_DEFAULT
        (0x170, 8, 2),           // AP_INIT_RFLAGS_DEFAULT
        (0x268, 8, 0x0007_0406_0007_0406),
        (0x3B0, 8, 1), // sev_status >> 2
        (0x3E8, 8, 1), // AP_INIT_XCR0_DEFAULT
        (0x408, 4, 0x1F80),
        (0x40C, 2, 0x5555),
        (0x410, 2, 0x40),
    ];
    for data_segment in [0x000, 0x020, 0x030, 0x040, 0x050] {
        expected.push((data_segment + 2, 2, 0x92)); // INIT_DS_ATTRIBS
        expected.push((data_segment + 4, 4, 0xFFFF));
    }
    let vmsa = Vmsa::start_up(0x9A, Vmpl::Vmpl2, SevFeatures::SNP_ACTIVE);
    assert_eq!(vmsa.as_bytes(), page(&expected));
}

#[test]
fn firmware_starts_in_flat_protected_mode() {
    let vmsa = Vmsa::protected_mode_start(0x0800_0000, SevFeatures::SNP_ACTIVE);
    let bytes = vmsa.as_bytes();
    let word = |offset: usize| u64::read_from_bytes(&bytes[offset..offset + 8]).unwrap();
    assert_eq!(word(0x010), 0xFFFF_FFFF_0C9B_0008);
    assert_eq!(word(0x030), 0xFFFF_FFFF_0C93_0010);
    assert_eq!(word(0x0D0), 0x1000);
    assert_eq!(word(0x148), 0x40);
    assert_eq!(word(0x158), 0x31);
    assert_eq!(word(0x178), 0x0800_0000);
    assert_eq!(word(0x3B0), 1);
    assert_eq!(bytes[0x410..0x412], [0x7F, 0x03]);
    assert!(vmsa.is_runnable());
}

#[test]
fn a_vmsa_without_svme_cannot_run() {
    assert!(!Vmsa::new_zeroed().is_runnable());
}

#[test]
fn rmpadjust_attributes_have_linux_words() {
    // Linux snp_set_vmsa(): attrs = 1 (VMPL1), | RMPADJUST_VMSA_PAGE_BIT
    let vmsa = RmpAdjust { target: Vmpl::Vmpl1, permissions: Permissions::empty(), is_vmsa: true };
    assert_eq!(vmsa.encode(), 0x1_0001);
    let grant =
        RmpAdjust { target: Vmpl::Vmpl2, permissions: Permissions::READ_WRITE_EXECUTE, is_vmsa: false };
    assert_eq!(grant.encode(), 0x0F02);
    assert_eq!(RmpAdjust::decode(0x0F02), Ok(grant));
    for word in [0x0F04_u64, 0x2002, 0x2_0002, 1 << 63] {
        assert_eq!(RmpAdjust::decode(word), Err(InvalidAttributes), "{word:#x}");
    }
}

#[test]
fn rmp_status_numbers_are_the_manuals() {
    assert_eq!(RmpStatus::from_wire(6), Some(RmpStatus::FailSizeMismatch));
    assert_eq!(RmpStatus::from_wire(2), Some(RmpStatus::FailPermission));
    assert_eq!(RmpStatus::from_wire(5), None);
}

#[test]
fn instruction_bytes_are_those_in_linux_and_edk2() {
    assert_eq!(PVALIDATE_INSTRUCTION, [0xF2, 0x0F, 0x01, 0xFF]);
    assert_eq!(RMPADJUST_INSTRUCTION, [0xF3, 0x0F, 0x01, 0xFE]);
}
