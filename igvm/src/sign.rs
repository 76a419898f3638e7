//! Signs an image: the ID block binds digest, identity, SVN and policy, and the platform refuses to start anything
//! else under it (AMD 56860, "ID block").

use igvm_defs::{IGVM_VHS_SNP_ID_BLOCK, IGVM_VHS_SNP_ID_BLOCK_PUBLIC_KEY, IGVM_VHS_SNP_ID_BLOCK_SIGNATURE};
use igvm_file::{Arch, IgvmDirectiveHeader, IgvmFile, IgvmRevision};
use p384::SecretKey;
use p384::ecdsa::signature::Signer;
use p384::ecdsa::{Signature, SigningKey};
use p384::pkcs8::DecodePrivateKey;
use snp_abi::id_block::{ID_BLOCK_VERSION, IdAuthentication, IdBlock};
use snp_abi::policy::GuestPolicy;
use snp_abi::signature::{EcdsaPublicKey, EcdsaSignature, PspNumber};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::file::{Body, FileError, ImageFile};
use crate::launch::{LaunchError, LaunchPlan};

/// What the owner says about an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Identity {
    /// The owner's name for the family.
    pub family_id: [u8; 16],
    /// The owner's name for the image.
    pub image_id: [u8; 16],
    /// Security version number.
    pub guest_svn: u32,
}

/// For which machine and with which keys to sign. No `Debug`: it holds private keys.
pub struct SignOptions<'a> {
    /// Identity; `None` keeps what an ID block in the file says, or zeros.
    pub identity: Option<Identity>,
    /// vCPUs of the machine, for the digest; `None` for as many as the file has registers for.
    pub vcpus: Option<u16>,
    /// Processors of the machine, for the digest.
    pub cpu_signature: u32,
    /// ID key, PEM.
    pub id_key: &'a str,
    /// Author key, PEM.
    pub author_key: Option<&'a str>,
}

/// Why an image could not be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The file could not be launched.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The key file is no P-384 private key.
    #[error("{0} key: not a PEM private key on P-384 (PKCS#8 or SEC1): {1}")]
    Key(&'static str, String),
    /// The `igvm` crate cannot rewrite the file.
    #[error("rewriting the file: {0}")]
    Rewrite(String),
}

/// Adds an ID block to an image, or replaces the one that is there; returns the new file.
///
/// # Errors
/// If the file would not launch, a key is unusable, or the file cannot be rewritten.
pub fn sign(bytes: &[u8], options: &SignOptions<'_>) -> Result<Vec<u8>, SignError> {
    let file = ImageFile::parse(bytes).map_err(|error: FileError| LaunchError::File(error))?;
    let plan = LaunchPlan::of_file(&file)?;
    let id_key = read_key("ID", options.id_key)?;
    let present = plan.id_block.as_ref().map(|(block, _)| Identity {
        family_id: block.family_id,
        image_id: block.image_id,
        guest_svn: block.guest_svn,
    });
    let identity = options.identity.or(present).unwrap_or_default();
    let block = IdBlock {
        launch_digest: plan.digest_for(options.vcpus, options.cpu_signature)?,
        family_id: identity.family_id,
        image_id: identity.image_id,
        version: ID_BLOCK_VERSION,
        guest_svn: identity.guest_svn,
        policy: plan.policy,
    };
    let public_id_key = public_key(&id_key);
    let mut authentication =
        IdAuthentication::new(public_id_key.clone(), signature(&id_key, block.as_bytes()));
    if let Some(pem) = options.author_key {
        let author_key = read_key("author", pem)?;
        let vouches = signature(&author_key, public_id_key.as_bytes());
        authentication = authentication.with_author(public_key(&author_key), vouches);
    }
    // The mask is there: a plan was made for it.
    let mask = file.snp_mask().unwrap_or_default();
    rewrite(&file, header_of(mask, &block, &authentication))
}

fn rewrite(file: &ImageFile<'_>, id_block: IgvmDirectiveHeader) -> Result<Vec<u8>, SignError> {
    let refused = |error: igvm_file::Error| SignError::Rewrite(error.to_string());
    let has_foreign = file.headers.iter().any(|header| {
        matches!(&header.body, Body::Platform(platform)
            if platform.platform_type != igvm_defs::IgvmPlatformType::SEV_SNP)
    });
    if has_foreign {
        return Err(SignError::Rewrite("the file also serves other platforms".to_owned()));
    }
    let parsed = IgvmFile::new_from_binary(file.bytes, None).map_err(refused)?;
    let revision = match file.format_version {
        1 => IgvmRevision::V1,
        _ => IgvmRevision::V2 { arch: Arch::X64, page_size: 0x1000 },
    };
    let mut directives = vec![id_block];
    let is_other = |header: &&IgvmDirectiveHeader| !matches!(header, IgvmDirectiveHeader::SnpIdBlock { .. });
    directives.extend(parsed.directives().iter().filter(is_other).cloned());
    let rewritten =
        IgvmFile::new(revision, parsed.platforms().to_vec(), parsed.initializations().to_vec(), directives)
            .map_err(refused)?;
    let mut bytes = Vec::new();
    rewritten.serialize(&mut bytes).map_err(refused)?;
    Ok(bytes)
}

/// Reads a private key. `openssl ecparam -genkey` writes the curve in front of the key; that part is skipped.
fn read_key(name: &'static str, pem: &str) -> Result<SigningKey, SignError> {
    const SEC1: &str = "-----BEGIN EC PRIVATE KEY-----";
    let key = match pem.find(SEC1) {
        Some(start) => SecretKey::from_sec1_pem(pem[start..].trim()).map_err(|error| error.to_string()),
        None => SecretKey::from_pkcs8_pem(pem.trim()).map_err(|error| error.to_string()),
    };
    key.map(SigningKey::from).map_err(|error| SignError::Key(name, error))
}

fn public_key(key: &SigningKey) -> EcdsaPublicKey {
    let point = key.verifying_key().to_sec1_point(false);
    let half = |bytes: Option<&[u8]>| {
        let mut number = [0; 48];
        // An uncompressed point has both coordinates, 48 bytes each.
        number.copy_from_slice(bytes.unwrap_or(&[0; 48]));
        number
    };
    EcdsaPublicKey::new(&half(point.x().map(|x| x.as_slice())), &half(point.y().map(|y| y.as_slice())))
}

fn signature(key: &SigningKey, message: &[u8]) -> EcdsaSignature {
    let signature: Signature = key.sign(message);
    let (r, s) = signature.split_bytes();
    EcdsaSignature::new(&r.into(), &s.into())
}

/// The file's header for an ID block. Its public key has a reserved word after the curve that the PSP's has not.
fn header_of(mask: u32, block: &IdBlock, authentication: &IdAuthentication) -> IgvmDirectiveHeader {
    IgvmDirectiveHeader::SnpIdBlock {
        compatibility_mask: mask,
        author_key_enabled: u8::from(authentication.author_key_algorithm != 0),
        reserved: [0; 3],
        ld: block.launch_digest,
        family_id: block.family_id,
        image_id: block.image_id,
        version: block.version,
        guest_svn: block.guest_svn,
        id_key_algorithm: authentication.id_key_algorithm,
        author_key_algorithm: authentication.author_key_algorithm,
        id_key_signature: Box::new(file_signature(&authentication.id_block_signature)),
        id_public_key: Box::new(file_key(&authentication.id_key)),
        author_key_signature: Box::new(file_signature(&authentication.id_key_signature)),
        author_public_key: Box::new(file_key(&authentication.author_key)),
    }
}

fn file_signature(signature: &EcdsaSignature) -> IGVM_VHS_SNP_ID_BLOCK_SIGNATURE {
    IGVM_VHS_SNP_ID_BLOCK_SIGNATURE { r_comp: field(&signature.r), s_comp: field(&signature.s) }
}

fn file_key(key: &EcdsaPublicKey) -> IGVM_VHS_SNP_ID_BLOCK_PUBLIC_KEY {
    IGVM_VHS_SNP_ID_BLOCK_PUBLIC_KEY { curve: key.curve, reserved: 0, qx: field(&key.x), qy: field(&key.y) }
}

fn field(number: &PspNumber) -> [u8; 72] {
    let mut field = [0; 72];
    field.copy_from_slice(number.as_bytes());
    field
}

/// The PSP's structures for a file's ID block, as QEMU repacks them.
pub(crate) fn id_block_of(
    header: &IGVM_VHS_SNP_ID_BLOCK,
    policy: GuestPolicy,
) -> (IdBlock, Box<IdAuthentication>) {
    let block = IdBlock {
        launch_digest: header.ld,
        family_id: header.family_id,
        image_id: header.image_id,
        version: ID_BLOCK_VERSION,
        guest_svn: header.guest_svn,
        policy,
    };
    let mut authentication =
        IdAuthentication::new(psp_key(&header.id_public_key), psp_signature(&header.id_key_signature));
    authentication.id_key_algorithm = header.id_key_algorithm;
    authentication.author_key_algorithm = header.author_key_algorithm;
    authentication.author_key = psp_key(&header.author_public_key);
    authentication.id_key_signature = psp_signature(&header.author_key_signature);
    (block, Box::new(authentication))
}

fn psp_signature(signature: &IGVM_VHS_SNP_ID_BLOCK_SIGNATURE) -> EcdsaSignature {
    let mut psp = EcdsaSignature::new_zeroed();
    (psp.r, psp.s) = (number(&signature.r_comp), number(&signature.s_comp));
    psp
}

fn psp_key(key: &IGVM_VHS_SNP_ID_BLOCK_PUBLIC_KEY) -> EcdsaPublicKey {
    let mut psp = EcdsaPublicKey::new_zeroed();
    (psp.curve, psp.x, psp.y) = (key.curve, number(&key.qx), number(&key.qy));
    psp
}

fn number(field: &[u8; 72]) -> PspNumber {
    // Equal sizes: the read cannot fail.
    PspNumber::read_from_bytes(field).unwrap_or_else(|_| PspNumber::new_zeroed())
}
