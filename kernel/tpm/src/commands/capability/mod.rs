//! What the TPM can do and what state it is in: Part 3, chapter on capability commands.

mod algorithms;
pub mod properties;

use alloc::vec::Vec;

use crate::command::COMMANDS;
use crate::crypto::ecc::EccCurve;
use crate::hierarchy::Policy;
use crate::pcr::{AUTH_GROUP, attributes};
use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::state::State;
use crate::structures::buffers::put_list;
use crate::structures::capability::Capability;
use crate::structures::handles::{Handle, HandleType};
use crate::structures::limits::{HASH_COUNT, MAX_CAPABILITY_BYTES, PCR_COUNT, PCR_SELECT_BYTES};
use crate::wire::{Marshal, Result};

/// MAX_CAP_DATA: what is left of the buffer behind the capability and the count.
const MAX_DATA_BYTES: usize = MAX_CAPABILITY_BYTES - 8;

/// TPM2_GetCapability (Part 3, 30.2): of a TPM that failed, only who made it.
pub fn get_capability(request: &mut Request<'_>) -> Result<()> {
    let capability: Capability = request.parameter()?;
    let property: u32 = request.parameter()?;
    let count: u32 = request.parameter()?;
    request.end_of_parameters()?;
    if request.state.failure.is_some() && capability != Capability::TpmProperties {
        return Err(ResponseCode::FAILURE);
    }

    let (more, list) = capability_data(request.state, capability, property, count)?;
    request.answer(&more);
    request.answer(&capability.to_wire());
    request.response.extend_from_slice(&list);
    Ok(())
}

/// TPMU_CAPABILITIES from `property` on, and whether there is more: what TPM2_PolicyCapability looks at, too.
pub fn capability_data(
    state: &State,
    capability: Capability,
    property: u32,
    count: u32,
) -> Result<(bool, Vec<u8>)> {
    let page = Page { property, count };
    Ok(match capability {
        Capability::Algorithms => {
            let rows = algorithms::ALGORITHMS.iter().map(|row| (u32::from(row.0), *row));
            page.list(rows, 6)
        }
        Capability::Handles => {
            // What is listed may have another type than what is asked for: sessions are ordered by their numbers.
            let base = property & !Handle(u32::MAX).number();
            page.list(handles(state, property)?.into_iter().map(|handle| (base | handle.number(), handle)), 4)
        }
        Capability::Commands => {
            page.list(COMMANDS.iter().map(|command| (command.code.to_wire(), command.tpma_cc())), 4)
        }
        Capability::PhysicalPresenceCommands => {
            page.list(state.physical_presence.iter().map(|code| (*code, *code)), 4)
        }
        Capability::AuditCommands => page.list(state.audit.commands.iter().map(|code| (*code, *code)), 4),
        Capability::Pcrs => {
            if property != 0 {
                return Err(ResponseCode::VALUE.parameter(2));
            }
            // All banks or none: tools ask for one element and expect the whole allocation.
            let count = if count == 0 { 0 } else { HASH_COUNT as u32 };
            let banks = (0_u32..).zip(state.pcrs.allocation().0);
            Page { property, count }.list(banks, 1)
        }
        Capability::TpmProperties => properties::list(state, page),
        Capability::PcrProperties => page.list(pcr_properties(), 8),
        Capability::EccCurves => {
            page.list(EccCurve::ALL.into_iter().map(|curve| (u32::from(curve.to_wire()), curve)), 2)
        }
        Capability::AuthPolicies => {
            if Handle(property).kind() != HandleType::Permanent {
                return Err(ResponseCode::VALUE.parameter(2));
            }
            page.list(policies(state), 70)
        }
        Capability::Acts => {
            const ACTS: core::ops::RangeInclusive<u32> = 0x4000_0110..=0x4000_011F;
            if !ACTS.contains(&property) {
                return Err(ResponseCode::VALUE.parameter(2));
            }
            page.list(core::iter::empty::<(u32, u32)>(), 12)
        }
        Capability::PublicKeys | Capability::SpdmSession | Capability::VendorProperty => {
            return Err(ResponseCode::VALUE.parameter(1));
        }
    })
}

/// Which part of a list is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    property: u32,
    count: u32,
}

impl Page {
    /// The elements, ordered by their numbers, from `property` on: at most `count`, and at most what the buffer holds of
    /// elements of `element_bytes` bytes.
    fn list<T: Marshal>(self, rows: impl Iterator<Item = (u32, T)>, element_bytes: usize) -> (bool, Vec<u8>) {
        let most = MAX_DATA_BYTES.checked_div(element_bytes).unwrap_or(0);
        let count = usize::try_from(self.count).unwrap_or(usize::MAX).min(most);
        let mut wanted = rows.filter(|(number, _)| *number >= self.property).map(|(_, element)| element);
        let elements: Vec<T> = wanted.by_ref().take(count).collect();
        let mut out = Vec::new();
        put_list(&mut out, &elements);
        (wanted.next().is_some(), out)
    }
}

/// TPMS_ALG_PROPERTY.
impl Marshal for (u16, u32) {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.0.marshal(out);
        self.1.marshal(out);
    }
}

/// All handles of the type that `property` has: TPM_RC_HANDLE for another type.
fn handles(state: &State, property: u32) -> Result<Vec<Handle>> {
    Ok(match Handle(property).kind() {
        HandleType::Pcr => (0..).take(PCR_COUNT).map(Handle).collect(),
        HandleType::NvIndex => state.nv.indices.keys().copied().collect(),
        // The two session types mean loaded and saved sessions here.
        HandleType::HmacSession => state.sessions.handles(false),
        HandleType::PolicySession => state.sessions.handles(true),
        HandleType::Permanent => Handle::PERMANENT.to_vec(),
        HandleType::Transient => state.objects.handles().collect(),
        HandleType::Persistent => state.nv.persistent.keys().copied().collect(),
        HandleType::Other => return Err(ResponseCode::HANDLE.parameter(2)),
    })
}

/// TPMS_TAGGED_PCR_SELECT.
struct TaggedSelect {
    tag: u32,
    select: [u8; PCR_SELECT_BYTES],
}

impl Marshal for TaggedSelect {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.tag.marshal(out);
        out.push(PCR_SELECT_BYTES as u8);
        out.extend_from_slice(&self.select);
    }
}

/// TPM_PT_PCR: which PCRs have which property.
fn pcr_properties() -> impl Iterator<Item = (u32, TaggedSelect)> {
    const SAVE: u32 = 0x00;
    const NO_INCREMENT: u32 = 0x11;
    const DRTM_RESET: u32 = 0x12;
    const POLICY: u32 = 0x13;
    const AUTH: u32 = 0x14;
    let has = |tag: u32, pcr: usize| {
        let row = attributes(pcr);
        match tag {
            SAVE => row.saved,
            // Extend and reset alternate, for localities 0 to 4.
            0x01..=0x0A => {
                let locality = (tag.saturating_sub(1)) / 2;
                let localities = if tag % 2 == 1 { row.extend_localities } else { row.reset_localities };
                localities & (1 << locality) != 0
            }
            NO_INCREMENT => row.uncounted,
            DRTM_RESET => row.dynamic,
            POLICY | AUTH => AUTH_GROUP.contains(&pcr),
            _ => false,
        }
    };
    let tags = (SAVE..=0x0A).chain(NO_INCREMENT..=AUTH);
    tags.map(move |tag| {
        let mut select = [0; PCR_SELECT_BYTES];
        for pcr in (0..PCR_COUNT).filter(|pcr| has(tag, *pcr)) {
            if let Some(byte) = select.get_mut(pcr / 8) {
                *byte |= 1 << (pcr % 8);
            }
        }
        (tag, TaggedSelect { tag, select })
    })
}

/// TPMS_TAGGED_POLICY.
struct TaggedPolicy(Handle, Policy);

impl Marshal for TaggedPolicy {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.0.marshal(out);
        self.1.hash.marshal(out);
        out.extend_from_slice(self.1.digest.as_bytes());
    }
}

fn policies(state: &State) -> impl Iterator<Item = (u32, TaggedPolicy)> {
    let with_policy = [Handle::OWNER, Handle::LOCKOUT, Handle::ENDORSEMENT, Handle::PLATFORM];
    with_policy.into_iter().map(|handle| (handle.0, TaggedPolicy(handle, state.auth_policy(handle))))
}

/// TPM2_TestParms (Part 3, 30.3): whether the parameters can be unmarshalled is whether they are supported.
pub fn test_parms(request: &mut Request<'_>) -> Result<()> {
    let _: crate::structures::public::Parameters = request.parameter()?;
    request.end_of_parameters()
}

/// TPM2_SetCapability (Part 3, 30.4): this TPM has no capability that can be set, so each value is refused.
pub fn set_capability(request: &mut Request<'_>) -> Result<()> {
    request.parameter_with(|reader| reader.sized(MAX_CAPABILITY_BYTES))?;
    request.end_of_parameters()?;
    Err(ResponseCode::VALUE.parameter(1))
}

/// Whether the TPM has an algorithm.
pub fn is_implemented(algorithm: u16) -> bool {
    algorithms::ALGORITHMS.binary_search_by_key(&algorithm, |row| row.0).is_ok()
}
