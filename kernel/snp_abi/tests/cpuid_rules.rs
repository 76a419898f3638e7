//! The CPUID page read by Linux's rules: rows, ranges, per-vCPU values, extended state.

use snp_abi::cpuid::{
    CpuidEntry, CpuidPage, CpuidQuery, CpuidRegisters, InvalidCpuid, MAXIMUM_ENTRIES, ProcessorState,
};
use zerocopy::{FromZeros, IntoBytes};

const STATE: ProcessorState = ProcessorState { os_xsave: true, protection_keys: false, xcr0: 0b111, xss: 0 };

fn row(leaf: u32, subleaf: u32, xcr0: u64, registers: [u32; 4]) -> CpuidEntry {
    let [eax, ebx, ecx, edx] = registers;
    CpuidEntry { leaf, subleaf, xcr0, registers: CpuidRegisters { eax, ebx, ecx, edx }, ..Default::default() }
}

/// A page with the rows that a Milan host gives, as far as the rules look at them.
fn table() -> CpuidPage {
    let rows = [
        row(0x0, 0, 0, [0x10, 0x6874_7541, 0x444D_4163, 0x6974_6E65]),
        row(0x1, 0, 0, [0x00A0_0F11, 0x0002_0800, 0xFED8_3203, 0x178B_FBFF]),
        row(0x7, 0, 0, [0, 0x219C_97A9, 0x0040_061C, 0x10]),
        row(0xB, 1, 0, [6, 64, 0x201, 0]),
        row(0xD, 0, 7, [7, 0xFFFF, 0x988, 0]),
        row(0xD, 0, 1, [7, 0x240, 0x988, 0]),
        row(0xD, 1, 1, [0xF, 0x240, 0x1800, 0]),
        row(0xD, 2, 0, [0x100, 0x240, 0, 0]),
        row(0xD, 9, 0, [0x8, 0x980, 0, 0]),
        row(0xD, 11, 0, [0x10, 0, 1, 0]),
        row(0x8000_0000, 0, 0, [0x8000_0020, 0, 0, 0]),
        row(0x8000_001E, 0, 0, [0xDEAD, 0xABCD_0100, 0x0000_0300, 0]),
        row(0x8000_001F, 0, 0, [0x1A, 0x0001_016F, 0, 0]),
    ];
    let mut page = CpuidPage::new_zeroed();
    page.count = rows.len() as u32;
    page.entries[..rows.len()].copy_from_slice(&rows);
    page
}

fn ask(page: &CpuidPage, leaf: u32, subleaf: u32, state: ProcessorState) -> CpuidRegisters {
    let host = CpuidRegisters { eax: 3, ebx: 0x0300_0001, ecx: 0x1000_0002, edx: 0xFFFF_FFFF };
    page.answer::<InvalidCpuid>(CpuidQuery { leaf, subleaf }, state, |_| Ok(host)).unwrap()
}

#[test]
fn a_row_without_subleaves_answers_any_ecx() {
    assert_eq!(ask(&table(), 0x0, 77, STATE).ebx, 0x6874_7541);
}

#[test]
fn an_indexed_leaf_needs_its_own_row() {
    assert_eq!(ask(&table(), 0x7, 1, STATE), CpuidRegisters::default());
}

#[test]
fn apic_id_comes_from_the_host_and_nothing_else_does() {
    let leaf = ask(&table(), 0x1, 0, STATE);
    assert_eq!(leaf.ebx, 0x0302_0800);
    // APIC-present bit from the host, OSXSAVE from CR4, the rest from the table.
    assert_eq!(leaf.edx, 0x178B_FBFF | 1 << 9);
    assert_eq!(leaf.ecx, 0xFED8_3203 | 1 << 27);
    assert_eq!(leaf.eax, 0x00A0_0F11);
    let extended = ask(&table(), 0x8000_001E, 0, STATE);
    assert_eq!((extended.eax, extended.ebx, extended.ecx), (3, 0xABCD_0101, 0x0000_0302));
    assert_eq!(ask(&table(), 0xB, 1, STATE).edx, 0xFFFF_FFFF);
}

#[test]
fn a_host_that_clears_the_apic_bit_is_followed() {
    let answer = table()
        .answer::<InvalidCpuid>(CpuidQuery { leaf: 1, subleaf: 0 }, STATE, |_| Ok(CpuidRegisters::default()))
        .unwrap();
    assert_eq!(answer.edx & 1 << 9, 0);
}

#[test]
fn the_hosts_failure_is_passed_on() {
    #[derive(Debug, PartialEq)]
    enum Failure {
        Host,
        Table,
    }
    impl From<InvalidCpuid> for Failure {
        fn from(_: InvalidCpuid) -> Self {
            Self::Table
        }
    }
    let query = CpuidQuery { leaf: 1, subleaf: 0 };
    assert_eq!(table().answer(query, STATE, |_| Err(Failure::Host)), Err(Failure::Host));
}

#[test]
fn the_host_is_not_asked_for_leaves_of_the_table() {
    let query = CpuidQuery { leaf: 0x8000_001F, subleaf: 0 };
    let answer = table().answer::<InvalidCpuid>(query, STATE, |_| panic!("asked"));
    assert_eq!(answer.unwrap().eax, 0x1A);
}

#[test]
fn the_save_area_covers_what_xcr0_enables() {
    // Standard form: AVX at 0x240, 0x100 bytes. The row for XCR0 7 must not be used.
    assert_eq!(ask(&table(), 0xD, 0, STATE).ebx, 0x340);
    let with_keys = ProcessorState { xcr0: 0x207, ..STATE };
    assert_eq!(ask(&table(), 0xD, 0, with_keys).ebx, 0x988);
    let legacy = ProcessorState { os_xsave: false, ..STATE };
    assert_eq!(ask(&table(), 0xD, 0, legacy).ebx, 0x240);
}

#[test]
fn the_compacted_save_area_adds_supervisor_state() {
    let with_shadow_stacks = ProcessorState { xcr0: 0x7, xss: 1 << 11, ..STATE };
    assert_eq!(ask(&table(), 0xD, 1, with_shadow_stacks).ebx, 0x240 + 0x100 + 0x10);
    // The standard form knows no supervisor state.
    assert_eq!(ask(&table(), 0xD, 0, with_shadow_stacks).ebx, 0x340);
}

#[test]
fn an_unknown_state_component_is_an_error() {
    let state = ProcessorState { xcr0: 0x27, ..STATE };
    let query = CpuidQuery { leaf: 0xD, subleaf: 0 };
    let answer = table().answer(query, state, |_| Ok(CpuidRegisters::default()));
    assert_eq!(answer, Err(InvalidCpuid::UnknownStateComponent));
}

#[test]
fn leaves_beyond_the_announced_ranges_are_zero_and_ask_nobody() {
    for leaf in [0x8000_0021, 0x4000_0000, 0x1F00, u32::MAX] {
        let query = CpuidQuery { leaf, subleaf: 0 };
        let answer = table().answer::<InvalidCpuid>(query, STATE, |_| panic!("asked"));
        assert_eq!(answer, Ok(CpuidRegisters::default()), "{leaf:#x}");
    }
}

#[test]
fn the_c_bit_is_taken_only_from_an_sev_leaf_and_a_possible_bit() {
    assert_eq!(table().c_bit_position(), Some(47));
    let mut page = table();
    page.entries[12].registers.ebx = 51;
    assert_eq!(page.c_bit_position(), Some(51));
    page.entries[12].registers.ebx = 12;
    assert_eq!(page.c_bit_position(), None);
    page.entries[12].registers.ebx = 51;
    page.entries[12].registers.eax = 1;
    assert_eq!(page.c_bit_position(), None);
}

#[test]
fn an_impossible_count_leaves_no_rows() {
    let mut page = table();
    for count in [0, 65, u32::MAX] {
        page.count = count;
        assert_eq!(page.check(), Err(InvalidCpuid::Count(count)));
        assert!(page.rows().is_empty());
    }
    page.count = MAXIMUM_ENTRIES as u32;
    assert_eq!(page.check(), Ok(()));
}

#[test]
fn rows_lie_where_the_psp_puts_them() {
    let page = table();
    let bytes = page.as_bytes();
    assert_eq!(bytes[0..4], 13_u32.to_le_bytes());
    // Second row: leaf 1 at 0x10 + 48, its EAX at +0x18.
    assert_eq!(bytes[0x40..0x44], 1_u32.to_le_bytes());
    assert_eq!(bytes[0x58..0x5C], 0x00A0_0F11_u32.to_le_bytes());
}
