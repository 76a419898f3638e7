//! Keys that come from outside under a parent: whether their two areas belong together is seen before anything uses them.

mod driver;

use driver::{Driver, sized};
use hex_literal::hex;

const OWNER: u32 = 0x4000_0001;
/// The generator of P-256: the public point of the scalar one.
const X: [u8; 32] = hex!("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296");
const Y: [u8; 32] = hex!("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5");

/// TPMA_OBJECT of storage keys: restricted, decrypt, userWithAuth, sensitiveDataOrigin; with fixedTPM and fixedParent.
const MOVABLE: u32 = 0x0003_0060;
const FIXED: u32 = 0x0003_0072;

const TPM_RC_BINDING: u32 = 0x0A5;
const TPM_RC_KEY_SIZE_OF_THE_DUPLICATE: u32 = 0x3C7;
const TPM_RC_KEY_SIZE_OF_THE_PRIVATE_AREA: u32 = 0x1C7;
const TPM_RC_INTEGRITY_OF_THE_PRIVATE_AREA: u32 = 0x1DF;

/// A primary AES key that others can be under.
fn parent(tpm: &mut Driver, attributes: u32) -> u32 {
    let mut public = vec![0x00, 0x25, 0x00, 0x0B];
    public.extend(attributes.to_be_bytes());
    public.extend([0, 0, 0x00, 0x06, 0x00, 0x80, 0x00, 0x43, 0, 0]);
    let create = tpm.command(0x131).handle(OWNER).password(b"").bytes(&sized(&[0, 0, 0, 0]));
    create.bytes(&sized(&public)).sized(b"").u32(0).run().unwrap().handle
}

/// A P-256 signing key with the generator as its point.
fn public() -> Vec<u8> {
    let mut public = vec![0x00, 0x23, 0x00, 0x0B, 0x00, 0x04, 0x00, 0x40, 0, 0];
    public.extend([0x00, 0x10, 0x00, 0x10, 0x00, 0x03, 0x00, 0x10]);
    public.extend([sized(&X), sized(&Y)].concat());
    sized(&public)
}

/// TPM2B_SENSITIVE, which without wrappers is a duplicate.
fn duplicate(scalar: u8, seed: &[u8]) -> Vec<u8> {
    let mut secret = [0; 32];
    secret[31] = scalar;
    sized(&[&[0x00, 0x23, 0, 0][..], &sized(seed), &sized(&secret)].concat())
}

/// TPM2_Import: the private area.
fn import(tpm: &mut Driver, parent: u32, duplicate: &[u8]) -> Result<Vec<u8>, u32> {
    let import = tpm.command(0x156).handle(parent).password(b"").sized(b"").bytes(&public());
    import.sized(duplicate).sized(b"").u16(0x10).run().map(|answer| answer.sized(0).to_vec())
}

fn load(tpm: &mut Driver, parent: u32, private: &[u8]) -> Result<u32, u32> {
    let load = tpm.command(0x157).handle(parent).password(b"").sized(private).bytes(&public());
    load.run().map(|answer| answer.handle)
}

#[test]
fn a_key_whose_areas_belong_together_is_loaded_under_any_parent() {
    for attributes in [FIXED, MOVABLE] {
        let mut tpm = Driver::started();
        let parent = parent(&mut tpm, attributes);
        let private = import(&mut tpm, parent, &duplicate(1, b"")).unwrap();
        load(&mut tpm, parent, &private).unwrap();
    }
}

/// Load does not look again, so nothing else may be let in.
#[test]
fn under_a_parent_that_stays_a_wrong_scalar_or_seed_is_refused_on_import() {
    let mut tpm = Driver::started();
    let parent = parent(&mut tpm, FIXED);
    assert_eq!(import(&mut tpm, parent, &duplicate(2, b"")), Err(TPM_RC_BINDING));
    assert_eq!(import(&mut tpm, parent, &duplicate(1, &[7; 33])), Err(TPM_RC_KEY_SIZE_OF_THE_DUPLICATE));
}

/// The owner of a parent that moves can wrap what he likes.
#[test]
fn under_a_parent_that_moves_a_wrong_scalar_or_seed_is_refused_on_load() {
    let mut tpm = Driver::started();
    let parent = parent(&mut tpm, MOVABLE);
    let private = import(&mut tpm, parent, &duplicate(2, b"")).unwrap();
    assert_eq!(load(&mut tpm, parent, &private), Err(TPM_RC_BINDING));
    let private = import(&mut tpm, parent, &duplicate(1, &[7; 33])).unwrap();
    assert_eq!(load(&mut tpm, parent, &private), Err(TPM_RC_KEY_SIZE_OF_THE_PRIVATE_AREA));
}

#[test]
fn a_private_area_of_another_parent_is_refused() {
    let mut tpm = Driver::started();
    let (fixed, movable) = (parent(&mut tpm, FIXED), parent(&mut tpm, MOVABLE));
    let private = import(&mut tpm, movable, &duplicate(2, b"")).unwrap();
    assert_eq!(load(&mut tpm, fixed, &private), Err(TPM_RC_INTEGRITY_OF_THE_PRIVATE_AREA));
}
