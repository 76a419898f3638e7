//! What is fixed when a guest is launched, and what stops a launch: policy, ID block, ID authentication (AMD 56860,
//! SNP_LAUNCH_START and SNP_LAUNCH_FINISH).

use super::Psp;
use p384::NistP384;
use p384::ecdsa::signature::Verifier;
use p384::ecdsa::{Signature, VerifyingKey};
use p384::elliptic_curve::sec1::Sec1Point;
use snp_abi::id_block::{ID_BLOCK_VERSION, IdAuthentication, IdBlock};
use snp_abi::policy::{GuestPolicy, PolicyFlags};
use snp_abi::psp_status::PspStatus;
use snp_abi::report::PlatformInformation;
use snp_abi::signature::{ALGORITHM_ECDSA_P384_SHA384, CURVE_P384, EcdsaPublicKey, EcdsaSignature};
use zerocopy::IntoBytes;

/// What was fixed at launch.
#[derive(Clone, Debug, Default)]
pub struct LaunchContext {
    /// The guest may send messages: the launch is finished.
    pub(super) finished: bool,
    /// The policy.
    pub(super) policy: u64,
    /// The launch digest.
    pub(super) measurement: Measurement,
    /// From the ID block.
    pub(super) family_id: [u8; 16],
    /// From the ID block.
    pub(super) image_id: [u8; 16],
    /// From the ID block.
    pub(super) guest_svn: u32,
    /// Digests of ID key and author key.
    pub(super) id_key_digest: Measurement,
    /// See [`Self::id_key_digest`].
    pub(super) author_key_digest: Measurement,
    /// An author key vouched for the ID key.
    pub(super) has_author_key: bool,
}

/// A SHA-384 digest, zero where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measurement(pub [u8; 48]);

impl Default for Measurement {
    fn default() -> Self {
        Self([0; 48])
    }
}

/// Flags that ask for what none of the emulated platforms has.
const UNMET: PolicyFlags = PolicyFlags::AES_256_XTS_REQUIRED
    .union(PolicyFlags::RAPL_DISABLED_REQUIRED)
    .union(PolicyFlags::CIPHERTEXT_HIDING_REQUIRED);

impl Psp {
    /// SNP_LAUNCH_START: takes the policy, or refuses it.
    pub fn launch_start(&mut self, policy: GuestPolicy) -> Result<(), PspStatus> {
        if !policy.is_well_formed() {
            return Err(PspStatus::InvalidParameter);
        }
        let identity = self.setup.model.identity();
        let firmware = (identity.firmware.major, identity.firmware.minor);
        let threads = identity.platform.contains(PlatformInformation::SMT);
        let flags = policy.flags();
        let refused = policy.minimum_abi() > firmware
            || threads && !flags.contains(PolicyFlags::SMT_ALLOWED)
            || flags.intersects(UNMET);
        if refused {
            return Err(PspStatus::PolicyFailure);
        }
        self.guest.policy = policy.0;
        Ok(())
    }

    /// SNP_LAUNCH_FINISH: compares the ID block, if there is one, with what was launched.
    pub fn launch_finish(
        &mut self,
        digest: [u8; 48],
        identity: Option<(&IdBlock, &IdAuthentication, bool)>,
    ) -> Result<(), PspStatus> {
        if let Some((block, authentication, author_key)) = identity {
            check_id_block(block, authentication, author_key)?;
            if block.launch_digest != digest {
                return Err(PspStatus::BadMeasurement);
            }
            if block.policy.0 != self.guest.policy {
                return Err(PspStatus::PolicyFailure);
            }
            self.guest.family_id = block.family_id;
            self.guest.image_id = block.image_id;
            self.guest.guest_svn = block.guest_svn;
            self.guest.id_key_digest = Measurement(authentication.id_key.digest());
            if author_key {
                self.guest.author_key_digest = Measurement(authentication.author_key.digest());
                self.guest.has_author_key = true;
            }
        }
        self.guest.measurement = Measurement(digest);
        self.guest.finished = true;
        Ok(())
    }
}

/// The signatures: ID key over the block, author key over the ID key.
fn check_id_block(
    block: &IdBlock,
    authentication: &IdAuthentication,
    author_key: bool,
) -> Result<(), PspStatus> {
    if block.version != ID_BLOCK_VERSION {
        return Err(PspStatus::BadVersion);
    }
    let known = authentication.id_key_algorithm == ALGORITHM_ECDSA_P384_SHA384
        && (!author_key || authentication.author_key_algorithm == ALGORITHM_ECDSA_P384_SHA384);
    if !known {
        return Err(PspStatus::InvalidParameter);
    }
    verify(&authentication.id_key, block.as_bytes(), &authentication.id_block_signature)?;
    if author_key {
        let id_key = authentication.id_key.as_bytes();
        verify(&authentication.author_key, id_key, &authentication.id_key_signature)?;
    }
    Ok(())
}

fn verify(key: &EcdsaPublicKey, message: &[u8], signature: &EcdsaSignature) -> Result<(), PspStatus> {
    let point = match (key.curve, key.x.to_big_endian(), key.y.to_big_endian()) {
        (CURVE_P384, Some(x), Some(y)) => {
            Sec1Point::<NistP384>::from_affine_coordinates(&x.into(), &y.into(), false)
        }
        _ => return Err(PspStatus::InvalidKey),
    };
    let key = VerifyingKey::from_sec1_point(&point).map_err(|_| PspStatus::InvalidKey)?;
    let (r, s) = (signature.r.to_big_endian(), signature.s.to_big_endian());
    let (Some(r), Some(s)) = (r, s) else { return Err(PspStatus::BadSignature) };
    let signature = Signature::from_scalars(r, s).map_err(|_| PspStatus::BadSignature)?;
    key.verify(message, &signature).map_err(|_| PspStatus::BadSignature)
}
