//! VMs of all sizes start with the memory that is set aside for the ledger, and with none besides.

use crate::vm::GUEST;
use boot_handoff::{ElfGuest, Guest, GuestPages, GuestRecord, PageRange};
use guest_start::{GuestMemory, MemoryRange, Surroundings, VmFacts};
use snp_abi::address::PageSize;
use snp_abi::cpuid::CpuidPage;
use snp_abi::ghcb::guest_request::GuestRequestOutcome;
use snp_abi::secrets::SecretsPage;
use svsm_protocol::{
    GuestAccess, GuestAddress, GuestPage, GuestVcpus, Ledger, Lost, Machine, MessagePage, PageState,
    PspChannel, RmpError, Svsm, Validation,
};
use zerocopy::FromZeros;

/// A machine that does everything and remembers nothing: its VM may be as large as it likes.
struct Obedient;

impl Machine for Obedient {
    fn read(&mut self, _: GuestPage, _: usize, bytes: &mut [u8]) -> Result<(), Lost> {
        bytes.fill(0);
        Ok(())
    }

    fn write(&mut self, _: GuestPage, _: usize, _: &[u8]) -> Result<(), Lost> {
        Ok(())
    }

    fn request(&mut self, _: GuestPage, _: PageSize) {}

    fn take_back(&mut self, _: GuestPage, _: PageSize) {}

    fn zero(&mut self, _: GuestPage, _: PageSize) -> Result<(), Lost> {
        Ok(())
    }

    fn pvalidate(&mut self, _: GuestPage, _: PageSize, _: bool) -> Result<Validation, RmpError> {
        Ok(Validation::Changed)
    }

    fn set_access(&mut self, _: GuestPage, _: PageSize, _: GuestAccess) -> Result<(), RmpError> {
        Ok(())
    }

    fn flush_translations(&mut self) {}

    fn guest_request(
        &mut self,
        _: &MessagePage,
        _: &mut MessagePage,
        _: Option<&mut [u8]>,
    ) -> Option<GuestRequestOutcome> {
        None
    }
}

const REGION: MemoryRange = MemoryRange { start: 0x800_0000, end: 0x900_0000 };

/// Starts a guest in a VM of this size, and gives it all of its memory in large pages. Returns the ledger's bytes.
fn start(bytes: u64) -> usize {
    let memory = [MemoryRange { start: 0, end: 0x8000_0000 }, MemoryRange { start: 1 << 32, end: bytes }];
    let ranges = memory.map(|range| (range.start, range.end));
    let words = Ledger::words(&ranges).unwrap();
    let (ledger, stopped) = Ledger::new(vec![0; words].leak(), &ranges, &ranges).unwrap();
    ledger.assign(&stopped, REGION.start, 4096, PageState::Own).unwrap();
    let apic_ids: Vec<u32> = (0..512).collect();
    let svsm = Svsm {
        ledger,
        vcpus: GuestVcpus::new(&apic_ids).unwrap(),
        guest_vmpl: GUEST.to_wire(),
        channel: PspChannel::closed(),
        vtpm: None,
    };
    let cpuid = CpuidPage::new_zeroed();
    let facts = VmFacts {
        memory: &memory,
        apic_ids: &apic_ids,
        region: REGION,
        c_bit: 1 << 51,
        cpuid: &cpuid,
        sev_features: 1,
        vmpl: GUEST,
    };
    let pages = |start| GuestPages::from_ranges(&[PageRange { start, pages: 4 }]).unwrap();
    let guest = ElfGuest { entry: 0x10_0000, pages: pages(0x10_0000), zeroed: pages(bytes - 0x4000) };
    let mut surroundings = Surroundings {
        memory: GuestMemory { facts: &facts, svsm: &svsm, stopped: &stopped, machine: &mut Obedient },
        files: None,
        secrets: &|_| SecretsPage::new_zeroed(),
    };
    let ready = guest_start::prepare(&GuestRecord::encode(Guest::Elf(&guest)), &mut surroundings);
    assert!(matches!(ready, Ok(Some(_))), "{bytes:#x} {ready:?}");
    let given = surroundings.memory.provide_all().unwrap();
    // All but the region and the few pages that it has already.
    assert!(given > memory.iter().map(|range| range.end - range.start).sum::<u64>() - (32 << 20));
    assert_eq!(svsm.ledger.state(GuestAddress(bytes - 0x1000)), PageState::Guest);
    words * size_of::<u64>()
}

#[test]
fn vms_of_512_gib_and_1_tib_start() {
    for gib in [8, 64, 512, 1024] {
        let bytes = gib << 30;
        let ledger = start(bytes) as u64;
        assert!(ledger * 5000 <= bytes, "{gib} GiB: {ledger} bytes are more than 0.02 %");
    }
}
