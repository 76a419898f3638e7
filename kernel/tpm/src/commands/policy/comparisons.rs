//! Steps that compare what the TPM knows with what the policy says: NV contents, time, capabilities.

use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::command::CommandCode;
use crate::commands::capability::capability_data;
use crate::commands::nv::access::check_read;
use crate::crypto::hash::{Digest, HashAlgorithm, hash};
use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::state::State;
use crate::structures::buffers::{DigestBuffer, TaggedDigest};
use crate::structures::capability::{Capability, Comparison};
use crate::wire::{Marshal, Reader, Result, equal_in_constant_time};

use super::{extend, policy_of};

/// Operand, offset and operation: what all these commands begin with.
struct Operation {
    operand: DigestBuffer,
    offset: u16,
    comparison: Comparison,
}

impl Operation {
    fn take(request: &mut Request<'_>) -> Result<Self> {
        Ok(Self {
            operand: request.parameter()?,
            offset: request.parameter()?,
            comparison: request.parameter()?,
        })
    }

    /// The octets of `data` that are compared: TPM_RC_VALUE for the offset, `too_large` for the operand.
    fn select<'a>(&self, data: &'a [u8], too_large: ResponseCode) -> Result<&'a [u8]> {
        let rest = data.get(usize::from(self.offset)..).ok_or(ResponseCode::VALUE.parameter(2))?;
        rest.get(..self.operand.len()).ok_or(too_large.parameter(1))
    }

    /// Compares: TPM_RC_POLICY where it does not hold.
    fn check(&self, data: &[u8]) -> Result<()> {
        if holds(self.comparison, data, self.operand.as_bytes()) { Ok(()) } else { Err(ResponseCode::POLICY) }
    }

    /// What goes into the policy digest, followed by `more`.
    fn digest(&self, algorithm: HashAlgorithm, more: &[&[u8]]) -> Digest {
        let (offset, comparison) = (self.offset.to_be_bytes(), self.comparison.to_wire().to_be_bytes());
        let mut parts = alloc::vec![self.operand.as_bytes(), &offset, &comparison];
        parts.extend_from_slice(more);
        hash(algorithm, &parts)
    }
}

/// Compares two strings of octets of the same length as big-endian numbers in two's complement.
fn signed_order(left: &[u8], right: &[u8]) -> Ordering {
    let is_negative = |bytes: &[u8]| bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    match (is_negative(left), is_negative(right)) {
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        _ => left.cmp(right),
    }
}

/// TPM_EO: Part 2, section 6.8.
fn holds(comparison: Comparison, data: &[u8], operand: &[u8]) -> bool {
    let (signed, unsigned) = (signed_order(data, operand), data.cmp(operand));
    let mut pairs = data.iter().zip(operand);
    match comparison {
        Comparison::Equal => unsigned.is_eq(),
        Comparison::NotEqual => unsigned.is_ne(),
        Comparison::SignedGreater => signed.is_gt(),
        Comparison::UnsignedGreater => unsigned.is_gt(),
        Comparison::SignedLess => signed.is_lt(),
        Comparison::UnsignedLess => unsigned.is_lt(),
        Comparison::SignedGreaterOrEqual => signed.is_ge(),
        Comparison::UnsignedGreaterOrEqual => unsigned.is_ge(),
        Comparison::SignedLessOrEqual => signed.is_le(),
        Comparison::UnsignedLessOrEqual => unsigned.is_le(),
        Comparison::BitSet => pairs.all(|(data, operand)| data & operand == *operand),
        Comparison::BitClear => pairs.all(|(data, operand)| data & operand == 0),
    }
}

/// TPM2_PolicyNV (Part 3, 23.9).
pub fn policy_nv(request: &mut Request<'_>) -> Result<()> {
    let (authorizer, index, session) = (request.handle(0), request.handle(1), request.handle(2));
    let operation = Operation::take(request)?;
    request.end_of_parameters()?;
    if !policy_of(request.state, session)?.1.trial {
        let contents = check_read(request.state, authorizer, index)?;
        operation.check(operation.select(contents.data.as_bytes(), ResponseCode::SIZE)?)?;
    }
    let name = request.state.name(index);
    let (algorithm, policy) = policy_of(request.state, session)?;
    let arguments = operation.digest(algorithm, &[]);
    extend(algorithm, policy, CommandCode::PolicyNv, &[arguments.as_bytes(), name.as_bytes()]);
    Ok(())
}

/// TPM2_PolicyCounterTimer (Part 3, 23.10): compares with a marshalled TPMS_TIME_INFO.
pub fn policy_counter_timer(request: &mut Request<'_>) -> Result<()> {
    let operation = Operation::take(request)?;
    request.end_of_parameters()?;
    let session = request.handle(0);
    // A trial leaves the comparison out, and nothing else: no policy may come of what could never be compared.
    let time = request.state.clock.time_info().to_bytes();
    let selected = operation.select(&time, ResponseCode::RANGE)?;
    if !policy_of(request.state, session)?.1.trial {
        operation.check(selected)?;
    }
    let (algorithm, policy) = policy_of(request.state, session)?;
    let arguments = operation.digest(algorithm, &[]);
    extend(algorithm, policy, CommandCode::PolicyCounterTimer, &[arguments.as_bytes()]);
    Ok(())
}

/// The one element of a capability with this number, marshalled: TPM_RC_VALUE where there is none.
fn one_property(state: &State, capability: Capability, property: u32) -> Result<Vec<u8>> {
    let first_from = |property: u32| {
        let (_, list) = capability_data(state, capability, property, 1)?;
        // The count comes first.
        Ok(list.get(size_of::<u32>()..).unwrap_or_default().to_vec())
    };
    let refused = |code: ResponseCode| {
        let about_capability = code == ResponseCode::VALUE.parameter(1);
        code.bare().parameter(if about_capability { 4 } else { 5 })
    };
    let found = first_from(property).map_err(refused)?;
    let next = property.checked_add(1).map_or_else(|| Ok(Vec::new()), first_from).unwrap_or_default();
    if found.is_empty() || found == next { Err(ResponseCode::VALUE.parameter(5)) } else { Ok(found) }
}

/// TPM2_PolicyCapability (Part 3, 23.23): compares with one marshalled capability.
pub fn policy_capability(request: &mut Request<'_>) -> Result<()> {
    let operation = Operation::take(request)?;
    let capability: Capability = request.parameter()?;
    let property: u32 = request.parameter()?;
    request.end_of_parameters()?;
    let session = request.handle(0);
    if !policy_of(request.state, session)?.1.trial {
        let value = one_property(request.state, capability, property)?;
        operation.check(operation.select(&value, ResponseCode::SIZE)?)?;
    }
    let (algorithm, policy) = policy_of(request.state, session)?;
    let named = [&capability.to_wire().to_be_bytes()[..], &property.to_be_bytes()];
    let arguments = operation.digest(algorithm, &named);
    extend(algorithm, policy, CommandCode::PolicyCapability, &[arguments.as_bytes()]);
    Ok(())
}

/// TPM2_PolicyAuthorizeNV (Part 3, 23.22): an index holds the approved policy.
pub fn policy_authorize_nv(request: &mut Request<'_>) -> Result<()> {
    let (authorizer, index, session) = (request.handle(0), request.handle(1), request.handle(2));
    request.end_of_parameters()?;
    let (algorithm, policy) = policy_of(request.state, session)?;
    let digest = policy.digest.clone();
    if !policy.trial {
        let contents = check_read(request.state, authorizer, index)?;
        let approved: TaggedDigest = Reader::new(contents.data.as_bytes()).read()?;
        if approved.hash != algorithm {
            return Err(ResponseCode::HASH);
        }
        if !equal_in_constant_time(&approved.digest, digest.as_bytes()) {
            return Err(ResponseCode::VALUE);
        }
    }
    let name = request.state.name(index);
    let (_, policy) = policy_of(request.state, session)?;
    policy.digest = Digest::zero(algorithm);
    extend(algorithm, policy, CommandCode::PolicyAuthorizeNv, &[name.as_bytes()]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_comparison_holds_where_the_specification_says() {
        let minus_one = [0xFF, 0xFF];
        let one = [0x00, 0x01];
        assert!(holds(Comparison::SignedLess, &minus_one, &one));
        assert!(holds(Comparison::UnsignedGreater, &minus_one, &one));
        assert!(holds(Comparison::SignedGreaterOrEqual, &one, &minus_one));
        assert!(!holds(Comparison::SignedGreater, &one, &one));
        assert!(holds(Comparison::UnsignedLessOrEqual, &one, &one));
        assert!(holds(Comparison::BitSet, &[0x0F], &[0x05]));
        assert!(!holds(Comparison::BitSet, &[0x0F], &[0x15]));
        assert!(holds(Comparison::BitClear, &[0x0F], &[0x50]));
        assert!(holds(Comparison::NotEqual, &minus_one, &one));
        assert!(!holds(Comparison::Equal, &minus_one, &one));
    }
}
