//! Takes an ELF program apart into pages at their final addresses, relocated.

use std::collections::BTreeMap;

use object::elf::{self, PT_LOAD, PT_TLS};
use object::read::elf::{Dyn, ElfFile64, FileHeader, ProgramHeader, Rela};
use object::{LittleEndian, Object, ObjectKind};

/// Bytes of a page.
const PAGE: u64 = 0x1000;
/// More pages than any program of ours has; a hostile file must not make us allocate without end.
const MAXIMUM_PAGES: u64 = 0x1_0000;

/// Where a program is to lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// At its virtual addresses; a position-independent one with its first page at the given address.
    Virtual(u64),
    /// At its physical addresses; must not be position-independent.
    Physical,
}

/// A page of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElfPage {
    /// Writable.
    pub writable: bool,
    /// Executable.
    pub executable: bool,
    /// Its bytes, `None` if the file has none for it: zeros.
    pub content: Option<Box<[u8; PAGE as usize]>>,
}

/// A program in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedElf {
    /// Address of the first instruction, in the same space as the pages.
    pub entry: u64,
    /// Pages by address.
    pub pages: BTreeMap<u64, ElfPage>,
}

/// Why a program cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// The `object` crate's judgement.
    #[error("not a valid 64-bit little-endian ELF file: {0}")]
    Malformed(String),
    /// Another machine.
    #[error("the program is not for x86-64")]
    Machine,
    /// An object file or a core dump.
    #[error("the file is not an executable")]
    NotExecutable,
    /// A position-independent program where a fixed one is needed.
    #[error("the program is position-independent; link it at its address (-no-pie)")]
    PositionIndependent,
    /// No load segments.
    #[error("the program has no segments to load")]
    Empty,
    /// A segment's addresses or file range are impossible.
    #[error("segment {0}: its addresses or its bytes in the file are out of range")]
    Segment(usize),
    /// Writable and executable.
    #[error("segment {0} is writable and executable")]
    WritableCode(usize),
    /// Two segments want one page with different permissions.
    #[error("page {0:#x} belongs to two segments with different permissions")]
    SharedPage(u64),
    /// Thread-local storage needs a runtime.
    #[error("the program uses thread-local storage")]
    ThreadLocal,
    /// A relocation other than `R_X86_64_RELATIVE`.
    #[error("relocation type {kind} at {address:#x} cannot be applied; link the program statically")]
    Relocation {
        /// Type number.
        kind: u32,
        /// Where.
        address: u64,
    },
    /// The entry lies in no executable page.
    #[error("the entry {0:#x} is in no executable page")]
    Entry(u64),
}

type Segment = elf::ProgramHeader64<LittleEndian>;

impl LoadedElf {
    /// Loads a program.
    ///
    /// # Errors
    /// If the file is malformed, its permissions mix, or it needs more than relative relocations.
    pub fn load(file: &[u8], placement: Placement) -> Result<Self, ElfError> {
        let malformed = |error: object::Error| ElfError::Malformed(error.to_string());
        let elf = ElfFile64::<LittleEndian>::parse(file).map_err(malformed)?;
        if elf.elf_header().e_machine(LittleEndian) != elf::EM_X86_64 {
            return Err(ElfError::Machine);
        }
        let segments: Vec<(usize, &Segment)> = elf
            .elf_program_headers()
            .iter()
            .enumerate()
            .filter(|(_, segment)| segment.p_type(LittleEndian) == PT_LOAD)
            .collect();
        if elf.elf_program_headers().iter().any(|segment| segment.p_type(LittleEndian) == PT_TLS) {
            return Err(ElfError::ThreadLocal);
        }
        let lowest = segments.iter().map(|(_, segment)| segment.p_vaddr(LittleEndian)).min();
        let lowest = lowest.ok_or(ElfError::Empty)? & !(PAGE - 1);
        let (bias, is_physical) = match (elf.kind(), placement) {
            (ObjectKind::Executable, Placement::Virtual(_)) => (0, false),
            (ObjectKind::Executable, Placement::Physical) => (0, true),
            (ObjectKind::Dynamic, Placement::Virtual(start)) => (start.wrapping_sub(lowest), false),
            (ObjectKind::Dynamic, Placement::Physical) => return Err(ElfError::PositionIndependent),
            _ => return Err(ElfError::NotExecutable),
        };
        let mut loaded = Self { entry: 0, pages: BTreeMap::new() };
        for (index, segment) in &segments {
            let address = if is_physical {
                segment.p_paddr(LittleEndian)
            } else {
                segment.p_vaddr(LittleEndian).wrapping_add(bias)
            };
            loaded.add_segment(*index, segment, address, file)?;
        }
        if elf.kind() == ObjectKind::Dynamic {
            loaded.relocate(elf.elf_program_headers(), file, bias)?;
        }
        loaded.entry = entry_of(&segments, elf.entry(), is_physical).wrapping_add(bias);
        match loaded.pages.get(&(loaded.entry & !(PAGE - 1))) {
            Some(page) if page.executable => Ok(loaded),
            _ => Err(ElfError::Entry(loaded.entry)),
        }
    }

    fn add_segment(
        &mut self,
        index: usize,
        segment: &Segment,
        address: u64,
        file: &[u8],
    ) -> Result<(), ElfError> {
        let bytes = segment.data(LittleEndian, file).map_err(|()| ElfError::Segment(index))?;
        let memory_size = segment.p_memsz(LittleEndian);
        let end = address.checked_add(memory_size).ok_or(ElfError::Segment(index))?;
        if bytes.len() as u64 > memory_size || memory_size / PAGE > MAXIMUM_PAGES {
            return Err(ElfError::Segment(index));
        }
        let flags = segment.p_flags(LittleEndian);
        let (writable, executable) = (flags & elf::PF_W == elf::PF_W, flags & elf::PF_X == elf::PF_X);
        if writable && executable {
            return Err(ElfError::WritableCode(index));
        }
        let first = address & !(PAGE - 1);
        for page_address in (first..end).step_by(PAGE as usize) {
            let page =
                self.pages.entry(page_address).or_insert(ElfPage { writable, executable, content: None });
            if (page.writable, page.executable) != (writable, executable) {
                return Err(ElfError::SharedPage(page_address));
            }
        }
        if self.pages.len() as u64 > MAXIMUM_PAGES {
            return Err(ElfError::Segment(index));
        }
        self.write(address, bytes).map_err(|_| ElfError::Segment(index))
    }

    /// Copies bytes to an address; fails with the first address that is in no page.
    fn write(&mut self, mut address: u64, mut bytes: &[u8]) -> Result<(), u64> {
        while !bytes.is_empty() {
            let page = self.pages.get_mut(&(address & !(PAGE - 1))).ok_or(address)?;
            let content = page.content.get_or_insert_with(|| Box::new([0; PAGE as usize]));
            let (_, place) = content.split_at_mut((address & (PAGE - 1)) as usize);
            let (now, later) = bytes.split_at(bytes.len().min(place.len()));
            for (slot, byte) in place.iter_mut().zip(now) {
                *slot = *byte;
            }
            address = address.wrapping_add(now.len() as u64);
            bytes = later;
        }
        Ok(())
    }

    /// Applies the dynamic section's relocations, of which a static program has only relative ones.
    fn relocate(&mut self, segments: &[Segment], file: &[u8], bias: u64) -> Result<(), ElfError> {
        let malformed = |error: object::Error| ElfError::Malformed(error.to_string());
        let (mut table, mut table_bytes) = (0, 0);
        for segment in segments {
            for entry in segment.dynamic(LittleEndian, file).map_err(malformed)?.unwrap_or_default() {
                match entry.tag(LittleEndian) {
                    elf::DT_RELA => table = entry.d_val(LittleEndian),
                    elf::DT_RELASZ => table_bytes = entry.d_val(LittleEndian),
                    _ => {}
                }
            }
        }
        if table_bytes == 0 {
            return Ok(());
        }
        let out_of_range = || ElfError::Malformed("relocation table out of range".to_owned());
        let bytes = segments
            .iter()
            .filter(|segment| segment.p_type(LittleEndian) == PT_LOAD)
            .find_map(|segment| segment.data_range(LittleEndian, file, table, table_bytes).ok().flatten())
            .ok_or_else(out_of_range)?;
        let count = bytes.chunks_exact(size_of::<elf::Rela64<LittleEndian>>()).len();
        let (relocations, _) = object::pod::slice_from_bytes::<elf::Rela64<LittleEndian>>(bytes, count)
            .map_err(|()| out_of_range())?;
        for relocation in relocations {
            let address = relocation.r_offset(LittleEndian).wrapping_add(bias);
            let kind = relocation.r_type(LittleEndian, false);
            let error = ElfError::Relocation { kind: kind.0, address };
            if kind != elf::R_X86_64_RELATIVE {
                return Err(error);
            }
            let value = bias.wrapping_add_signed(relocation.r_addend(LittleEndian));
            self.write(address, &value.to_le_bytes()).map_err(|_| error)?;
        }
        Ok(())
    }
}

/// The entry in the space of the pages: entries are virtual, physical placement needs them translated.
fn entry_of(segments: &[(usize, &Segment)], entry: u64, is_physical: bool) -> u64 {
    if !is_physical {
        return entry;
    }
    let holder = segments.iter().find(|(_, segment)| {
        entry.wrapping_sub(segment.p_vaddr(LittleEndian)) < segment.p_memsz(LittleEndian)
    });
    holder.map_or(entry, |(_, segment)| {
        entry.wrapping_sub(segment.p_vaddr(LittleEndian)).wrapping_add(segment.p_paddr(LittleEndian))
    })
}
