//! Commands on handles of the wrong kind: a sequence, a key of another type, or no key at all.

mod driver;

use driver::{Driver, sized};

const OWNER: u32 = 0x4000_0001;
const NULL: u32 = 0x4000_0007;
/// A point, and TPM_ALG_NULL.
const NO_POINT: [u8; 6] = [0, 4, 0, 0, 0, 0];
const NO_SCHEME: u16 = 0x10;

const TPM_RC_KEY_OF_HANDLE_1: u32 = 0x19C;
const TPM_RC_ATTRIBUTES_OF_HANDLE_1: u32 = 0x182;
const TPM_RC_TYPE_OF_HANDLE_2: u32 = 0x28A;
const TPM_RC_SCHEME_OF_PARAMETER_2: u32 = 0x2D2;

fn primary(tpm: &mut Driver, public: &[u8]) -> u32 {
    let create = tpm.command(0x131).handle(OWNER).password(b"").bytes(&sized(&[0, 0, 0, 0]));
    create.bytes(&sized(public)).sized(b"").u32(0).run().unwrap().handle
}

/// A P-256 key that signs, by any scheme.
fn signer(tpm: &mut Driver) -> u32 {
    let mut public = vec![0x00, 0x23, 0x00, 0x0B, 0x00, 0x04, 0x00, 0x72, 0, 0];
    public.extend([0x00, 0x10, 0x00, 0x10, 0x00, 0x03, 0x00, 0x10, 0, 0, 0, 0]);
    primary(tpm, &public)
}

#[test]
fn a_sequence_is_no_key() {
    let mut tpm = Driver::started();
    let sequence = tpm.command(0x186).sized(b"").u16(0x0B).run().unwrap().handle;
    let digest = sized(&[7; 32]);
    let no_ticket = [&[0x80, 0x24][..], &NULL.to_be_bytes(), &[0, 0]].concat();

    let sign = tpm.command(0x15D).handle(sequence).password(b"").bytes(&digest).u16(NO_SCHEME);
    assert_eq!(sign.bytes(&no_ticket).run(), Err(TPM_RC_KEY_OF_HANDLE_1));
    let generate = tpm.command(0x163).handle(sequence);
    assert_eq!(generate.run(), Err(TPM_RC_KEY_OF_HANDLE_1));
    let agree = tpm.command(0x154).handle(sequence).password(b"").bytes(&sized(&NO_POINT[2..]));
    assert_eq!(agree.run(), Err(TPM_RC_KEY_OF_HANDLE_1));
    let decrypt = tpm.command(0x159).handle(sequence).password(b"").sized(&[1; 256]).u16(NO_SCHEME);
    assert_eq!(decrypt.sized(b"").run(), Err(TPM_RC_KEY_OF_HANDLE_1));
    let commit = tpm.command(0x18B).handle(sequence).password(b"").bytes(&NO_POINT);
    assert_eq!(commit.sized(b"").sized(b"").run(), Err(TPM_RC_KEY_OF_HANDLE_1));
    let cipher = tpm.command(0x193).handle(sequence).password(b"").sized(&[1; 16]).u8(0).u16(0x43);
    assert_eq!(cipher.sized(&[0; 16]).run(), Err(TPM_RC_KEY_OF_HANDLE_1));

    let verify = tpm.command(0x177).handle(sequence).bytes(&digest).u16(0x18).u16(0x0B);
    assert_eq!(verify.sized(&[1]).sized(&[1]).run(), Err(TPM_RC_ATTRIBUTES_OF_HANDLE_1));
}

/// Without a hash algorithm there is no digest of the PCRs.
#[test]
fn a_quote_without_a_key_is_refused() {
    let mut tpm = Driver::started();
    let quote = tpm.command(0x158).handle(NULL).password(b"").sized(b"").u16(0x14).u16(0x0B);
    assert_eq!(quote.u32(0).run(), Err(TPM_RC_SCHEME_OF_PARAMETER_2));
}

#[test]
fn a_scheme_for_keys_of_another_type_is_refused_by_its_number() {
    const RSAPSS: u16 = 0x16;
    const HMAC: u16 = 0x05;
    let mut tpm = Driver::started();
    let key = signer(&mut tpm);
    for scheme in [RSAPSS, HMAC] {
        let certify = tpm.command(0x148).handle(key).handle(key).password(b"").password(b"").sized(b"");
        assert_eq!(certify.u16(scheme).u16(0x0B).run(), Err(TPM_RC_SCHEME_OF_PARAMETER_2));
    }
}

/// No secret can be sent to a symmetric key.
#[test]
fn a_symmetric_key_is_no_new_parent_of_a_duplicate() {
    let mut tpm = Driver::started();
    let mut public = vec![0x00, 0x25, 0x00, 0x0B, 0x00, 0x03, 0x00, 0x72, 0, 0];
    public.extend([0x00, 0x06, 0x00, 0x80, 0x00, 0x43, 0, 0]);
    let parent = primary(&mut tpm, &public);
    let rewrap = tpm.command(0x152).handle(NULL).handle(parent).password(b"").sized(&[1; 40]);
    assert_eq!(rewrap.sized(&[0; 34]).sized(b"").run(), Err(TPM_RC_TYPE_OF_HANDLE_2));
}
