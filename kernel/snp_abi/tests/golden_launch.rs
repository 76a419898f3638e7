//! Launch digest, ID block and signature structures against values made by other programs.

use snp_abi::id_block::{ID_BLOCK_VERSION, IdAuthentication, IdBlock};
use snp_abi::launch::{KVM_VMSA_ADDRESS, LaunchDigest, PageType};
use snp_abi::policy::GuestPolicy;
use snp_abi::signature::{EcdsaPublicKey, EcdsaSignature};
use snp_abi::vmsa::Vmsa;
use zerocopy::{FromZeros, IntoBytes};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn page(byte_0: u8, rest: u8) -> [u8; 4096] {
    let mut page = [rest; 4096];
    page[0] = byte_0;
    page
}

/// The digest of six pages and a VMSA; `zero_type` is how the page of zeros is launched.
fn digest(zero_type: PageType) -> String {
    let zeros = [0; 4096];
    let mut vmsa = Vmsa::new_zeroed();
    vmsa.rip = 0x10000;
    vmsa.sev_features = 1;
    vmsa.efer = 0x1000;
    vmsa.xcr0 = 1;
    let mut digest = LaunchDigest::new();
    digest.add_page(PageType::Normal, 0x10000, &page(0x90, 0xF4));
    digest.add_page(zero_type, 0x11000, &zeros);
    digest.add_page(PageType::Secrets, 0x12000, &zeros);
    digest.add_page(PageType::Cpuid, 0x13000, &zeros);
    digest.add_page(PageType::Unmeasured, 0x14000, &zeros);
    digest.add_page(PageType::Unmeasured, 0x15000, &zeros);
    let vmsa: &[u8; 4096] = vmsa.as_bytes().try_into().unwrap();
    digest.add_page(PageType::Vmsa, KVM_VMSA_ADDRESS, vmsa);
    hex(&digest.bytes())
}

#[test]
fn the_digest_is_the_igvm_crates_and_sev_snp_measures() {
    // igvm 0.5.0 generate_snp_measurement and sevsnpmeasure 0.0.13 gctx.GCTX agree on this value.
    assert_eq!(
        digest(PageType::Normal),
        "fcad868f97d8c00e8cba1c12dfb90b114de42b425f2c6a64d5d4b456948c7f5e15261c3f6160d7e2a94b89df96755be0"
    );
}

#[test]
fn a_zero_page_is_not_a_page_of_zeros() {
    // A separate implementation with Python's hashlib.
    assert_eq!(
        digest(PageType::Zero),
        "fb42090addc3396a151cf18d2c9de7526a9271979f23dbed79cf58d1f3d5e8e7d84109130ac825f4ad35573a51a6ac89"
    );
}

#[test]
fn unmeasured_content_does_not_change_the_digest() {
    for page_type in [PageType::Zero, PageType::Unmeasured, PageType::Secrets, PageType::Cpuid] {
        let (mut first, mut second) = (LaunchDigest::new(), LaunchDigest::new());
        first.add_page(page_type, 0x1000, &[0; 4096]);
        second.add_page(page_type, 0x1000, &[0xFF; 4096]);
        assert_eq!(first, second, "{page_type:?}");
        second.add_page(page_type, 0x2000, &[0; 4096]);
        assert_ne!(first, second);
    }
}

#[test]
fn an_id_block_is_96_bytes_in_the_psps_order() {
    let block = IdBlock {
        launch_digest: [0x11; 48],
        family_id: [0x22; 16],
        image_id: [0x33; 16],
        version: ID_BLOCK_VERSION,
        guest_svn: 7,
        policy: GuestPolicy::DEFAULT,
    };
    let mut expected = vec![0x11; 48];
    expected.extend([0x22; 16]);
    expected.extend([0x33; 16]);
    expected.extend([1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0]);
    assert_eq!(block.as_bytes(), expected);
}

#[test]
fn numbers_of_keys_and_signatures_are_little_endian_in_72_bytes() {
    let mut number = [0; 48];
    number[0] = 0xAA;
    number[47] = 0x01;
    let signature = EcdsaSignature::new(&number, &[0x55; 48]);
    let bytes = signature.as_bytes();
    assert_eq!((bytes[0], bytes[47], bytes[48]), (0x01, 0xAA, 0));
    assert_eq!(bytes[0x48..0x48 + 48], [0x55; 48]);
    assert_eq!(signature.r.to_big_endian(), Some(number));

    let key = EcdsaPublicKey::new(&number, &[0x66; 48]);
    let bytes = key.as_bytes();
    assert_eq!(bytes[..4], [2, 0, 0, 0]);
    assert_eq!((bytes[4], bytes[4 + 47]), (0x01, 0xAA));
    assert_eq!(bytes[0x4C..0x4C + 48], [0x66; 48]);
}

#[test]
fn a_number_beyond_384_bits_is_refused() {
    let mut signature = EcdsaSignature::new(&[0; 48], &[0; 48]);
    signature.as_mut_bytes()[48] = 1;
    assert_eq!(signature.r.to_big_endian(), None);
}

#[test]
fn the_key_digest_covers_all_1028_bytes() {
    // Python: hashlib.sha384(struct.pack("<I", 2) + b"\x01" * 48 + bytes(24) + b"\x02" * 48 + bytes(24) + bytes(880))
    let key = EcdsaPublicKey::new(&[1; 48], &[2; 48]);
    assert_eq!(hex(&key.digest()), KEY_DIGEST);
}
const KEY_DIGEST: &str =
    "e65d741eae0b26844e8c3c2a215a5b42f84ab7f308ca0a0fc3a1ec0cfb5e9b05d9585314cfba3181f8a1a53803e8ecfd";

#[test]
fn an_author_key_is_announced_by_its_algorithm() {
    let key = EcdsaPublicKey::new(&[1; 48], &[2; 48]);
    let signature = EcdsaSignature::new(&[3; 48], &[4; 48]);
    let alone = IdAuthentication::new(key.clone(), signature.clone());
    assert_eq!(alone.as_bytes()[..8], [1, 0, 0, 0, 0, 0, 0, 0]);
    let both = alone.with_author(key, signature);
    assert_eq!(both.as_bytes()[..8], [1, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(both.as_bytes()[0x680], 3);
    assert_eq!(both.as_bytes()[0x880], 2);
}
