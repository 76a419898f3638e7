//! GHCB words and offsets against numbers that were not made by this crate: values printed by a C program over
//! the header files of Linux 6.12 (`sev-common.h`, `svm.h`, `uapi/asm/svm.h`), each named by its macro or field.

use snp_abi::address::PageSize;
use snp_abi::ghcb::HypervisorFeatures;
use snp_abi::ghcb::ap_creation::{ApCreation, ApCreationRequest, InvalidApCreation};
use snp_abi::ghcb::event::{
    EventInjection, EventKind, ExitCode, HostAnswer, InvalidAnswer, IoInformation, IoSize, MalformedRequest,
};
use snp_abi::ghcb::guest_request::{GuestRequestOutcome, HostError};
use snp_abi::ghcb::msr_protocol::{CpuidRegister, MalformedMessage, Request, Response};
use snp_abi::ghcb::page::{GhcbField, GhcbPage, ValidBitmap};
use snp_abi::ghcb::page_state::{PageOperation, PageStateEntry, PageStateError, PageStateWord};
use snp_abi::ghcb::termination::Termination;
use snp_abi::rmp::Vmpl;
use zerocopy::IntoBytes;

#[test]
fn requests_have_the_words_of_linux() {
    let reason = |set, code| Request::Terminate(Termination::new(set, code).unwrap());
    let vectors = [
        (Request::UseGhcb { address: 0x0080_F000 }, 0x0080_F000),
        (Request::SevInformation, 0x002),
        // GHCB_CPUID_REQ(0x8000001f, GHCB_CPUID_REQ_EBX)
        (Request::Cpuid { function: 0x8000_001F, register: CpuidRegister::Ebx }, 0x8000_001F_4000_0004),
        (Request::ApResetHold, 0x006),
        (Request::PreferredGhcb, 0x010),
        // GHCB_MSR_REG_GPA_REQ_VAL(0x80f)
        (Request::RegisterGhcb { address: 0x0080_F000 }, 0x0080_F012),
        // GHCB_MSR_PSC_REQ_GFN(0x1234567, SNP_PAGE_STATE_PRIVATE)
        (
            Request::PageStateChange { address: 0x0012_3456_7000, operation: PageOperation::Private },
            0x0010_0012_3456_7014,
        ),
        // GHCB_MSR_PSC_REQ_GFN(0xffffffffff, SNP_PAGE_STATE_SHARED)
        (
            Request::PageStateChange { address: 0x000F_FFFF_FFFF_F000, operation: PageOperation::Shared },
            0x002F_FFFF_FFFF_F014,
        ),
        // GHCB_MSR_VMPL_REQ_LEVEL(2)
        (Request::RunVmpl { vmpl: Vmpl::Vmpl2 }, 0x0000_0002_0000_0016),
        (Request::HypervisorFeatures, 0x080),
        // GHCB_SEV_TERM_REASON(1, 11) | GHCB_MSR_TERM_REQ, and (0, 2)
        (reason(1, 11), 0x000B_1100),
        (reason(0, 2), 0x0002_0100),
    ];
    for (request, word) in vectors {
        assert_eq!(request.encode(), word, "{request:?}");
        assert_eq!(Request::decode(word), Ok(request));
    }
}

#[test]
fn responses_have_the_words_of_linux() {
    let vectors = [
        // GHCB_MSR_SEV_INFO(2ULL, 1ULL, 51)
        (
            Response::SevInformation { maximum_version: 2, minimum_version: 1, c_bit_position: 51 },
            0x0002_0001_3300_0001,
        ),
        (Response::Cpuid { value: 0x1234_5678, register: CpuidRegister::Edx }, 0x1234_5678_C000_0005),
        (Response::ApResetHold { released: true }, 0x1007),
        // GHCB_MSR_PREF_GPA_NONE
        (Response::PreferredGhcb { address: None }, 0xFFFF_FFFF_FFFF_F011),
        (Response::RegisterGhcb { address: Some(0x0080_F000) }, 0x0080_F013),
        (Response::PageStateChange { error: 0 }, 0x015),
        // GHCB_MSR_PSC_RESP_ERROR
        (Response::PageStateChange { error: 0x8000_0000 }, 0x8000_0000_0000_0015),
        (Response::RunVmpl { error: 1 }, 0x0000_0001_0000_0017),
        // GHCB_MSR_HV_FT_RESP_VAL gives 0x23 for this word
        (
            Response::HypervisorFeatures(
                HypervisorFeatures::SNP | HypervisorFeatures::AP_CREATION | HypervisorFeatures::MULTI_VMPL,
            ),
            0x0002_3081,
        ),
    ];
    for (response, word) in vectors {
        assert_eq!(response.encode(), word, "{response:?}");
        assert_eq!(Response::decode(word), Ok(response));
    }
}

#[test]
fn a_request_with_stray_bits_is_refused() {
    for word in [0x1002, 0x8000_001F_4100_0004, 0x0110_0000_0000_1014, 0x0000_0102_0000_0016, 0x0100_0100] {
        assert_eq!(Request::decode(word), Err(MalformedMessage::ReservedBits), "{word:#x}");
    }
    assert_eq!(Request::decode(0x0030_0000_0000_1014), Err(MalformedMessage::InvalidField));
    assert_eq!(Request::decode(0x0000_0004_0000_0016), Err(MalformedMessage::InvalidField));
    assert_eq!(Request::decode(0xF00), Err(MalformedMessage::UnknownCode(0xF00)));
}

#[test]
fn a_response_is_never_taken_for_a_request() {
    for code in [0x001_u64, 0x005, 0x007, 0x011, 0x013, 0x015, 0x017, 0x081] {
        assert_eq!(Request::decode(code), Err(MalformedMessage::UnknownCode(code as u16)));
        assert!(Response::decode(code).is_ok());
    }
}

#[test]
fn page_state_entries_have_the_words_of_linux() {
    let vectors = [
        // struct psc_entry: cur_page 5, gfn 0xabcde, operation 2, 4K
        (
            PageStateEntry {
                address: 0xABCD_E000,
                operation: PageOperation::Shared,
                size: PageSize::Small,
                current_page: 5,
            },
            0x0020_0000_ABCD_E005,
        ),
        // gfn 0x8000, operation 1, 2M
        (PageStateEntry::new(0x0800_0000, PageOperation::Private, PageSize::Large), 0x0110_0000_0800_0000),
    ];
    for (entry, word) in vectors {
        assert_eq!(entry.encode(), PageStateWord(word));
        assert_eq!(PageStateEntry::decode(PageStateWord(word)), Ok(entry));
    }
    // An unaligned 2 MiB page, an unknown operation, a reserved bit.
    for word in [0x0110_0000_0800_1000, 0x0050_0000_0000_1000, 0x0210_0000_0000_1000] {
        assert!(PageStateEntry::decode(PageStateWord(word)).is_err(), "{word:#x}");
    }
}

#[test]
fn page_state_errors_have_the_words_of_linux() {
    // VMGEXIT_PSC_ERROR_INVALID_HDR, _INVALID_ENTRY, _GENERIC
    assert_eq!(PageStateError::InvalidHeader.encode(), 0x1_0000_0001);
    assert_eq!(PageStateError::InvalidEntry.encode(), 0x1_0000_0002);
    assert_eq!(PageStateError::Generic.encode(), 0x100_0000_0000);
    assert_eq!(PageStateError::decode(0), None);
    assert_eq!(PageStateError::decode(7), Some(PageStateError::Generic));
}

#[test]
fn exit_codes_are_those_of_linux() {
    // uapi/asm/svm.h: SVM_EXIT_* and SVM_VMGEXIT_*
    let vectors = [
        (ExitCode::Cpuid, 0x072),
        (ExitCode::Ioio, 0x07B),
        (ExitCode::Msr, 0x07C),
        (ExitCode::Rdtsc, 0x06E),
        (ExitCode::NestedPageFault, 0x400),
        (ExitCode::MmioRead, 0x8000_0001),
        (ExitCode::PageStateChange, 0x8000_0010),
        (ExitCode::GuestRequest, 0x8000_0011),
        (ExitCode::ExtendedGuestRequest, 0x8000_0012),
        (ExitCode::ApCreation, 0x8000_0013),
        (ExitCode::RunVmpl, 0x8000_0018),
        (ExitCode::HypervisorFeatures, 0x8000_FFFD),
        (ExitCode::Terminate, 0x8000_FFFE),
        (ExitCode::Unsupported, 0x8000_FFFF),
    ];
    for (code, number) in vectors {
        assert_eq!(code.to_wire(), number);
        assert_eq!(ExitCode::from_wire(number), Some(code));
    }
    assert_eq!(ExitCode::from_wire(0x403), None);
}

#[test]
fn io_information_of_a_serial_port_write() {
    // out dx, al to port 0x3F8, 64-bit addressing: SVM IOIO intercept layout (port 31:16, SZ8 bit 4, A64 bit 9).
    let out = IoInformation::plain(0x3F8, IoSize::Byte, false);
    assert_eq!(out.encode(), 0x03F8_0210);
    assert_eq!(IoInformation::plain(0x60, IoSize::Dword, true).encode(), 0x0060_0241);
    assert_eq!(IoInformation::decode(0x03F8_0210), Ok(out));
    for word in [0x03F8_0200_u64, 0x03F8_0230, 0x03F8_0310, 0x03F8_0212, 0x1_03F8_0210, 0x03F8_2210] {
        assert!(IoInformation::decode(word).is_err(), "{word:#x}");
    }
}

#[test]
fn the_host_may_inject_only_what_the_guest_caused() {
    // SVM_EVTINJ_VALID | SVM_EVTINJ_VALID_ERR | SVM_EVTINJ_TYPE_EXEPT | 13
    assert_eq!(EventInjection::GENERAL_PROTECTION.encode(), 0x8000_0B0D);
    assert_eq!(EventInjection::INVALID_OPCODE.encode(), 0x8000_0306);
    let page_fault = EventInjection { vector: 14, kind: EventKind::Exception, error_code: Some(2) };
    assert_eq!(HostAnswer::decode(1, page_fault.encode()), Err(InvalidAnswer));
    assert_eq!(HostAnswer::decode(1, 0x0000_0B0D), Err(InvalidAnswer));
    let answer = HostAnswer::Exception(EventInjection::GENERAL_PROTECTION);
    assert_eq!(HostAnswer::decode(1, 0x8000_0B0D), Ok(answer));
    assert_eq!(HostAnswer::decode(2, 3), Ok(HostAnswer::Malformed(MalformedRequest::InvalidScratchArea)));
    assert_eq!(HostAnswer::decode(2, 7), Err(InvalidAnswer));
    assert_eq!(HostAnswer::decode(3, 0), Err(InvalidAnswer));
    // Only bits 31:0 of the first word are the answer.
    assert_eq!(HostAnswer::decode(1 << 32, 5), Ok(HostAnswer::Done { information: 5 }));
}

#[test]
fn ap_creation_of_a_level_2_vcpu() {
    let creation = ApCreation { apic_id: 3, vmpl: Vmpl::Vmpl2, request: ApCreationRequest::Create };
    assert_eq!(creation.encode(), 0x0000_0003_0002_0001);
    assert_eq!(ApCreation::decode(0x0000_0003_0002_0001), Ok(creation));
    for word in [0x0003_u64, 0x0004_0001, 0x0100_0001, 0x9] {
        assert_eq!(ApCreation::decode(word), Err(InvalidApCreation), "{word:#x}");
    }
}

#[test]
fn a_throttled_guest_request_is_seen_as_busy() {
    assert_eq!(GuestRequestOutcome::decode(2 << 32), GuestRequestOutcome::Host(HostError::Busy));
    assert_eq!(GuestRequestOutcome::decode(1 << 32), GuestRequestOutcome::Host(HostError::BufferTooSmall));
    assert_eq!(GuestRequestOutcome::decode(0x16), GuestRequestOutcome::Firmware(0x16));
    assert_eq!(GuestRequestOutcome::decode(0), GuestRequestOutcome::Answered);
    // Both halves set: the PSP was not asked.
    assert_eq!(GuestRequestOutcome::decode(2 << 32 | 0x16), GuestRequestOutcome::Host(HostError::Busy));
}

#[test]
fn valid_bits_follow_the_offsets() {
    let bits = [
        (GhcbField::Rax, 63),
        (GhcbField::Rbx, 99),
        (GhcbField::Rcx, 97),
        (GhcbField::Rdx, 98),
        (GhcbField::Cpl, 25),
        (GhcbField::Xss, 40),
        (GhcbField::SwExitCode, 114),
        (GhcbField::SwExitInfo1, 115),
        (GhcbField::SwExitInfo2, 116),
        (GhcbField::SwScratch, 117),
        (GhcbField::Xcr0, 125),
    ];
    for (field, bit) in bits {
        assert_eq!(field.valid_bit(), bit, "{field:?}");
    }
    let map = ValidBitmap::default().with(GhcbField::Rax).with(GhcbField::SwExitCode);
    assert_eq!((map.low, map.high), (1 << 63, 1 << 50));
    assert!(map.contains(GhcbField::Rax) && !map.contains(GhcbField::Rcx));
}

#[test]
fn a_field_is_read_only_when_marked_valid() {
    let mut page = GhcbPage::empty();
    page.rax = 7;
    assert_eq!(page.read(GhcbField::Rax), None);
    page.write(GhcbField::Rax, 9);
    page.write(GhcbField::Cpl, 3);
    page.write(GhcbField::R8, 8);
    assert_eq!(page.read(GhcbField::Rax), Some(9));
    assert_eq!(page.read(GhcbField::Cpl), Some(3));
    let bytes = page.as_bytes();
    assert_eq!(bytes[0x1F8..0x200], 9_u64.to_le_bytes());
    assert_eq!(bytes[0x340..0x348], 8_u64.to_le_bytes());
    assert_eq!(bytes[0xCB], 3);
    assert_eq!(bytes[0xFFA..0x1000], [2, 0, 0, 0, 0, 0]);
}
