//! The memory map that QEMU's q35 gives to IGVM images (QEMU hw/i386/pc.c, pc_q35.c, backends/igvm.c:543).

/// A row: first page, pages, type (0 memory, 1 reserved by the platform).
pub type Row = (u64, u64, u16);

/// From here on memory is split: 2 GiB below, the rest at 4 GiB (pc_q35.c:161).
pub const SPLIT_FROM: u64 = 0xb000_0000;
/// Bytes below 4 GiB where it is split.
pub const SPLIT_LOW: u64 = 2 << 30;
const ABOVE: u64 = 4 << 30;
const PAGE: u64 = 4096;
/// KVM's identity map and TSS pages (target/i386/kvm/kvm.c:3330).
const KVM_PAGES: Row = (0xf_effc, 4, 1);
/// What AMD's processors keep for HyperTransport: on every AMD model with 40 or more physical bits (pc.c:858).
const HYPER_TRANSPORT: Row = (0xfd_0000_0000 / PAGE, 0x3_0000_0000 / PAGE, 1);
/// The rows that are no memory, ascending.
pub const RESERVED: [Row; 2] = [KVM_PAGES, HYPER_TRANSPORT];
/// Where memory above 4 GiB goes if it would reach the former.
const ABOVE_HYPER_TRANSPORT: u64 = 0x100_0000_0000;

/// The rows of a machine with this much memory, ascending.
pub fn rows(memory: u64) -> impl Iterator<Item = Row> {
    let low = if memory >= SPLIT_FROM { SPLIT_LOW } else { memory };
    let high = memory.saturating_sub(low);
    let reaches = ABOVE.saturating_add(high) > HYPER_TRANSPORT.0 * PAGE;
    let start = if reaches { ABOVE_HYPER_TRANSPORT } else { ABOVE };
    let low = Some((0, low / PAGE, 0));
    let high = (high != 0).then_some((start / PAGE, high / PAGE, 0));
    let (before, behind) = if reaches { (None, high) } else { (high, None) };
    [low, Some(KVM_PAGES), before, Some(HYPER_TRANSPORT), behind].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    extern crate alloc;
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn rows_are_those_of_qemu_and_ascend() {
        let gib = |count: u64| rows(count << 30).collect::<Vec<_>>();
        assert_eq!(gib(1), [(0, 0x4_0000, 0), (0xf_effc, 4, 1), (0xfd0_0000, 0x30_0000, 1)]);
        assert_eq!(
            gib(8),
            [(0, 0x8_0000, 0), (0xf_effc, 4, 1), (0x10_0000, 0x18_0000, 0), (0xfd0_0000, 0x30_0000, 1)]
        );
        for memory in [1, 2, 3, 1000, 1010, 1100] {
            assert!(gib(memory).is_sorted(), "{memory} GiB");
        }
    }
}
