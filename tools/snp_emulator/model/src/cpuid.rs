//! What the guest's CPUID says: the emulated processor's answers, less what an SNP guest on this
//! machine must not see, plus what makes it an SNP guest.
//!
//! The table is the policy: [`filter`] is applied to every leaf, and [`LEAVES`] are what the CPUID page lists.

use crate::hypervisor::C_BIT_POSITION;
use host_profiles::cpuid::Model;
use snp_abi::cpuid::{CpuidEntry, CpuidPage, CpuidQuery, CpuidRegisters, LEAF_EXTENDED_STATE};
use zerocopy::FromZeros;

/// Highest basic leaf. Leaf 0xD is behind it on purpose: Linux refuses a CPUID table whose leaf 0xD.1 lacks XSAVEC, and
/// QEMU has none, so the guest sees no XSAVE at all.
const LAST_BASIC_LEAF: u32 = 0xb;
const LAST_EXTENDED_LEAF: u32 = 0x8000_001f;
/// Physical address bits that an SNP guest has once the C-bit is taken away.
const GUEST_ADDRESS_BITS: u32 = 47;
const LINEAR_ADDRESS_BITS: u32 = 48;
const ADDRESS_BIT_REDUCTION: u32 = 5;
const VMPLS: u32 = 4;
/// 0x8000001F EAX: SEV, SEV-ES, SNP, VMPL.
const SNP_FEATURES: u32 = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5;
/// 0x80000008 EBX bit 3: INVLPGB and TLBSYNC.
const INVLPGB: u32 = 1 << 3;
/// EDX 15:0: most pages that one INVLPGB covers, less one.
const INVLPGB_MOST: u32 = 7;
const INVLPGB_MOST_MASK: u32 = 0xffff;
const ADDRESS_SIZES: u32 = 0x8000_0008;

/// KVM's features: its clock (bit 3; bit 24: stable), without which Linux measures the TSC against timers whose reads cost
/// an exit each; 15-bit destinations in MSIs (bit 15), without which Linux refuses x2APIC.
const KVM_FEATURES: u32 = 1 << 3 | 1 << 15 | 1 << 24;
/// 0x80000007 EDX bit 8: the TSC runs at one rate for ever.
const INVARIANT_TSC: u32 = 1 << 8;

/// Bits that are hidden: (leaf, sub-leaf, [EAX, EBX, ECX, EDX]).
const HIDDEN: &[(u32, u32, [u32; 4])] = &[
    // MONITOR, FMA, XSAVE, OSXSAVE, AVX, F16C, TSC deadline.
    (0x1, 0, [0, 0, 1 << 3 | 1 << 12 | 1 << 24 | 1 << 26 | 1 << 27 | 1 << 28 | 1 << 29, 0]),
    // AVX2; PKU, OSPKE, VAES, VPCLMULQDQ, LA57.
    (0x7, 0, [0, 1 << 5, 1 << 3 | 1 << 4 | 1 << 9 | 1 << 10 | 1 << 16, 0]),
    // SVM.
    (0x8000_0001, 0, [0, 0, 1 << 2, 0]),
    (0x8000_000a, 0, [!0, !0, !0, !0]),
];

/// The leaves of the CPUID page.
pub const LEAVES: &[(u32, u32)] = &[
    (0x0, 0),
    (0x1, 0),
    (0x2, 0),
    (0x5, 0),
    (0x6, 0),
    (0x7, 0),
    (0x7, 1),
    (0xb, 0),
    (0xb, 1),
    (0x4000_0000, 0),
    (0x4000_0001, 0),
    (0x8000_0000, 0),
    (0x8000_0001, 0),
    (0x8000_0002, 0),
    (0x8000_0003, 0),
    (0x8000_0004, 0),
    (0x8000_0005, 0),
    (0x8000_0006, 0),
    (0x8000_0007, 0),
    (0x8000_0008, 0),
    (0x8000_000a, 0),
    (0x8000_0019, 0),
    (0x8000_001a, 0),
    (0x8000_001d, 0),
    (0x8000_001d, 1),
    (0x8000_001d, 2),
    (0x8000_001d, 3),
    (0x8000_001e, 0),
    (0x8000_001f, 0),
];

/// Turns the emulated processor's answer into the guest's.
pub fn filter(query: CpuidQuery, raw: CpuidRegisters, apic_id: u32) -> CpuidRegisters {
    let mut out = raw;
    match query.leaf {
        0x0 => out.eax = LAST_BASIC_LEAF,
        // Bits 31:24 of EBX are the initial APIC id; ECX bit 31 says that there is a hypervisor.
        0x1 => {
            out.ebx = out.ebx & 0x00ff_ffff | apic_id << 24;
            out.ecx |= 1 << 31;
        }
        0xb => out.edx = apic_id,
        0x8000_001e => out.eax = apic_id,
        0x4000_0000 => out = kvm_signature(),
        0x4000_0001 => out = CpuidRegisters { eax: KVM_FEATURES, ..CpuidRegisters::default() },
        0x4000_0002..=0x4fff_ffff => out = CpuidRegisters::default(),
        0x8000_0000 => out.eax = LAST_EXTENDED_LEAF,
        0x8000_0007 => out.edx |= INVARIANT_TSC,
        0x8000_0008 => {
            out.eax = LINEAR_ADDRESS_BITS << 8 | GUEST_ADDRESS_BITS;
        }
        0x8000_001f => {
            let ebx = u32::from(C_BIT_POSITION) | ADDRESS_BIT_REDUCTION << 6 | VMPLS << 12;
            out = CpuidRegisters { eax: SNP_FEATURES, ebx, ecx: 15, edx: 1 };
        }
        _ => {}
    }
    for (leaf, subleaf, [eax, ebx, ecx, edx]) in HIDDEN {
        if (*leaf, *subleaf) == (query.leaf, query.subleaf) {
            out.eax &= !eax;
            out.ebx &= !ebx;
            out.ecx &= !ecx;
            out.edx &= !edx;
        }
    }
    out
}

/// Shows INVLPGB in a processor's answer, or hides it as every KVM host does.
pub fn show_invlpgb(query: CpuidQuery, is_shown: bool, out: &mut CpuidRegisters) {
    if query.leaf == ADDRESS_SIZES {
        out.ebx = out.ebx & !INVLPGB | if is_shown { INVLPGB } else { 0 };
        out.edx = out.edx & !INVLPGB_MOST_MASK | if is_shown { INVLPGB_MOST } else { 0 };
    }
}

fn kvm_signature() -> CpuidRegisters {
    CpuidRegisters { eax: 0x4000_0001, ebx: 0x4b4d_564b, ecx: 0x564b_4d56, edx: 0x4d }
}

/// Builds the CPUID page of the vCPU that boots.
pub fn page(apic_id: u32, mut raw: impl FnMut(CpuidQuery) -> CpuidRegisters) -> CpuidPage {
    let mut page = CpuidPage::new_zeroed();
    for ((leaf, subleaf), entry) in LEAVES.iter().zip(page.entries.iter_mut()) {
        let query = CpuidQuery { leaf: *leaf, subleaf: *subleaf };
        let registers = filter(query, raw(query), apic_id);
        *entry = CpuidEntry { leaf: *leaf, subleaf: *subleaf, registers, ..CpuidEntry::default() };
    }
    page.count = LEAVES.len() as u32;
    page
}

/// Whose answers a guest gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The emulated processor's own, filtered: no host's, and the machine's of old.
    Filtered,
    /// A model's, as QEMU and KVM give it.
    Exact(Model),
    /// The same, less what the emulated processor cannot execute.
    Runnable(Model),
}

/// Feature words, of which a processor that cannot do what a bit says is no match: leaf, sub-leaf, and which registers.
const FEATURE_WORDS: [(u32, u32, [bool; 4]); 6] = [
    (0x1, 0, [false, false, true, true]),
    (0x7, 0, [false, true, true, true]),
    (0x7, 1, [true, false, false, false]),
    (0x8000_0001, 0, [false, false, true, true]),
    (0x8000_0008, 0, [false, true, false, false]),
    (0x8000_0021, 0, [true, false, false, false]),
];
/// What the monitor does for the guest, or what needs nothing done: x2APIC and hypervisor; prediction barriers and their MSRs, WBNOINVD; hints
/// of leaf 0x80000021.
const DONE_BY_THE_MACHINE: [(u32, [u32; 4]); 3] = [
    (0x1, [0, 0, 1 << 21 | 1 << 31, 0]),
    (0x8000_0008, [0, 1 << 9 | 1 << 12 | 1 << 14 | 1 << 15 | 1 << 17 | 1 << 24 | 1 << 28, 0, 0]),
    (0x8000_0021, [1 << 0 | 1 << 2 | 1 << 6, 0, 0, 0]),
];
/// XSAVE and what needs it: its user-mode half works in QEMU, but there is no XSAVEC, without which Linux refuses leaf 0xD.
const NEEDS_XSAVE: [(u32, [u32; 4]); 2] = [
    (0x1, [0, 0, 1 << 12 | 1 << 26 | 1 << 27 | 1 << 28 | 1 << 29, 0]),
    (0x7, [0, 1 << 5, 1 << 3 | 1 << 9 | 1 << 10, 0]),
];

fn words(registers: CpuidRegisters) -> [u32; 4] {
    [registers.eax, registers.ebx, registers.ecx, registers.edx]
}

fn of_leaf<const N: usize>(table: &[(u32, [u32; 4]); N], query: CpuidQuery) -> [u32; 4] {
    let row = table.iter().find(|(leaf, _)| *leaf == query.leaf && query.subleaf == 0);
    row.map_or([0; 4], |(_, bits)| *bits)
}

/// Bits of a row that the emulated processor cannot honour.
pub fn unrunnable(query: CpuidQuery, exact: CpuidRegisters, raw: CpuidRegisters) -> [u32; 4] {
    let row =
        FEATURE_WORDS.iter().find(|(leaf, subleaf, _)| (*leaf, *subleaf) == (query.leaf, query.subleaf));
    let Some((.., is_feature)) = row else { return [0; 4] };
    let (exact, raw) = (words(exact), words(raw));
    let (done, xsave) = (of_leaf(&DONE_BY_THE_MACHINE, query), of_leaf(&NEEDS_XSAVE, query));
    core::array::from_fn(|word| {
        if is_feature[word] { exact[word] & (!raw[word] & !done[word] | xsave[word]) } else { 0 }
    })
}

/// A row as it is shown where only what runs is shown; none where the row is left out.
fn runnable(query: CpuidQuery, exact: CpuidRegisters, raw: CpuidRegisters) -> Option<CpuidRegisters> {
    match query.leaf {
        LEAF_EXTENDED_STATE => None,
        0 => Some(CpuidRegisters { eax: LAST_BASIC_LEAF, ..exact }),
        _ => {
            let mask = unrunnable(query, exact, raw);
            let [eax, ebx, ecx, edx] = words(exact);
            Some(CpuidRegisters {
                eax: eax & !mask[0],
                ebx: ebx & !mask[1],
                ecx: ecx & !mask[2],
                edx: edx & !mask[3],
            })
        }
    }
}

impl Policy {
    /// The CPUID page of the first of so many vCPUs.
    pub fn page(self, vcpus: u32, mut raw: impl FnMut(CpuidQuery) -> CpuidRegisters) -> CpuidPage {
        let (model, shows_all) = match self {
            Self::Filtered => return page(0, raw),
            Self::Exact(model) => (model, true),
            Self::Runnable(model) => (model, false),
        };
        let mut page = CpuidPage::new_zeroed();
        let rows = host_profiles::cpuid::rows(model, vcpus).filter_map(|row| {
            let query = CpuidQuery { leaf: row.leaf, subleaf: row.subleaf };
            let shown =
                if shows_all { Some(row.registers) } else { runnable(query, row.registers, raw(query)) };
            shown.map(|registers| CpuidEntry { registers, ..row })
        });
        for (row, place) in rows.zip(page.entries.iter_mut()) {
            *place = row;
            page.count += 1;
        }
        page
    }

    /// What a CPUID instruction on one of so many vCPUs answers.
    pub fn answer(
        self,
        vcpus: u32,
        apic_id: u32,
        query: CpuidQuery,
        raw: impl FnOnce(CpuidQuery) -> CpuidRegisters,
    ) -> CpuidRegisters {
        match self {
            Self::Filtered => filter(query, raw(query), apic_id),
            Self::Exact(model) => host_profiles::cpuid::answer(model, vcpus, apic_id, query),
            Self::Runnable(model) => {
                let exact = host_profiles::cpuid::answer(model, vcpus, apic_id, query);
                runnable(query, exact, raw(query)).unwrap_or_default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_passes_the_checks_of_its_readers() {
        let page = page(1, |_| CpuidRegisters { eax: !0, ebx: !0, ecx: !0, edx: !0 });
        assert_eq!(page.check(), Ok(()));
        assert_eq!(page.c_bit_position(), Some(51));
        let leaf_1 = page.row(CpuidQuery { leaf: 1, subleaf: 0 }).unwrap();
        assert_eq!(leaf_1.registers.ecx & (1 << 26 | 1 << 28), 0, "XSAVE and AVX stay hidden");
        assert_eq!(leaf_1.registers.ebx >> 24, 1, "the APIC id is the vCPU's own");
    }

    #[test]
    fn invlpgb_is_shown_or_hidden_with_its_count() {
        let query = CpuidQuery { leaf: ADDRESS_SIZES, subleaf: 0 };
        let mut out = CpuidRegisters { eax: 1, ebx: 0xff, ecx: 2, edx: 0x1_ffff };
        show_invlpgb(query, false, &mut out);
        assert_eq!(out, CpuidRegisters { eax: 1, ebx: 0xf7, ecx: 2, edx: 0x1_0000 });
        show_invlpgb(query, true, &mut out);
        assert_eq!(out, CpuidRegisters { eax: 1, ebx: 0xff, ecx: 2, edx: 0x1_0007 });
    }

    #[test]
    fn the_leaves_are_sorted_and_fit_the_page() {
        assert!(LEAVES.is_sorted());
        assert!(LEAVES.len() <= 64);
    }

    #[test]
    fn what_does_not_run_is_left_out_of_the_page_and_the_rest_is_kvms() {
        let exact = Policy::Exact(Model::Milan).page(1, |_| CpuidRegisters::default());
        assert_eq!(exact.check(), Ok(()));
        assert_eq!((exact.rows()[0].leaf, exact.rows()[2].leaf), (0x4000_0000, 0));
        // A processor without PCID.
        let raw = CpuidRegisters { eax: !0, ebx: !0, ecx: !(1 << 17), edx: !0 };
        let runnable = Policy::Runnable(Model::Milan).page(1, |_| raw);
        let row = |page: &CpuidPage, leaf| page.row(CpuidQuery { leaf, subleaf: 0 }).unwrap().registers;
        let missing = row(&exact, 1).ecx & !row(&runnable, 1).ecx;
        assert_eq!(missing, 1 << 12 | 1 << 17 | 1 << 26 | 1 << 28 | 1 << 29);
        assert_eq!((row(&exact, 0).eax, row(&runnable, 0).eax), (0xd, 0xb));
        assert!(runnable.rows().iter().all(|row| row.leaf != 0xd));
        assert_eq!(row(&runnable, 0x8000_001f), row(&exact, 0x8000_001f));
    }
}
