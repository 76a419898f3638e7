//! Templates of keys, and keys made of them.

use super::{Driver, put_sized, sized};

pub const OWNER: u32 = 0x4000_0001;
pub const NULL: u32 = 0x4000_0007;
pub const ENDORSEMENT: u32 = 0x4000_000B;
pub const PLATFORM: u32 = 0x4000_000C;

/// TPMI_ALG_PUBLIC.
pub const RSA: u16 = 0x0001;
pub const KEYED_HASH: u16 = 0x0008;
pub const ECC: u16 = 0x0023;
pub const CIPHER: u16 = 0x0025;

/// TPMA_OBJECT.
pub const FIXED: u32 = 1 << 1 | 1 << 4;
pub const ORIGIN: u32 = 1 << 5;
pub const USER: u32 = 1 << 6;
pub const NO_DA: u32 = 1 << 10;
pub const ENCRYPTED_DUPLICATION: u32 = 1 << 11;
pub const RESTRICTED: u32 = 1 << 16;
pub const DECRYPT: u32 = 1 << 17;
pub const SIGN: u32 = 1 << 18;
pub const STORAGE: u32 = FIXED | ORIGIN | USER | NO_DA | RESTRICTED | DECRYPT;
/// A key that may leave, for anything.
pub const LOOSE: u32 = ORIGIN | USER | NO_DA;

/// Parameters behind the policy of a public area, with an empty unique field.
pub const P256_STORAGE: &[u8] = &[0, 6, 0, 0x80, 0, 0x43, 0, 0x10, 0, 3, 0, 0x10, 0, 0, 0, 0];
/// No symmetric algorithm, no scheme, no KDF.
pub const P256: &[u8] = &[0, 0x10, 0, 0x10, 0, 3, 0, 0x10, 0, 0, 0, 0];
pub const P256_ECDAA: &[u8] = &[0, 0x10, 0, 0x1A, 0, 0x0B, 0, 0, 0, 3, 0, 0x10, 0, 0, 0, 0];
pub const RSA_2048: &[u8] = &[0, 0x10, 0, 0x10, 8, 0, 0, 0, 0, 0, 0, 0];
pub const RSA_2048_STORAGE: &[u8] = &[0, 6, 0, 0x80, 0, 0x43, 0, 0x10, 8, 0, 0, 0, 0, 0, 0, 0];
pub const AES_CFB: &[u8] = &[0, 6, 0, 0x80, 0, 0x43, 0, 0];
/// A mode is chosen with each command.
pub const AES_ANY: &[u8] = &[0, 6, 0, 0x80, 0, 0x10, 0, 0];
pub const HMAC_SHA256: &[u8] = &[0, 5, 0, 0x0B, 0, 0];
pub const HMAC_ANY: &[u8] = &[0, 0x10, 0, 0];
/// XOR obfuscation with KDF1_SP800_108: a derivation parent.
pub const XOR_SHA256: &[u8] = &[0, 0x0A, 0, 0x0B, 0, 0x22, 0, 0];

/// TPMT_PUBLIC with SHA-256 as name algorithm.
pub fn template(key_type: u16, attributes: u32, policy: &[u8], parameters: &[u8]) -> Vec<u8> {
    let mut public = key_type.to_be_bytes().to_vec();
    public.extend([0x00, 0x0B]);
    public.extend(attributes.to_be_bytes());
    put_sized(&mut public, policy);
    public.extend(parameters);
    public
}

/// TPM2B_SENSITIVE_CREATE.
pub fn sensitive(auth: &[u8], data: &[u8]) -> Vec<u8> {
    sized(&[sized(auth), sized(data)].concat())
}

/// A loaded key: its handle and its public area.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub handle: u32,
    pub public: Vec<u8>,
}

/// A primary key under the owner, without an authorization value.
pub fn primary(tpm: &mut Driver, key_type: u16, attributes: u32, parameters: &[u8]) -> Key {
    let public = template(key_type, attributes, b"", parameters);
    let create = tpm.command(0x131).handle(OWNER).password(b"").bytes(&sensitive(b"", b""));
    let answer = create.bytes(&sized(&public)).sized(b"").u32(0).run().expect("TPM2_CreatePrimary");
    Key { handle: answer.handle, public: answer.sized(0).to_vec() }
}

/// A P-256 storage key.
pub fn storage(tpm: &mut Driver) -> Key {
    primary(tpm, ECC, STORAGE, P256_STORAGE)
}

/// A child that TPM2_Create makes: its private and its public area.
pub fn create(tpm: &mut Driver, parent: u32, public: &[u8], given: &[u8]) -> Result<(Vec<u8>, Vec<u8>), u32> {
    let create = tpm.command(0x153).handle(parent).password(b"").bytes(given).bytes(&sized(public));
    let answer = create.sized(b"").u32(0).run()?;
    let all = answer.all_sized();
    Ok((all[0].clone(), all[1].clone()))
}

/// TPM2_Load.
pub fn load(tpm: &mut Driver, parent: u32, private: &[u8], public: &[u8]) -> Result<u32, u32> {
    let load = tpm.command(0x157).handle(parent).password(b"").sized(private).sized(public);
    load.run().map(|answer| answer.handle)
}

/// TPM2_FlushContext.
pub fn flush(tpm: &mut Driver, handle: u32) {
    tpm.command(0x165).u32(handle).run().expect("TPM2_FlushContext");
}

/// A TPM2B_ECC_POINT of the public area's point; `bytes` is the size of a coordinate.
pub fn point_of(public: &[u8], bytes: usize) -> Vec<u8> {
    sized(&public[public.len() - 2 * (bytes + 2)..])
}
