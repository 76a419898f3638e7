//! The CPUID page that QEMU and KVM give to the first vCPU of an SNP guest, row by row and in their order.
//!
//! QEMU (target/i386/kvm/kvm.c, `kvm_x86_build_cpuid`) lists the hypervisor's leaves first, then the basic and the extended ones. Leaves
//! of zeros are left out; of an indexed leaf the sub-leaf that ended the walk stays, as a row of zeros or nearly so. Feature words
//! are those of QEMU's models (target/i386/cpu.c) as KVM lets them through: without SVM, MONITOR, TSC deadline, INVLPGB. Doubtful, and not
//! compared with hardware: the cache rows of EPYC-v4, and the XSAVE offsets of components above 2, which are the host processor's.

use snp_abi::cpuid::{CpuidEntry, CpuidQuery, CpuidRegisters};

/// A processor model of QEMU's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// EPYC-v4 (Zen 1), what COCONUT's scripts ask for.
    EpycV4,
    /// EPYC-Milan (Zen 3).
    Milan,
    /// EPYC-Genoa (Zen 4).
    Genoa,
}

/// A row without what belongs to a machine or vCPU: leaf, sub-leaf, EAX, EBX, ECX, EDX.
type Row = (u32, u32, [u32; 4]);

/// Feature words of a model.
struct Words {
    signature: u32,
    leaf_1_ecx: u32,
    leaf_7: [u32; 4],
    leaf_7_1_eax: u32,
    components: &'static [Row],
    xsave: u32,
    last_extended: u32,
    name: &'static [u8; 48],
    leaf_8000_0008_ebx: u32,
    leaf_8000_0021_eax: u32,
    l1_instruction: (u32, Row),
    l2: (u32, Row),
    l3: (u32, Row),
}

const VENDOR: [u32; 3] = [0x6874_7541, 0x444d_4163, 0x6974_6e65];
/// KVM's signature and features: clock source, nop I/O, clock source 2, asynchronous page faults, steal time, paravirtual EOI, stable
/// clock (QEMU's defaults, target/i386/kvm/kvm-cpu.c:176).
const KVM: [Row; 2] = [
    (0x4000_0000, 0, [0x4000_0001, 0x4b4d_564b, 0x564b_4d56, 0x4d]),
    (0x4000_0001, 0, [0x0100_007b, 0, 0, 0]),
];
/// SSE3, PCLMUL, SSSE3, FMA, CX16, SSE4.1, SSE4.2, x2APIC, MOVBE, POPCNT, AES, XSAVE, AVX, F16C, RDRAND, hypervisor.
const LEAF_1_ECX: u32 = 0xf6f8_3203 & !(1 << 17 | 1 << 27);
const PCID: u32 = 1 << 17;
const LEAF_1_EDX: u32 = 0x078b_fbff;
const LEAF_8000_0001: [u32; 2] = [0x0040_03f1, 0x2fd3_fbff];
/// FSGSBASE, BMI1, AVX2, SMEP, BMI2, RDSEED, ADX, SMAP, CLFLUSHOPT, SHA.
const LEAF_7_EBX: u32 = 0x209c_01a9;
/// ERMS, INVPCID, CLWB.
const LEAF_7_EBX_MILAN: u32 = LEAF_7_EBX | 1 << 9 | 1 << 10 | 1 << 24;
/// AVX-512 F, DQ, IFMA, CD, BW, VL.
const LEAF_7_EBX_GENOA: u32 = LEAF_7_EBX_MILAN | 1 << 16 | 1 << 17 | 1 << 21 | 1 << 28 | 1 << 30 | 1 << 31;
/// UMIP, PKU, RDPID.
const LEAF_7_ECX_MILAN: u32 = 1 << 2 | 1 << 3 | 1 << 22;
/// AVX-512 VBMI and VBMI2, GFNI, VAES, VPCLMULQDQ, VNNI, BITALG, VPOPCNTDQ, LA57.
const LEAF_7_ECX_GENOA: u32 = LEAF_7_ECX_MILAN | 1 << 1 | 0x3f << 6 & !(1 << 7) | 1 << 12 | 1 << 14 | 1 << 16;
const FSRM: u32 = 1 << 4;
/// XSAVEOPT, XSAVEC, XGETBV1, XSAVES.
const XSAVE_FORMS: u32 = 0xf;
const AVX: Row = (0xd, 2, [0x100, 0x240, 0, 0]);
const KEYS: Row = (0xd, 9, [8, 0x980, 0, 0]);
const MASKS: [Row; 3] =
    [(0xd, 5, [0x40, 0x340, 0, 0]), (0xd, 6, [0x200, 0x380, 0, 0]), (0xd, 7, [0x400, 0x580, 0, 0])];

const EPYC_V4: Words = Words {
    signature: 0x0080_0f12,
    leaf_1_ecx: LEAF_1_ECX,
    leaf_7: [0, LEAF_7_EBX, 0, 0],
    leaf_7_1_eax: 0,
    components: &[AVX],
    xsave: XSAVE_FORMS,
    last_extended: 0x8000_001f,
    name: b"AMD EPYC Processor\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    leaf_8000_0008_ebx: 0x1005,
    leaf_8000_0021_eax: 0,
    l1_instruction: (0x4004_0140, (0x8000_001d, 1, [0x122, 0x00c0_003f, 0xff, 1])),
    l2: (0x0200_6140, (0x8000_001d, 2, [0x143, 0x01c0_003f, 0x3ff, 2])),
    l3: (0x0040_8140, (0x8000_001d, 3, [0x163, 0x03c0_003f, 0x1fff, 1])),
};

const MILAN: Words = Words {
    signature: 0x00a0_0f11,
    leaf_1_ecx: LEAF_1_ECX | PCID,
    leaf_7: [0, LEAF_7_EBX_MILAN, LEAF_7_ECX_MILAN, FSRM],
    components: &[AVX, KEYS],
    name: b"AMD EPYC-Milan Processor\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    leaf_8000_0008_ebx: 0x0100_d205,
    l1_instruction: (0x2008_0140, (0x8000_001d, 1, [0x122, 0x01c0_003f, 0x3f, 1])),
    l2: (0x0200_6140, (0x8000_001d, 2, [0x043, 0x01c0_003f, 0x3ff, 0])),
    l3: (0x0100_8140, (0x8000_001d, 3, [0x163, 0x03c0_003f, 0x7fff, 6])),
    ..EPYC_V4
};

const GENOA: Words = Words {
    signature: 0x00a1_0f10,
    leaf_7: [1, LEAF_7_EBX_GENOA, LEAF_7_ECX_GENOA, FSRM],
    // BF16.
    leaf_7_1_eax: 1 << 5,
    components: &[AVX, MASKS[0], MASKS[1], MASKS[2], KEYS],
    last_extended: 0x8000_0022,
    name: b"AMD EPYC-Genoa Processor\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    leaf_8000_0008_ebx: 0x1102_d205,
    // No nested data breakpoints, LFENCE serialises, null selectors clear their base, automatic IBRS.
    leaf_8000_0021_eax: 0x145,
    l2: (0x0400_6140, (0x8000_001d, 2, [0x143, 0x01c0_003f, 0x7ff, 2])),
    l3: (0x0100_8140, (0x8000_001d, 3, [0x163, 0x03c0_003f, 0x7fff, 1])),
    ..MILAN
};

impl Model {
    fn words(self) -> &'static Words {
        match self {
            Self::EpycV4 => &EPYC_V4,
            Self::Milan => &MILAN,
            Self::Genoa => &GENOA,
        }
    }

    /// QEMU's name for it, as `-cpu` has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EpycV4 => "EPYC-v4",
            Self::Milan => "EPYC-Milan",
            Self::Genoa => "EPYC-Genoa",
        }
    }

    /// The model with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        MODELS.into_iter().find(|model| model.name() == name)
    }

    /// CPUID leaf 1 EAX, which is in RDX after a reset.
    #[must_use]
    pub fn signature(self) -> u32 {
        self.words().signature
    }
}

/// All models.
pub const MODELS: [Model; 3] = [Model::EpycV4, Model::Milan, Model::Genoa];

/// Bits that hold so many numbers.
fn width(count: u32) -> u32 {
    count.max(1).next_power_of_two().trailing_zeros()
}

/// Three leaves with the model's name.
fn name_row(words: &Words, part: u32) -> Row {
    let at = part as usize * 16;
    let word = |index: usize| {
        let bytes = words.name.get(at + 4 * index..).and_then(|rest| rest.first_chunk::<4>());
        u32::from_le_bytes(bytes.copied().unwrap_or_default())
    };
    (0x8000_0002 + part, 0, [word(0), word(1), word(2), word(3)])
}

/// The rows of a guest's first vCPU, whose machine has so many, all cores of one socket; in QEMU's order.
pub fn rows(model: Model, vcpus: u32) -> impl Iterator<Item = CpuidEntry> {
    let words = model.words();
    let many = vcpus > 1;
    let bits = width(vcpus);
    let [vendor_ebx, vendor_ecx, vendor_edx] = VENDOR;
    let cores = if many { vcpus << 16 } else { 0 };
    let hyper_threads = if many { 1 << 28 } else { 0 };
    let legacy = if many { 1 << 1 } else { 0 };
    let user_bits = words.components.iter().fold(0b11, |mask, (_, number, _)| mask | 1 << number);
    let last = words.components.iter().map(|(_, _, [size, offset, ..])| size + offset).max().unwrap_or(0x240);
    let basic = [
        (0x0, 0, [0xd, vendor_ebx, vendor_ecx, vendor_edx]),
        (0x1, 0, [words.signature, 0x800 | cores, words.leaf_1_ecx, LEAF_1_EDX | hyper_threads]),
        (0x2, 0, [0; 4]),
        (0x4, 0, [0; 4]),
        // MONITOR's leaf is not empty without MONITOR: ECX has two constants.
        (0x5, 0, [0, 0, 3, 0]),
        // The APIC's timer always runs.
        (0x6, 0, [4, 0, 0, 0]),
        (0x7, 0, words.leaf_7),
    ];
    let seven_one = (words.leaf_7_1_eax != 0).then_some((0x7, 1, [words.leaf_7_1_eax, 0, 0, 0]));
    let topology = [(0xb, 0, [0, 1, 0x100, 0]), (0xb, 1, [bits, vcpus, 0x201, 0]), (0xb, 2, [0, 0, 2, 0])];
    let state = [(0xd, 0, [user_bits, 0x240, last, 0]), (0xd, 1, [words.xsave, 0x240, 0, 0])];
    let extended = [
        (0x8000_0000, 0, [words.last_extended, vendor_ebx, vendor_ecx, vendor_edx]),
        (0x8000_0001, 0, [words.signature, 0, LEAF_8000_0001[0] | legacy, LEAF_8000_0001[1]]),
        name_row(words, 0),
        name_row(words, 1),
        name_row(words, 2),
        (0x8000_0005, 0, [0x01ff_01ff, 0x01ff_01ff, 0x2008_0140, words.l1_instruction.0]),
        (0x8000_0006, 0, [0, 0x4200_4200, words.l2.0, words.l3.0]),
        (
            0x8000_0008,
            0,
            [0x3028, words.leaf_8000_0008_ebx, if many { bits << 12 | (vcpus - 1) } else { 0 }, 0],
        ),
        (0x8000_001d, 0, [0x121, 0x01c0_003f, 0x3f, 1]),
        words.l1_instruction.1,
        words.l2.1,
        shared_by(words.l3.1, bits),
        (0x8000_001d, 4, [0; 4]),
        (0x8000_001f, 0, [0x1a, 0x73, 0, 0]),
    ];
    let newest =
        (words.leaf_8000_0021_eax != 0).then_some((0x8000_0021, 0, [words.leaf_8000_0021_eax, 0, 0, 0]));
    let all = KVM.into_iter().chain(basic).chain(seven_one).chain(topology).chain(state);
    all.chain(words.components.iter().copied())
        .chain([(0xd, 63, [0; 4])])
        .chain(extended)
        .chain(newest)
        .map(entry)
}

/// A cache row for a cache that all cores of a socket share.
fn shared_by((leaf, subleaf, [eax, ebx, ecx, edx]): Row, bits: u32) -> Row {
    (leaf, subleaf, [eax | ((1 << bits) - 1) << 14, ebx, ecx, edx])
}

/// Leaf 0xD's first two rows hold for XCR0 1 (QEMU target/i386/sev.c:1453).
fn entry((leaf, subleaf, [eax, ebx, ecx, edx]): Row) -> CpuidEntry {
    let xcr0 = u64::from(leaf == 0xd && subleaf < 2);
    CpuidEntry {
        leaf,
        subleaf,
        xcr0,
        registers: CpuidRegisters { eax, ebx, ecx, edx },
        ..CpuidEntry::default()
    }
}

/// What a CPUID instruction on the vCPU with this APIC id answers through the host: the row, or zeros.
#[must_use]
pub fn answer(model: Model, vcpus: u32, apic_id: u32, query: CpuidQuery) -> CpuidRegisters {
    let is_indexed = matches!(query.leaf, 0x4 | 0x7 | 0xb | 0xd | 0x8000_001d);
    let wanted = |row: &CpuidEntry| row.leaf == query.leaf && (!is_indexed || row.subleaf == query.subleaf);
    let mut out = rows(model, vcpus).find(wanted).unwrap_or_default().registers;
    match query.leaf {
        0x1 => out.ebx |= apic_id << 24,
        0xb => {
            out.ecx = out.ecx & !0xff | query.subleaf & 0xff;
            out.edx = apic_id;
        }
        0x8000_001e => (out.eax, out.ebx) = (apic_id, apic_id & 0xff),
        _ => {}
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(model: Model, leaf: u32, subleaf: u32) -> CpuidRegisters {
        rows(model, 1).find(|row| (row.leaf, row.subleaf) == (leaf, subleaf)).unwrap().registers
    }

    #[test]
    fn rows_are_in_qemus_order_and_fit_the_page() {
        for (model, vcpus) in MODELS.into_iter().flat_map(|model| [1, 2, 3, 16].map(|vcpus| (model, vcpus))) {
            let groups = rows(model, vcpus).map(|row| match row.leaf >> 28 {
                4 => 0,
                0 => 1,
                _ => 2,
            });
            assert!(groups.is_sorted());
            assert!(rows(model, vcpus).skip(2).map(|row| (row.leaf, row.subleaf)).is_sorted());
            assert!(rows(model, vcpus).count() <= 64);
        }
    }

    #[test]
    fn the_words_are_those_of_kvm_guests() {
        assert_eq!(row(Model::Milan, 0x1, 0).ecx, 0xf6fa_3203);
        assert_eq!(row(Model::Milan, 0x8000_001f, 0).ebx, 51 | 1 << 6, "no count of VMPLs");
        for model in MODELS {
            assert_eq!(row(model, 0x8000_0008, 0).ebx & 1 << 3, 0, "no INVLPGB");
            assert_eq!(row(model, 0x8000_0008, 0).eax, 0x3028);
            assert_eq!(row(model, 0x8000_001f, 0).eax, 0x1a, "no VMPL bit");
            assert_eq!(row(model, 0x8000_0001, 0).ecx & 1 << 2, 0, "no SVM");
            assert_eq!(row(model, 0x1, 0).ecx & (1 << 3 | 1 << 24 | 1 << 27), 0);
            assert!(rows(model, 1).all(|row| row.leaf != 0x8000_0007), "no invariant TSC");
            assert_eq!(row(model, 0xd, 0).ebx, 0x240);
        }
    }

    #[test]
    fn each_vcpu_has_its_own_id() {
        let ask = |leaf, subleaf| answer(Model::Milan, 4, 3, CpuidQuery { leaf, subleaf });
        assert_eq!(ask(0x1, 0).ebx, 3 << 24 | 4 << 16 | 0x800);
        assert_eq!((ask(0xb, 1).edx, ask(0xb, 1).ebx, ask(0xb, 7).ecx), (3, 4, 7));
        assert_eq!(ask(0x8000_001e, 0).eax, 3);
        assert_eq!(ask(0x4000_0005, 0), CpuidRegisters::default());
    }
}
