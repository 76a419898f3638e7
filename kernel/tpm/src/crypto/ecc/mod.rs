//! Elliptic curves: P-256, P-384 and P-521 (TPM 2.0 Part 1, annex C; FIPS 186-5; SP 800-186).
//!
//! Points and numbers go in and out as big-endian bytes, as commands carry them. What comes out is as long as the field
//! (coordinates) or the order (scalars); what comes in may be shorter, or have leading zeros. `group` holds what is
//! the same for every curve, `p256_base` multiples of P-256's generator, `parameters` the constants that TPM2_ECC_Parameters shows.

mod group;
mod p256_base;
mod parameters;

use alloc::vec::Vec;

use p256::NistP256;
use p384::NistP384;
use p521::NistP521;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::hash::HashAlgorithm;
use super::kdf::{SecretBytes, kdfa};
use super::random::Random;

pub use parameters::CurveParameters;

/// A curve (Part 2, `TPM_ECC_CURVE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EccCurve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
}

impl EccCurve {
    /// Every implemented curve, in the order of wire identifiers.
    pub const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// The curve of a `TPM_ECC_CURVE`, when it is implemented.
    pub const fn from_wire(identifier: u16) -> Option<Self> {
        match identifier {
            0x0003 => Some(Self::P256),
            0x0004 => Some(Self::P384),
            0x0005 => Some(Self::P521),
            _ => None,
        }
    }

    /// The `TPM_ECC_CURVE`.
    pub const fn to_wire(self) -> u16 {
        match self {
            Self::P256 => 0x0003,
            Self::P384 => 0x0004,
            Self::P521 => 0x0005,
        }
    }

    /// Size of field and order, in bits.
    pub const fn bits(self) -> u16 {
        match self {
            Self::P256 => 256,
            Self::P384 => 384,
            Self::P521 => 521,
        }
    }

    /// Size of a coordinate and of a scalar, in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// The constants of the curve.
    pub const fn parameters(self) -> &'static CurveParameters {
        parameters::of(self)
    }
}

/// A point that is not the one at infinity, as its coordinates. Wiped when dropped, for shared secrets are points too.
#[derive(Clone, Debug, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct EccPoint {
    /// The first coordinate.
    pub x: Vec<u8>,
    /// The second coordinate.
    pub y: Vec<u8>,
}

/// A key pair.
#[derive(Clone)]
pub struct EccKey {
    /// The private scalar, between zero and the order.
    pub private: SecretBytes,
    /// The public point.
    pub public: EccPoint,
}

impl core::fmt::Debug for EccKey {
    /// Prints the public half alone.
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "EccKey({:?})", self.public)
    }
}

/// Two numbers that make a signature: r and s, or for ECDAA the nonce and s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EccSignature {
    /// The first number.
    pub r: Vec<u8>,
    /// The second number.
    pub s: Vec<u8>,
}

/// Does the same with the type of every curve.
macro_rules! each_curve {
    ($curve:expr, $function:ident($($argument:expr),*)) => {
        match $curve {
            EccCurve::P256 => group::$function::<NistP256>($($argument),*),
            EccCurve::P384 => group::$function::<NistP384>($($argument),*),
            EccCurve::P521 => group::$function::<NistP521>($($argument),*),
        }
    };
}

/// Makes a key, a function of what `random` gives: 64 bits more than the order has, reduced (FIPS 186-5, appendix
/// A.2.1).
pub fn generate(curve: EccCurve, random: &mut dyn Random) -> EccKey {
    each_curve!(curve, generate(random))
}

/// Whether `private` is above zero and below the order.
pub fn is_private_key(curve: EccCurve, private: &[u8]) -> bool {
    each_curve!(curve, is_private_key(private))
}

/// The public point of a private scalar, when it is one.
pub fn public_key(curve: EccCurve, private: &[u8]) -> Option<EccPoint> {
    each_curve!(curve, public_key(private))
}

/// Whether the point is on the curve. The cofactor of every curve here is one, so nothing else is to be checked.
pub fn is_on_curve(curve: EccCurve, x: &[u8], y: &[u8]) -> bool {
    each_curve!(curve, is_on_curve(x, y))
}

/// `[scalar]point`; `None` when the point is not on the curve or the result is at infinity. In constant time.
pub fn multiply(curve: EccCurve, scalar: &[u8], point: &EccPoint) -> Option<EccPoint> {
    each_curve!(curve, multiply(scalar, point))
}

/// `[first]point + [second]other`, with the same conditions as [`multiply`]. In constant time.
pub fn multiply_and_add(
    curve: EccCurve,
    first: &[u8],
    point: &EccPoint,
    second: &[u8],
    other: &EccPoint,
) -> Option<EccPoint> {
    each_curve!(curve, multiply_and_add(first, point, second, other))
}

/// Signs by ECDSA (FIPS 186-5, section 6.4.1) with a random nonce. `None` when `private` is no private key, or
/// `random` gives nonces again and again that make no signature.
pub fn sign_ecdsa(
    curve: EccCurve,
    private: &[u8],
    digest: &[u8],
    random: &mut dyn Random,
) -> Option<EccSignature> {
    each_curve!(curve, sign_ecdsa(private, digest, random))
}

/// Whether an ECDSA signature is valid (FIPS 186-5, section 6.4.2).
pub fn verify_ecdsa(curve: EccCurve, public: &EccPoint, digest: &[u8], signature: &EccSignature) -> bool {
    each_curve!(curve, verify_ecdsa(public, digest, signature)).is_some()
}

/// Signs by EC Schnorr (Part 1, annex C.4.3): the digest is hashed once more, behind the first coordinate of the nonce's
/// point.
pub fn sign_schnorr(
    curve: EccCurve,
    private: &[u8],
    algorithm: HashAlgorithm,
    digest: &[u8],
    random: &mut dyn Random,
) -> Option<EccSignature> {
    each_curve!(curve, sign_schnorr(private, algorithm, digest, random))
}

/// Whether an EC Schnorr signature is valid.
pub fn verify_schnorr(
    curve: EccCurve,
    public: &EccPoint,
    algorithm: HashAlgorithm,
    digest: &[u8],
    signature: &EccSignature,
) -> bool {
    each_curve!(curve, verify_schnorr(public, algorithm, digest, signature)).is_some()
}

/// Signs by ECDAA (Part 1, annex C.4.2) with the scalar of an earlier TPM2_Commit. The first number of the signature is
/// the nonce, without leading zeros.
pub fn sign_ecdaa(
    curve: EccCurve,
    private: &[u8],
    committed: &[u8],
    algorithm: HashAlgorithm,
    digest: &[u8],
    random: &mut dyn Random,
) -> Option<EccSignature> {
    each_curve!(curve, sign_ecdaa(private, committed, algorithm, digest, random))
}

/// The scalar r of a commitment (Part 1, annex C.2.2): from the TPM's commit nonce, the key's name and the counter.
///
/// It takes 64 bits more than the order has and reduces them, so that one derivation always is enough.
pub fn commit_scalar(curve: EccCurve, commit_nonce: &[u8], name: &[u8], counter: u64) -> Option<SecretBytes> {
    let bits = u32::from(curve.bits()).saturating_add(group::EXTRA_BITS);
    let wide = kdfa(
        HashAlgorithm::Sha512,
        commit_nonce,
        b"ECDAA Commit",
        name,
        &counter.to_be_bytes(),
        bits.next_multiple_of(8),
    );
    each_curve!(curve, reduce_to_private(&wide))
}

#[cfg(test)]
mod tests;
