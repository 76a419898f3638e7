//! Builds four-level page tables for the start of the kernel (AMD 24593 volume 2, 5.3).
//!
//! The C-bit is left out: its position is known only on the machine, and stage2 adds it to every present entry.

/// Bytes of a page and of a table.
const PAGE: u64 = 0x1000;
/// Entries of a table.
const ENTRIES: usize = 512;

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const NO_EXECUTE: u64 = 1 << 63;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;

/// What a mapping allows besides reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Writing.
    pub write: bool,
    /// Fetching instructions.
    pub execute: bool,
}

impl Access {
    /// Reading only.
    pub const READ: Self = Self { write: false, execute: false };
    /// Reading and writing.
    pub const READ_WRITE: Self = Self { write: true, execute: false };
}

/// Tables under construction; the first is the root.
#[derive(Debug)]
pub struct PageTables {
    base: u64,
    tables: Vec<[u64; ENTRIES]>,
}

/// A virtual page that is mapped twice, or an address that is not canonical.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("virtual address {0:#x} is mapped twice, or is not canonical")]
pub struct MappingError(pub u64);

impl PageTables {
    /// Empty tables that will lie at `base`, the root first.
    #[must_use]
    pub fn new(base: u64) -> Self {
        Self { base, tables: vec![[0; ENTRIES]] }
    }

    /// Maps one page. Accessed and dirty bits are set, so that the processor never writes to a table.
    ///
    /// # Errors
    /// If the page is mapped already or the address is not canonical.
    pub fn map(&mut self, virtual_page: u64, physical: u64, access: Access) -> Result<(), MappingError> {
        let table = self.leaf_table(virtual_page)?;
        let entry = &mut self.tables[table][index(virtual_page, 0)];
        if *entry != 0 {
            return Err(MappingError(virtual_page));
        }
        *entry = physical & ADDRESS | PRESENT | ACCESSED;
        if access.write {
            *entry |= WRITABLE | DIRTY;
        }
        if !access.execute {
            *entry |= NO_EXECUTE;
        }
        Ok(())
    }

    /// Maps one 2 MiB page, readable and writable.
    ///
    /// # Errors
    /// If any part of it is mapped already or the address is not canonical.
    pub fn map_large(&mut self, virtual_page: u64, physical: u64) -> Result<(), MappingError> {
        let table = self.table(virtual_page, 1)?;
        let entry = &mut self.tables[table][index(virtual_page, 1)];
        if *entry != 0 {
            return Err(MappingError(virtual_page));
        }
        *entry = physical & ADDRESS | PRESENT | ACCESSED | WRITABLE | DIRTY | NO_EXECUTE | LARGE;
        Ok(())
    }

    fn leaf_table(&mut self, virtual_page: u64) -> Result<usize, MappingError> {
        self.table(virtual_page, 0)
    }

    /// The table that holds the entry of a page at a level, 0 being that of 4 KiB pages.
    fn table(&mut self, virtual_page: u64, leaf: u32) -> Result<usize, MappingError> {
        if !is_canonical(virtual_page) {
            return Err(MappingError(virtual_page));
        }
        let mut table = 0;
        for level in (leaf + 1..=3).rev() {
            let slot = index(virtual_page, level);
            if self.tables[table][slot] & LARGE != 0 {
                return Err(MappingError(virtual_page));
            }
            if self.tables[table][slot] == 0 {
                let physical = self.base + self.tables.len() as u64 * PAGE;
                self.tables[table][slot] = physical | PRESENT | WRITABLE | ACCESSED;
                self.tables.push([0; ENTRIES]);
            }
            table = (((self.tables[table][slot] & ADDRESS) - self.base) / PAGE) as usize;
        }
        Ok(table)
    }

    /// Number of tables.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tables.len()
    }

    /// Never: there is always a root.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The tables' bytes, page by page.
    pub fn pages(&self) -> impl Iterator<Item = Box<[u8; PAGE as usize]>> {
        self.tables.iter().map(|table| {
            let mut page = Box::new([0; PAGE as usize]);
            for (place, entry) in page.chunks_exact_mut(8).zip(table) {
                place.copy_from_slice(&entry.to_le_bytes());
            }
            page
        })
    }

    /// Physical address and access of a mapped address, by walking the tables.
    #[must_use]
    pub fn translate(&self, address: u64) -> Option<(u64, Access)> {
        let mut table = 0;
        for level in (0..=3).rev() {
            let entry = self.tables[table][index(address, level)];
            if entry & PRESENT == 0 {
                return None;
            }
            if level == 0 || entry & LARGE != 0 {
                let offset = (PAGE << (9 * level)) - 1;
                let access = Access { write: entry & WRITABLE != 0, execute: entry & NO_EXECUTE == 0 };
                return Some((entry & ADDRESS & !offset | address & offset, access));
            }
            table = (((entry & ADDRESS) - self.base) / PAGE) as usize;
        }
        None
    }
}

fn index(address: u64, level: u32) -> usize {
    (address >> (12 + 9 * level)) as usize % ENTRIES
}

fn is_canonical(address: u64) -> bool {
    matches!(address as i64 >> 47, 0 | -1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_page_is_found_and_its_neighbour_is_not() {
        let mut tables = PageTables::new(0x80_0000);
        tables.map(0xFFFF_FFFF_8000_0000, 0x1234_5000, Access { write: false, execute: true }).unwrap();
        tables.map(0xFFFF_FFFF_8000_1000, 0x1234_6000, Access::READ_WRITE).unwrap();
        let text = Access { write: false, execute: true };
        assert_eq!(tables.translate(0xFFFF_FFFF_8000_0123), Some((0x1234_5123, text)));
        assert_eq!(tables.translate(0xFFFF_FFFF_8000_1FFF), Some((0x1234_6FFF, Access::READ_WRITE)));
        assert_eq!(tables.translate(0xFFFF_FFFF_8000_2000), None);
        assert_eq!(tables.len(), 4);
    }

    #[test]
    fn entries_are_the_manuals() {
        let mut tables = PageTables::new(0x80_0000);
        tables.map(0x1000, 0x5000, Access { write: false, execute: true }).unwrap();
        tables.map(0x2000, 0x6000, Access::READ_WRITE).unwrap();
        let pages: Vec<_> = tables.pages().collect();
        assert_eq!(pages[0][..8], 0x80_1023_u64.to_le_bytes());
        assert_eq!(pages[3][8..16], 0x5021_u64.to_le_bytes());
        assert_eq!(pages[3][16..24], 0x8000_0000_0000_6063_u64.to_le_bytes());
    }

    #[test]
    fn a_page_is_mapped_once_and_only_at_a_canonical_address() {
        let mut tables = PageTables::new(0);
        tables.map(0x1000, 0x5000, Access::READ).unwrap();
        assert_eq!(tables.map(0x1000, 0x5000, Access::READ), Err(MappingError(0x1000)));
        let hole = 0x0000_8000_0000_0000;
        assert_eq!(tables.map(hole, 0, Access::READ), Err(MappingError(hole)));
    }
}
