//! What is the same for every curve, generic over RustCrypto's curve types.
//!
//! Functions that answer `Option` say `None` for inputs that are no scalar, no point, or no valid signature; they are the
//! same ones that the caller was warned of in [`super`].

use alloc::vec::Vec;

use crypto_bigint::{NonZero, U640};
use ecdsa::{EcdsaCurve, Signature, hazmat};
use p256::NistP256;
use p256::elliptic_curve::ff::{Field, PrimeField};
use p256::elliptic_curve::group::Curve as _;
use p256::elliptic_curve::group::Group;
use p256::elliptic_curve::ops::MulByGeneratorVartime;
use p256::elliptic_curve::point::AffineCoordinates;
use p256::elliptic_curve::{
    AffinePoint, CurveArithmetic, FieldBytes, NonZeroScalar, ProjectivePoint, Scalar,
};
use p384::NistP384;
use p521::NistP521;
use zeroize::{Zeroize, Zeroizing};

use super::p256_base;
use super::{EccKey, EccPoint, EccSignature};
use crate::crypto::hash::{HashAlgorithm, hash};
use crate::crypto::kdf::SecretBytes;
use crate::crypto::random::Random;

/// How many bits more than the order a number has before it is reduced, so that every result is as likely as another.
pub(super) const EXTRA_BITS: u32 = 64;
/// The same in bytes.
const EXTRA_BYTES: usize = 8;

/// How often a signature is tried. An attempt fails once in 2^32 times at most (Schnorr challenges for P-256); a source of bits that
/// always gives the same ones must not hold the TPM for ever.
const ATTEMPTS: u32 = 8;

/// Has room for the largest order and the extra bits, and for every digest.
type Wide = U640;
const WIDE_BYTES: usize = 80;

/// The curves that this file works for.
pub(super) trait Curve: EcdsaCurve + CurveArithmetic {
    /// The generator's multiple, in constant time.
    fn multiply_generator(scalar: &Scalar<Self>) -> ProjectivePoint<Self> {
        ProjectivePoint::<Self>::mul_by_generator(scalar)
    }
}

impl Curve for NistP256 {
    fn multiply_generator(scalar: &Scalar<Self>) -> ProjectivePoint<Self> {
        p256_base::multiply(scalar)
    }
}

impl Curve for NistP384 {}
impl Curve for NistP521 {}

pub(super) fn generate<C: Curve>(random: &mut dyn Random) -> EccKey {
    let private = random_scalar::<C>(random);
    EccKey { private: bytes::<C>(&private), public: public_of::<C>(&private) }
}

pub(super) fn is_private_key<C: Curve>(private: &[u8]) -> bool {
    private_scalar::<C>(private).is_some()
}

pub(super) fn public_key<C: Curve>(private: &[u8]) -> Option<EccPoint> {
    private_scalar::<C>(private).map(|private| public_of::<C>(&private))
}

pub(super) fn is_on_curve<C: Curve>(x: &[u8], y: &[u8]) -> bool {
    affine::<C>(x, y).is_some()
}

pub(super) fn multiply<C: Curve>(scalar: &[u8], point: &EccPoint) -> Option<EccPoint> {
    let scalar = reduced::<C>(scalar);
    coordinates::<C>(&core::ops::Mul::mul(projective::<C>(point)?, *scalar))
}

pub(super) fn multiply_and_add<C: Curve>(
    first: &[u8],
    point: &EccPoint,
    second: &[u8],
    other: &EccPoint,
) -> Option<EccPoint> {
    let (first, second) = (reduced::<C>(first), reduced::<C>(second));
    let point = core::ops::Mul::mul(projective::<C>(point)?, *first);
    let other = core::ops::Mul::mul(projective::<C>(other)?, *second);
    coordinates::<C>(&core::ops::Add::add(point, other))
}

pub(super) fn sign_ecdsa<C: Curve>(
    private: &[u8],
    digest: &[u8],
    random: &mut dyn Random,
) -> Option<EccSignature> {
    let private = private_scalar::<C>(private)?;
    // FIPS 186-5, section 6.4.1: the digest's first bits, as many as the order has. Every order here has whole bytes, or more
    // bits than any digest.
    let length = digest.len().min(FieldBytes::<C>::default().len());
    let digest = reduced::<C>(digest.get(..length)?);
    (0..ATTEMPTS).find_map(|_| {
        let nonce = random_scalar::<C>(random);
        let r = reduced::<C>(&C::multiply_generator(&nonce).to_affine().x());
        let product = core::ops::Mul::mul(*r, **private);
        let sum = Zeroizing::new(core::ops::Add::add(product, *digest));
        let s = core::ops::Mul::mul(*sum, *Zeroizing::new(nonce.as_ref().invert().into_option()?));
        // Numbers that are zero make no signature, once in 2^256 times.
        let is_zero = bool::from(r.is_zero() | s.is_zero());
        (!is_zero).then(|| EccSignature { r: r.to_repr().to_vec(), s: s.to_repr().to_vec() })
    })
}

pub(super) fn verify_ecdsa<C: Curve>(
    public: &EccPoint,
    digest: &[u8],
    signature: &EccSignature,
) -> Option<()> {
    let (r, s) = (field_bytes::<C>(&signature.r)?, field_bytes::<C>(&signature.s)?);
    let signature = Signature::<C>::from_scalars(r, s).ok()?;
    hazmat::verify_prehashed(&projective::<C>(public)?, digest, &signature).ok()
}

pub(super) fn sign_schnorr<C: Curve>(
    private: &[u8],
    algorithm: HashAlgorithm,
    digest: &[u8],
    random: &mut dyn Random,
) -> Option<EccSignature> {
    let private = private_scalar::<C>(private)?;
    (0..ATTEMPTS).find_map(|_| {
        let nonce = random_scalar::<C>(random);
        let challenge = schnorr_challenge::<C>(&public_of::<C>(&nonce).x, algorithm, digest);
        // A challenge that is no scalar would make a signature that no verifier takes.
        let r = private_scalar::<C>(&challenge)?;
        let s = schnorr_response::<C>(&nonce, r.as_ref(), &private)?;
        Some(EccSignature { r: bytes::<C>(&r).to_vec(), s })
    })
}

pub(super) fn verify_schnorr<C: Curve>(
    public: &EccPoint,
    algorithm: HashAlgorithm,
    digest: &[u8],
    signature: &EccSignature,
) -> Option<()> {
    let (r, s) = (private_scalar::<C>(&signature.r)?, private_scalar::<C>(&signature.s)?);
    let minus_r = core::ops::Neg::neg(**r);
    let point = ProjectivePoint::<C>::mul_by_generator_and_mul_add_vartime(
        s.as_ref(),
        &minus_r,
        &projective::<C>(public)?,
    );
    let expected = schnorr_challenge::<C>(&coordinates::<C>(&point)?.x, algorithm, digest);
    (field_bytes::<C>(&expected)? == field_bytes::<C>(&signature.r)?).then_some(())
}

pub(super) fn sign_ecdaa<C: Curve>(
    private: &[u8],
    committed: &[u8],
    algorithm: HashAlgorithm,
    digest: &[u8],
    random: &mut dyn Random,
) -> Option<EccSignature> {
    let (private, committed) = (private_scalar::<C>(private)?, private_scalar::<C>(committed)?);
    (0..ATTEMPTS).find_map(|_| {
        let nonce: Vec<u8> =
            bytes::<C>(&random_scalar::<C>(random)).iter().copied().skip_while(|byte| *byte == 0).collect();
        let challenge = reduced::<C>(&hash(algorithm, &[&nonce, digest]));
        let s = schnorr_response::<C>(&committed, &challenge, &private)?;
        Some(EccSignature { r: nonce, s })
    })
}

/// A number above zero and below the order, from one with [`EXTRA_BITS`] more: modulo the order less one, plus one.
pub(super) fn reduce_to_private<C: Curve>(wide: &[u8]) -> Option<SecretBytes> {
    private_from_wide::<C>(wide).map(|scalar| bytes::<C>(&scalar))
}

/// The hash that ties a Schnorr signature to its nonce, cut to the size of the order (TCG reference code,
/// `SchnorrReduce`: bytes are cut off, the number is not reduced).
fn schnorr_challenge<C: Curve>(x: &[u8], algorithm: HashAlgorithm, digest: &[u8]) -> Vec<u8> {
    let challenge = hash(algorithm, &[x, digest]);
    challenge.iter().copied().take(FieldBytes::<C>::default().len()).collect()
}

/// nonce + challenge * private; `None` when it is zero.
fn schnorr_response<C: Curve>(
    nonce: &NonZeroScalar<C>,
    challenge: &Scalar<C>,
    private: &NonZeroScalar<C>,
) -> Option<Vec<u8>> {
    let product = core::ops::Mul::mul(*challenge, **private);
    let mut response = core::ops::Add::add(product, **nonce);
    let encoded = response.to_repr().to_vec();
    let is_zero = bool::from(response.is_zero());
    response.zeroize();
    (!is_zero).then_some(encoded)
}

fn random_scalar<C: Curve>(random: &mut dyn Random) -> Zeroizing<NonZeroScalar<C>> {
    let length = FieldBytes::<C>::default().len().saturating_add(EXTRA_BYTES);
    let mut wide = Zeroizing::new(alloc::vec![0; length]);
    loop {
        random.fill(&mut wide);
        // Every number gives a scalar: there is no second turn.
        if let Some(scalar) = private_from_wide::<C>(&wide) {
            return scalar;
        }
    }
}

/// `wide` modulo the order less one, plus one.
///
/// The result always is a private scalar; that the type system cannot know it makes it an `Option`.
fn private_from_wide<C: Curve>(wide: &[u8]) -> Option<Zeroizing<NonZeroScalar<C>>> {
    let below_order = wide_number(&core::ops::Neg::neg(Scalar::<C>::ONE).to_repr());
    let modulus = NonZero::new(below_order).into_option().unwrap_or(NonZero::MAX);
    let number = Zeroizing::new(wide_number(wide).rem(&modulus).wrapping_add(&Wide::ONE));
    NonZeroScalar::new(*scalar_of::<C>(&number)).into_option().map(Zeroizing::new)
}

/// A number of at most as many bytes as [`Wide`] has, modulo the order.
fn reduced<C: Curve>(number: &[u8]) -> Zeroizing<Scalar<C>> {
    let below_order = wide_number(&core::ops::Neg::neg(Scalar::<C>::ONE).to_repr());
    let order = below_order.wrapping_add(&Wide::ONE);
    let modulus = NonZero::new(order).into_option().unwrap_or(NonZero::MAX);
    scalar_of::<C>(&Zeroizing::new(wide_number(number).rem(&modulus)))
}

/// A number below the order as a scalar.
fn scalar_of<C: Curve>(number: &Wide) -> Zeroizing<Scalar<C>> {
    let mut encoded = number.to_be_bytes();
    let mut field = FieldBytes::<C>::default();
    let digits = encoded.as_ref().iter().rev();
    field.iter_mut().rev().zip(digits).for_each(|(to, from)| *to = *from);
    let scalar = Zeroizing::new(Scalar::<C>::from_repr(field).into_option().unwrap_or(Scalar::<C>::ZERO));
    field.as_mut_slice().zeroize();
    encoded.as_mut_slice().zeroize();
    scalar
}

fn wide_number(number: &[u8]) -> Wide {
    let mut bytes = Zeroizing::new([0; WIDE_BYTES]);
    let digits = number.iter().rev();
    bytes.iter_mut().rev().zip(digits).for_each(|(to, from)| *to = *from);
    Wide::from_be_slice(bytes.as_slice())
}

/// A scalar from bytes that may be longer or shorter than it: any leading zeros, then a number below the order.
fn private_scalar<C: Curve>(number: &[u8]) -> Option<Zeroizing<NonZeroScalar<C>>> {
    let scalar = NonZeroScalar::<C>::from_repr(field_bytes::<C>(number)?);
    scalar.into_option().map(Zeroizing::new)
}

/// A number as long as a field element. What is done depends on the number's length alone, not on its leading zeros: it may be
/// a private key.
fn field_bytes<C: Curve>(number: &[u8]) -> Option<FieldBytes<C>> {
    let mut field = FieldBytes::<C>::default();
    field.iter_mut().rev().zip(number.iter().rev()).for_each(|(to, from)| *to = *from);
    let beyond = number.iter().rev().skip(field.len()).fold(0, |bits, byte| bits | *byte);
    (beyond == 0).then_some(field)
}

fn bytes<C: Curve>(scalar: &NonZeroScalar<C>) -> SecretBytes {
    let mut encoded = scalar.to_repr();
    let bytes = Zeroizing::new(encoded.to_vec());
    encoded.as_mut_slice().zeroize();
    bytes
}

fn public_of<C: Curve>(private: &NonZeroScalar<C>) -> EccPoint {
    let point = C::multiply_generator(private).to_affine();
    EccPoint { x: point.x().to_vec(), y: point.y().to_vec() }
}

fn affine<C: Curve>(x: &[u8], y: &[u8]) -> Option<AffinePoint<C>> {
    AffinePoint::<C>::from_coordinates(&field_bytes::<C>(x)?, &field_bytes::<C>(y)?).into_option()
}

fn projective<C: Curve>(point: &EccPoint) -> Option<ProjectivePoint<C>> {
    affine::<C>(&point.x, &point.y).map(ProjectivePoint::<C>::from)
}

fn coordinates<C: Curve>(point: &ProjectivePoint<C>) -> Option<EccPoint> {
    let is_finite = !bool::from(point.is_identity());
    let affine = point.to_affine();
    is_finite.then(|| EccPoint { x: affine.x().to_vec(), y: affine.y().to_vec() })
}
