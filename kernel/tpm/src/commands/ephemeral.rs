//! Ephemeral EC keys: Part 3, chapter of the same name. Part 1, annex C.2.

use crate::crypto::ecc::{self, EccCurve, EccPoint as Point};
use crate::crypto::hash::hash;
use crate::object::Object;
use crate::object::asymmetric::ecc_public;
use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::structures::algorithms::Curve;
use crate::structures::buffers::{Buffer, EccPoint};
use crate::structures::limits::{MAX_ECC_KEY_BYTES, MAX_SENSITIVE_DATA_BYTES};
use crate::structures::schemes::Scheme;
use crate::wire::{Result, put_sized_structure};

/// TPM2B_SENSITIVE_DATA.
type SensitiveData = Buffer<MAX_SENSITIVE_DATA_BYTES>;
/// TPM2B_ECC_PARAMETER.
type Coordinate = Buffer<MAX_ECC_KEY_BYTES>;

/// The base point of a curve.
fn base_point(curve: EccCurve) -> Point {
    let constants = curve.parameters();
    Point { x: constants.g_x.to_vec(), y: constants.g_y.to_vec() }
}

/// The remainder of a big-endian number by the prime of a curve, as long as the prime.
fn modulo_prime(curve: EccCurve, number: &[u8]) -> alloc::vec::Vec<u8> {
    let prime = curve.parameters().p;
    // One more octet in front, for the bit that doubling carries out.
    let mut rest = alloc::vec![0_u8; prime.len().saturating_add(1)];
    let wide = [&[0], prime].concat();
    for bit in number.iter().flat_map(|byte| (0..8).rev().map(move |shift| (byte >> shift) & 1)) {
        let mut carry = bit;
        for byte in rest.iter_mut().rev() {
            let top = *byte >> 7;
            *byte = (*byte << 1) | carry;
            carry = top;
        }
        if rest >= wide {
            let mut borrow = false;
            for (byte, subtrahend) in rest.iter_mut().zip(&wide).rev() {
                let (less, first) = byte.overflowing_sub(*subtrahend);
                let (less, second) = less.overflowing_sub(u8::from(borrow));
                (*byte, borrow) = (less, first || second);
            }
        }
    }
    rest.split_off(1)
}

/// The second point of a commitment, from what the verifier chose; `None` where there is none.
fn second_point(key: &Object, curve: EccCurve, s2: &SensitiveData, y2: &Coordinate) -> Result<Option<Point>> {
    if s2.is_empty() != y2.is_empty() {
        return Err(ResponseCode::SIZE.parameter(3));
    }
    if s2.is_empty() {
        return Ok(None);
    }
    let algorithm = key.public.name_hash.ok_or(ResponseCode::HASH.handle(1))?;
    let x = modulo_prime(curve, hash(algorithm, &[s2.as_bytes()]).as_bytes());
    if !ecc::is_on_curve(curve, &x, y2.as_bytes()) {
        return Err(ResponseCode::ECC_POINT.parameter(2));
    }
    Ok(Some(Point { x, y: y2.as_bytes().to_vec() }))
}

/// TPM2_Commit (Part 3, 19.2).
pub fn commit(request: &mut Request<'_>) -> Result<()> {
    let p1 = request.parameter_with(EccPoint::unmarshal_sized)?;
    let s2: SensitiveData = request.parameter()?;
    let y2: Coordinate = request.parameter()?;
    request.end_of_parameters()?;
    let key = request.state.object(request.handle(0)).ok_or(ResponseCode::KEY.handle(1))?;
    let (parameters, _) = ecc_public(&key.public).map_err(|code| code.handle(1))?;
    let curve = parameters.curve;
    if !matches!(parameters.scheme, Scheme::EcDaa(..)) {
        return Err(ResponseCode::SCHEME.handle(1));
    }
    let p2 = second_point(key, curve, &s2, &y2)?;
    let p1 = (!p1.x.is_empty() || !p1.y.is_empty()).then(|| Point::from(&p1));
    if p1.as_ref().is_some_and(|point| !ecc::is_on_curve(curve, &point.x, &point.y)) {
        return Err(ResponseCode::ECC_POINT.parameter(1));
    }
    let scalar = key.sensitive.as_ref().ok_or(ResponseCode::KEY.handle(1))?.secret.clone();
    let nonce =
        request.state.commitments.next_scalar(curve, key.name.as_bytes()).ok_or(ResponseCode::NO_RESULT)?;
    let times = |scalar: &[u8], point: Option<&Point>| match point {
        Some(point) => ecc::multiply(curve, scalar, point)
            .map(|point| EccPoint::from(&point))
            .ok_or(ResponseCode::NO_RESULT),
        None => Ok(EccPoint::default()),
    };
    let k = times(scalar.as_bytes(), p2.as_ref())?;
    let l = times(&nonce, p2.as_ref())?;
    let base = base_point(curve);
    let e = times(&nonce, p1.as_ref().or(p2.is_none().then_some(&base)))?;
    let counter = request.state.commitments.commit();
    for point in [&k, &l, &e] {
        put_sized_structure(request.response, point);
    }
    request.answer(&counter);
    Ok(())
}

/// TPM2_EC_Ephemeral (Part 3, 19.3).
pub fn ec_ephemeral(request: &mut Request<'_>) -> Result<()> {
    let curve: Curve = request.parameter()?;
    request.end_of_parameters()?;
    let nonce = request.state.commitments.next_scalar(curve, &[]).ok_or(ResponseCode::NO_RESULT)?;
    let point = ecc::multiply(curve, &nonce, &base_point(curve)).ok_or(ResponseCode::NO_RESULT)?;
    let counter = request.state.commitments.commit();
    put_sized_structure(request.response, &EccPoint::from(&point));
    request.answer(&counter);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remainders_are_as_long_as_the_prime_and_below_it() {
        let curve = EccCurve::P256;
        let prime = curve.parameters().p;
        assert_eq!(modulo_prime(curve, prime), [0; 32]);
        let mut more = prime.to_vec();
        more[31] += 0;
        more.push(5);
        // prime * 256 + 5
        let mut five = [0; 32];
        five[31] = 5;
        assert_eq!(modulo_prime(curve, &more), five);
        assert_eq!(modulo_prime(curve, &[7; 4])[28..], [7; 4]);
    }
}
