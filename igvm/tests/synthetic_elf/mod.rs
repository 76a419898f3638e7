//! ELF programs made for tests: as much of the format as a linker's output has that a loader looks at.

#![allow(dead_code, reason = "each test binary uses its own part")]

/// Readable and executable.
pub const TEXT: u32 = 5;
/// Readable.
pub const CONSTANT: u32 = 4;
/// Readable and writable.
pub const DATA: u32 = 6;

/// Executable with fixed addresses.
pub const FIXED: u16 = 2;
/// Position-independent.
pub const POSITION_INDEPENDENT: u16 = 3;

const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const HEADER_BYTES: usize = 64;
const SEGMENT_BYTES: usize = 56;

/// A segment to load.
pub struct Segment {
    pub kind: u32,
    pub flags: u32,
    pub address: u64,
    pub physical: u64,
    pub content: Vec<u8>,
    pub memory_size: u64,
}

impl Segment {
    pub fn load(flags: u32, address: u64, content: Vec<u8>) -> Self {
        let memory_size = content.len() as u64;
        Self { kind: LOAD, flags, address, physical: address, content, memory_size }
    }

    /// Zeroed memory behind the content, up to this size.
    pub fn with_memory(mut self, bytes: u64) -> Self {
        self.memory_size = bytes;
        self
    }

    pub fn at_physical(mut self, address: u64) -> Self {
        self.physical = address;
        self
    }

    /// A dynamic section that names one relocation table.
    pub fn dynamic(address: u64, table: u64, table_bytes: u64) -> Self {
        let mut content = Vec::new();
        for value in [7, table, 8, table_bytes, 9, 24, 0, 0] {
            content.extend(u64::to_le_bytes(value));
        }
        Self { kind: DYNAMIC, ..Self::load(DATA, address, content) }
    }
}

/// A relocation entry of the given type number.
pub fn relocation(offset: u64, kind: u32, addend: i64) -> Vec<u8> {
    let mut entry = offset.to_le_bytes().to_vec();
    entry.extend(u64::from(kind).to_le_bytes());
    entry.extend(addend.to_le_bytes());
    entry
}

/// The file.
pub fn program(kind: u16, entry: u64, segments: &[Segment]) -> Vec<u8> {
    let mut file = vec![0x7F, b'E', b'L', b'F', 2, 1, 1];
    file.resize(16, 0);
    file.extend(kind.to_le_bytes());
    file.extend(62_u16.to_le_bytes()); // x86-64
    file.extend(1_u32.to_le_bytes());
    file.extend(entry.to_le_bytes());
    file.extend((HEADER_BYTES as u64).to_le_bytes());
    file.extend([0; 8 + 4]);
    for value in [HEADER_BYTES, SEGMENT_BYTES, segments.len(), 0, 0, 0] {
        file.extend((value as u16).to_le_bytes());
    }
    let mut offset = HEADER_BYTES + SEGMENT_BYTES * segments.len();
    for segment in segments {
        file.extend(segment.kind.to_le_bytes());
        file.extend(segment.flags.to_le_bytes());
        let size = segment.content.len() as u64;
        for value in [offset as u64, segment.address, segment.physical, size, segment.memory_size, 0x1000] {
            file.extend(value.to_le_bytes());
        }
        offset += segment.content.len();
    }
    for segment in segments {
        file.extend(&segment.content);
    }
    file
}

/// Bytes that differ from place to place, so that a page that lands elsewhere is noticed.
pub fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|index| (index / 7) as u8 ^ seed.wrapping_mul(31) | 1).collect()
}

/// stage2 at the default region base: text, then data with zeroed memory.
pub fn stage2(base: u64) -> Vec<u8> {
    program(
        FIXED,
        base + 0x40,
        &[
            Segment::load(TEXT, base, pattern(0x1200, 1)),
            Segment::load(DATA, base + 0x2000, pattern(0x300, 2)).with_memory(0x1800),
        ],
    )
}

pub const KERNEL_BASE: u64 = 0xFFFF_FFFF_8000_0000;

/// A kernel with text, constants, data and zeroed memory.
pub fn kernel() -> Vec<u8> {
    program(
        FIXED,
        KERNEL_BASE + 0x10,
        &[
            Segment::load(TEXT, KERNEL_BASE, pattern(0x5123, 3)),
            Segment::load(CONSTANT, KERNEL_BASE + 0x6000, pattern(0x2010, 4)),
            Segment::load(DATA, KERNEL_BASE + 0x9000, pattern(0x1100, 5)).with_memory(0x6000),
        ],
    )
}

/// A guest whose pages form two ranges.
pub fn guest() -> Vec<u8> {
    program(
        FIXED,
        0x10_0000,
        &[
            Segment::load(TEXT, 0x10_0000, pattern(0x1800, 6)),
            Segment::load(DATA, 0x20_0000, pattern(0x40, 7)).with_memory(0x4000),
        ],
    )
}
