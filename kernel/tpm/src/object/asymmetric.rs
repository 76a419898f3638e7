//! Asymmetric keys between their structures and the mathematics.

use crate::crypto::random::Random;
use crate::response_code::ResponseCode;
use crate::structures::public::{EccParameters, RsaParameters, Unique};
use crate::wire::{Result, Secret};

/// A prime and its modulus.
pub fn generate_rsa(_rsa: &RsaParameters, _random: &mut dyn Random) -> Result<(Secret, Unique)> {
    Err(ResponseCode::ASYMMETRIC)
}

/// A scalar and its point.
pub fn generate_ecc(_ecc: &EccParameters, _random: &mut dyn Random) -> Result<(Secret, Unique)> {
    Err(ResponseCode::ASYMMETRIC)
}
