//! TPM_PT: the fixed and the variable properties. Part 2, section 6.13.

use alloc::vec::Vec;

use super::Page;
use crate::command::COMMANDS;
use crate::crypto::ecc::EccCurve;
use crate::platform::BufferBytes;
use crate::session::CONTEXT_GAP_MAX;
use crate::state::State;
use crate::structures::algorithms::id;
use crate::structures::limits;
use crate::structures::nv::NvType;
use crate::wire::Marshal;

const FIXED: u32 = 0x100;
const VARIABLE: u32 = 0x200;
const GROUP: u32 = 0x100;
/// TPM_PT_MANUFACTURER to TPM_PT_FIRMWARE_VERSION_2: what a TPM in failure mode still says (Part 3, TPM2_GetCapability). It
/// might say more, but nothing else tells a diagnosis anything, and what failed may be what the rest is calculated from.
const IDENTITY: core::ops::RangeInclusive<u32> = 0x105..=0x10C;

/// TPMS_TAGGED_PROPERTY.
struct Tagged(u32, u32);

impl Marshal for Tagged {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.0.marshal(out);
        self.1.marshal(out);
    }
}

/// The properties of one group, from the asked one on: a list never goes on into the next group.
pub fn list(state: &State, page: Page) -> (bool, Vec<u8>) {
    let property = page.property.max(FIXED);
    let group = property & !(GROUP - 1);
    let rows = match group {
        FIXED => fixed(state.buffers),
        VARIABLE => variable(state),
        _ => Vec::new(),
    };
    let says = |number: u32| state.failure.is_none() || IDENTITY.contains(&number);
    let rows = rows
        .into_iter()
        .filter(|(number, _)| says(*number))
        .map(|(number, value)| (number, Tagged(number, value)));
    Page { property, ..page }.list(rows, 8)
}

const fn text(text: [u8; 4]) -> u32 {
    u32::from_be_bytes(text)
}

const fn size(size: usize) -> u32 {
    size as u32
}

/// The version of this engine: major and minor, and patch.
fn firmware_version() -> (u32, u32) {
    let number = |text: &str| text.parse().unwrap_or(0);
    let major: u32 = number(env!("CARGO_PKG_VERSION_MAJOR"));
    let minor: u32 = number(env!("CARGO_PKG_VERSION_MINOR"));
    ((major << 16) | minor, number(env!("CARGO_PKG_VERSION_PATCH")))
}

/// The firmware version as attestations report it.
pub fn firmware_version_number() -> u64 {
    let (high, low) = firmware_version();
    (u64::from(high) << 32) | u64::from(low)
}

fn fixed(buffers: BufferBytes) -> Vec<(u32, u32)> {
    let (firmware_high, firmware_low) = firmware_version();
    let commands = size(COMMANDS.len());
    let mut rows = identity(firmware_high, firmware_low);
    rows.extend([
        (0x10D, size(limits::MAX_BUFFER_BYTES)),
        (0x10E, size(limits::LOADED_OBJECTS)),
        (0x10F, size(limits::MAX_PERSISTENT_OBJECTS)),
        (0x110, size(limits::LOADED_SESSIONS)),
        (0x111, size(limits::ACTIVE_SESSIONS)),
        (0x112, size(limits::PCR_COUNT)),
        (0x113, size(limits::PCR_SELECT_BYTES)),
        (0x114, CONTEXT_GAP_MAX as u32),
        // No limit on counters but their memory.
        (0x116, 0),
        (0x117, size(limits::MAX_NV_INDEX_BYTES)),
        // TPMA_MEMORY: NV memory is shared by indices and objects.
        (0x118, 0x2),
        (0x119, crate::clock::UPDATE_INTERVAL_MILLISECONDS as u32),
        (0x11A, u32::from(id::SHA512)),
        (0x11B, u32::from(id::AES)),
        (0x11C, 256),
        (0x11D, 0xFF),
        (0x11E, size(buffers.command)),
        (0x11F, size(buffers.response)),
        (0x120, size(limits::MAX_DIGEST_BYTES)),
        (0x121, size(limits::MAX_CONTEXT_DATA_BYTES)),
        (0x122, size(limits::MAX_CONTEXT_DATA_BYTES)),
        // PC Client platform TPM profile 1.05, of 2020-09-04.
        (0x123, 1),
        (0x124, 0),
        (0x125, 105),
        (0x126, 248),
        (0x127, 2020),
        (0x128, size(limits::SPLIT_SIGNINGS)),
        (0x129, commands),
        (0x12A, commands),
        (0x12B, 0),
        (0x12C, size(limits::MAX_NV_BUFFER_BYTES)),
        (0x12D, 0),
        (0x12E, size(limits::MAX_CAPABILITY_BYTES)),
    ]);
    rows
}

/// The specification (2.0, version 1.85 of 2026-03-12) and the manufacturer.
fn identity(firmware_high: u32, firmware_low: u32) -> Vec<(u32, u32)> {
    alloc::vec![
        (0x100, text(*b"2.0\0")),
        (0x101, 0),
        (0x102, 185),
        (0x103, 71),
        (0x104, 2026),
        (0x105, text(*b"VCHS")),
        (0x106, text(*b"Vouc")),
        (0x107, text(*b"hsaf")),
        (0x108, text(*b"e vT")),
        (0x109, text(*b"PM\0\0")),
        (0x10A, 1),
        (0x10B, firmware_high),
        (0x10C, firmware_low),
    ]
}

fn variable(state: &State) -> Vec<(u32, u32)> {
    let (loaded, active) = (state.sessions.loaded(), state.sessions.active());
    let persistent = state.nv.persistent.len();
    let counters =
        state.nv.indices.values().filter(|index| index.public.attributes.is(NvType::Counter)).count();
    let lockout = &state.dictionary_attack;
    alloc::vec![
        (0x200, permanent(state)),
        (0x201, startup_clear(state)),
        (0x202, size(state.nv.indices.len())),
        (0x203, size(loaded)),
        (0x204, size(limits::LOADED_SESSIONS.saturating_sub(loaded))),
        (0x205, size(active)),
        (0x206, size(limits::ACTIVE_SESSIONS.saturating_sub(active))),
        (0x207, size(state.objects.free())),
        (0x208, size(persistent)),
        (0x209, size(limits::MAX_PERSISTENT_OBJECTS.saturating_sub(persistent))),
        (0x20A, size(counters)),
        (0x20B, size(state.nv.free_counters())),
        (0x20C, state.algorithm_set),
        (0x20D, size(EccCurve::ALL.len())),
        (0x20E, lockout.failed_tries),
        (0x20F, lockout.max_tries),
        (0x210, lockout.recovery_seconds),
        (0x211, lockout.lockout_recovery_seconds),
        (0x212, 0),
        (0x213, (state.audit.counter >> 32) as u32),
        (0x214, state.audit.counter as u32),
    ]
}

/// TPMA_PERMANENT.
fn permanent(state: &State) -> u32 {
    const TPM_GENERATED_EPS: u32 = 1 << 10;
    let hierarchies = &state.hierarchies;
    let bit = |set: bool, at: u32| u32::from(set) << at;
    TPM_GENERATED_EPS
        | bit(!hierarchies.owner.auth.is_empty(), 0)
        | bit(!hierarchies.endorsement.auth.is_empty(), 1)
        | bit(!hierarchies.lockout_auth.is_empty(), 2)
        | bit(hierarchies.clear_disabled, 8)
        | bit(state.dictionary_attack.is_locked_out(), 9)
}

/// TPMA_STARTUP_CLEAR.
fn startup_clear(state: &State) -> u32 {
    let hierarchies = &state.hierarchies;
    let bit = |set: bool, at: u32| u32::from(set) << at;
    bit(hierarchies.platform.enabled, 0)
        | bit(hierarchies.owner.enabled, 1)
        | bit(hierarchies.endorsement.enabled, 2)
        | bit(hierarchies.platform_nv_enabled, 3)
        | bit(state.read_only, 4)
        | bit(state.was_orderly, 31)
}
