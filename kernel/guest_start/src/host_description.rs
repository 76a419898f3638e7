//! How the host describes the VM, judged: its memory map, and its vCPUs. What is malformed or contradicts itself is refused.

use crate::facts::{MemoryRange, VIDEO_MEMORY};
use alloc::vec::Vec;
use snp_abi::igvm_parameters::{MAXIMUM_MEMORY_MAP_ENTRIES, MemoryKind, MemoryMapEntry, memory_ranges};

/// Most vCPUs that a list of the host's is read for.
pub const MAXIMUM_VCPUS: usize = 512;
/// The video memory may cut an entry in two.
const MOST_RANGES: usize = 2 * MAXIMUM_MEMORY_MAP_ENTRIES;

/// RAM of the host's memory map, sorted, without the video memory; none if it is malformed or lacks the firmware's region.
pub fn memory(entries: &[MemoryMapEntry], region: MemoryRange) -> Option<Vec<MemoryRange>> {
    let mut memory: Vec<MemoryRange> = Vec::new();
    memory.try_reserve_exact(MOST_RANGES).ok()?;
    for range in memory_ranges(entries) {
        let range = range.ok()?;
        if range.kind == Some(MemoryKind::Memory) {
            let end = range.start.checked_add(range.length)?;
            push_outside_video_memory(&mut memory, range.start, end);
        }
    }
    memory.sort_unstable_by_key(|range| range.start);
    let overlap = memory.windows(2).any(|pair| matches!(pair, [first, second] if first.end > second.start));
    let has_region = memory.iter().any(|range| range.holds(region.start, region.end));
    (!overlap && has_region).then_some(memory)
}

fn push_outside_video_memory(memory: &mut Vec<MemoryRange>, start: u64, end: u64) {
    for (start, end) in [(start, end.min(VIDEO_MEMORY.start)), (start.max(VIDEO_MEMORY.end), end)] {
        if start < end && memory.len() < MOST_RANGES {
            memory.push(MemoryRange { start, end });
        }
    }
}

/// APIC ids of all vCPUs, that of the boot vCPU first; none if the two things that the host says do not agree: a list of ids, and
/// how many there are. A count that is missing agrees with nothing.
pub fn apic_ids(own: u32, listed: impl Iterator<Item = u32>, count: u32) -> Option<Vec<u32>> {
    let mut ids = Vec::new();
    ids.try_reserve_exact(MAXIMUM_VCPUS).ok()?;
    ids.push(own);
    ids.extend(listed.filter(|id| *id != own).take(MAXIMUM_VCPUS - 1));
    let mut sorted = Vec::new();
    sorted.try_reserve_exact(ids.len()).ok()?;
    sorted.extend_from_slice(&ids);
    sorted.sort_unstable();
    let twice = sorted.windows(2).any(|pair| matches!(pair, [first, second] if first == second));
    (!twice && u32::try_from(ids.len()) == Ok(count)).then_some(ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;
    extern crate std;
    use std::vec;

    #[test]
    fn a_list_and_a_count_must_agree() {
        assert_eq!(apic_ids(3, [0, 1, 3, 2].into_iter(), 4), Some(vec![3, 0, 1, 2]));
        assert_eq!(apic_ids(7, [].into_iter(), 1), Some(vec![7]));
        assert_eq!(apic_ids(0, 0..MAXIMUM_VCPUS as u32, 512).map(|ids| ids.len()), Some(512));
        for count in [0, 1, 3, 5, u32::MAX] {
            assert_eq!(apic_ids(3, [0, 1, 3, 2].into_iter(), count), None, "{count}");
        }
        assert_eq!(apic_ids(0, [].into_iter(), 0), None, "a count of 0 skips nothing");
        assert_eq!(apic_ids(0, 0..513, 513), None, "more than there can be");
    }

    #[test]
    fn an_id_that_is_listed_twice_is_refused() {
        assert_eq!(apic_ids(0, [1, 2, 1].into_iter(), 4), None);
    }

    fn map(entries: &[(u64, u64)]) -> Option<Vec<MemoryRange>> {
        let entries: Vec<MemoryMapEntry> = entries
            .iter()
            .map(|(first, pages)| {
                let mut entry = MemoryMapEntry::new_zeroed();
                (entry.first_page, entry.page_count) = (*first, *pages);
                entry
            })
            .collect();
        memory(&entries, MemoryRange { start: 0x20_0000, end: 0x40_0000 })
    }

    #[test]
    fn a_memory_map_is_sorted_and_leaves_the_video_memory_out() {
        let found = map(&[(0x10_0000, 0x100), (0, 0x800)]).unwrap();
        let ranges: Vec<(u64, u64)> = found.iter().map(|range| (range.start, range.end)).collect();
        assert_eq!(ranges, [(0, 0xa_0000), (0xc_0000, 0x80_0000), (0x1_0000_0000, 0x1_0010_0000)]);
    }

    #[test]
    fn overlaps_ends_that_do_not_fit_and_a_map_without_the_region_are_refused() {
        assert_eq!(map(&[(0, 0x800), (0x700, 0x200)]), None);
        assert_eq!(map(&[(0, 0x800), (1 << 40, 1)]), None);
        assert_eq!(map(&[(0, 0x300)]), None);
        assert_eq!(map(&[(0, 0x300), (0x300, 0x500)]), None, "a region in two parts");
        assert_eq!(map(&[]), None);
    }
}
