//! The record is written once by the image builder and read by two programs: what is written is what is read, and
//! what is not a record is refused.

use boot_handoff::{
    BlobDigest, ElfGuest, FirmwareGuest, FirmwareSection, Guest, GuestPages, GuestRecord, Handoff,
    InvalidHandoff, KernelSegment, LinuxGuest, MAGIC, MAXIMUM_GUEST_RANGES, PageRange, VERSION, permission,
};
use proptest::prelude::*;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

#[repr(align(4096))]
struct Page([u8; 4096]);

fn handoff(guest: Guest<'_>) -> Handoff {
    let mut handoff = Handoff::new_zeroed();
    handoff.magic = MAGIC;
    handoff.version = VERSION;
    handoff.region = PageRange { start: 0x0800_0000, pages: 0x1000 };
    handoff.launched = PageRange { start: 0x0800_0000, pages: 100 };
    handoff.stage2_validates = PageRange { start: 0x0806_4000, pages: 12 };
    handoff.segments[0] = KernelSegment {
        virtual_start: 0xFFFF_FFFF_8000_0000,
        physical: PageRange { start: 0x0801_0000, pages: 40 },
        permissions: permission::EXECUTE,
        reserved: 0,
    };
    handoff.segment_count = 1;
    handoff.guest = GuestRecord::encode(guest);
    handoff
}

fn page(handoff: &Handoff) -> Page {
    let mut page = Page([0; 4096]);
    handoff.write_to_prefix(&mut page.0).unwrap();
    page
}

fn blob(fill: u8) -> BlobDigest {
    BlobDigest { length: u64::from(fill), sha384: [fill; 48], embedded_at: 0 }
}

#[test]
fn each_kind_of_guest_is_read_back() {
    let pages = GuestPages::from_ranges(&[PageRange { start: 0x10_0000, pages: 3 }]).unwrap();
    let elf = ElfGuest { entry: 0x10_0000, pages, zeroed: GuestPages::from_ranges(&[]).unwrap() };
    let linux = LinuxGuest { kernel: blob(1), initrd: blob(2), command_line: blob(3) };
    let mut firmware = FirmwareGuest::new_zeroed();
    firmware.pages = pages;
    firmware.section_count = 1;
    firmware.sections[0] = FirmwareSection { start: 0x80_0000, length: 0x9000, kind: 1 };
    let guests = [Guest::None, Guest::Elf(&elf), Guest::Linux(&linux), Guest::Firmware(&firmware)];
    for guest in guests {
        let page = page(&handoff(guest));
        let read = Handoff::parse(&page.0).unwrap();
        assert_eq!(read.guest.decode(), Ok(guest));
    }
    assert_eq!(elf.pages.ranges(), [PageRange { start: 0x10_0000, pages: 3 }]);
    assert_eq!(firmware.sections().len(), 1);
}

#[test]
fn the_free_part_is_what_nobody_validated() {
    let handoff = handoff(Guest::None);
    let free = handoff.free().unwrap();
    assert_eq!(free, PageRange { start: 0x0807_0000, pages: 0x1000 - 112 });
    assert_eq!(free.end(), handoff.region.end());
    assert_eq!(handoff.segments().len(), 1);
}

#[test]
fn ranges_know_what_they_hold() {
    let range = PageRange { start: 0x1000, pages: 2 };
    assert!(range.contains(0x1000) && range.contains(0x2FFF));
    assert!(!range.contains(0xFFF) && !range.contains(0x3000));
    assert!(!PageRange { start: 0x1000, pages: u64::MAX }.contains(0x1000));
    assert!(!PageRange::default().contains(0));
}

#[test]
fn another_magic_or_version_is_refused() {
    let good = handoff(Guest::None);
    assert_eq!(page(&good).0[..12], *b"VOUCHSAF\x02\0\0\0");
    let refused = |change: fn(&mut Handoff)| {
        let mut handoff = good.clone();
        change(&mut handoff);
        Handoff::parse(&page(&handoff).0).err()
    };
    assert_eq!(refused(|handoff| handoff.magic[0] = b'W'), Some(InvalidHandoff::Magic));
    assert_eq!(refused(|handoff| handoff.version = 1), Some(InvalidHandoff::Version(1)));
    assert_eq!(refused(|handoff| handoff.segment_count = 9), Some(InvalidHandoff::Count));
    assert_eq!(Handoff::parse(&[0; 64]).err(), Some(InvalidHandoff::Length));
}

#[test]
fn impossible_guests_are_refused() {
    let mut elf = ElfGuest::new_zeroed();
    elf.pages.count = MAXIMUM_GUEST_RANGES as u64 + 1;
    assert_eq!(GuestRecord::encode(Guest::Elf(&elf)).decode(), Err(InvalidHandoff::Count));
    let mut firmware = FirmwareGuest::new_zeroed();
    firmware.section_count = 17;
    assert_eq!(GuestRecord::encode(Guest::Firmware(&firmware)).decode(), Err(InvalidHandoff::Count));
    let mut record = GuestRecord::encode(Guest::None);
    record.as_mut_bytes()[0] = 4;
    assert_eq!(record.decode(), Err(InvalidHandoff::GuestKind(4)));
    let ranges = [PageRange::default(); MAXIMUM_GUEST_RANGES + 1];
    assert_eq!(GuestPages::from_ranges(&ranges), None);
}

proptest! {
    #[test]
    fn any_bytes_are_judged_without_panic(bytes in prop::collection::vec(any::<u8>(), 4096), kind in 0..5_u8) {
        let mut page = Page(bytes.try_into().unwrap());
        page.0[..12].copy_from_slice(b"VOUCHSAF\x02\0\0\0");
        let mut handoff = Handoff::read_from_prefix(&page.0).unwrap().0;
        handoff.segment_count %= 10;
        handoff.guest.as_mut_bytes()[..4].copy_from_slice(&[kind, 0, 0, 0]);
        handoff.write_to_prefix(&mut page.0).unwrap();
        if let Ok(handoff) = Handoff::parse(&page.0) {
            let _ = handoff.free();
            prop_assert!(handoff.segments().len() <= 8);
        }
    }
}
