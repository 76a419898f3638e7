//! PCRs: who may extend and reset which, what an allocation needs, and persistent objects beside them.

mod driver;

use driver::{Driver, sized};

const OWNER: u32 = 0x4000_0001;
const NULL: u32 = 0x4000_0007;
const PLATFORM: u32 = 0x4000_000C;

fn read(tpm: &mut Driver, bank: u16, pcr: u32) -> Option<Vec<u8>> {
    let mut select = [0; 3];
    select[pcr as usize / 8] = 1 << (pcr % 8);
    let answer = tpm.command(0x17E).u32(1).u16(bank).u8(3).bytes(&select).run().unwrap().parameters;
    (answer[17] == 1).then(|| answer[20..].to_vec())
}

fn extend(tpm: &mut Driver, pcr: u32) -> Result<(), u32> {
    tpm.command(0x182).handle(pcr).password(b"").u32(1).u16(0x0B).bytes(&[7; 32]).run().map(|_| ())
}

fn reset(tpm: &mut Driver, pcr: u32) -> Result<(), u32> {
    tpm.command(0x13D).handle(pcr).password(b"").run().map(|_| ())
}

#[test]
fn localities_decide_who_extends_and_resets() {
    let mut tpm = Driver::started();
    assert_eq!(extend(&mut tpm, 17), Err(0x907));
    assert_eq!(reset(&mut tpm, 0), Err(0x907));
    assert_eq!(reset(&mut tpm, 20), Err(0x907));
    extend(&mut tpm, 16).unwrap();
    reset(&mut tpm, 16).unwrap();
    assert_eq!(read(&mut tpm, 0x0B, 16), Some(vec![0; 32]));
    assert_eq!(read(&mut tpm, 0x0B, 17), Some(vec![0xFF; 32]), "no dynamic root of trust yet");
    tpm.locality = 4;
    assert_eq!(reset(&mut tpm, 17), Err(0x907), "locality 4 resets by _TPM_Hash_Start");
    tpm.locality = 2;
    extend(&mut tpm, 17).unwrap();
}

/// PC Client PTP, table of PCR attributes: 20 to 22 belong to the operating system at locality 2, and to locality 4, which resets
/// them by a dynamic root of trust and not by a command.
#[test]
fn the_next_to_highest_locality_resets_no_dynamic_pcr() {
    let mut tpm = Driver::started();
    for pcr in 17..=22 {
        tpm.locality = 3;
        assert_eq!(reset(&mut tpm, pcr), Err(0x907), "PCR {pcr}");
    }
    for (locality, pcr) in [(2, 20), (2, 21), (2, 22)] {
        tpm.locality = locality;
        reset(&mut tpm, pcr).unwrap();
    }
}

#[test]
fn an_event_is_hashed_by_every_algorithm_and_extends_what_is_allocated() {
    let mut tpm = Driver::started();
    let event = tpm.command(0x13C).handle(16).password(b"").sized(b"abc").run().unwrap().parameters;
    assert_eq!(event.len(), 4 + 4 * 2 + 20 + 32 + 48 + 64);
    assert_eq!(event[4..10], [0x00, 0x04, 0xA9, 0x99, 0x3E, 0x36]);
    assert_ne!(read(&mut tpm, 0x0B, 16), Some(vec![0; 32]));
    assert_eq!(read(&mut tpm, 0x04, 16), None, "this bank is not allocated");
    tpm.command(0x13C).handle(NULL).password(b"").sized(b"abc").run().unwrap();
    assert_eq!(tpm.command(0x13C).handle(NULL).password(b"").sized(&[0; 1025]).run(), Err(0x1D5));
    assert_eq!(tpm.command(0x13C).handle(17).password(b"").sized(b"abc").run(), Err(0x907));
}

#[test]
fn an_allocation_comes_with_the_next_reset() {
    let mut tpm = Driver::started();
    let allocate = |tpm: &mut Driver, banks: &[(u16, u8)]| {
        let mut command = tpm.command(0x12B).handle(PLATFORM).password(b"").u32(banks.len() as u32);
        for (bank, byte) in banks {
            command = command.u16(*bank).u8(3).bytes(&[*byte; 3]);
        }
        command.run().map(|answer| answer.parameters)
    };
    assert_eq!(allocate(&mut tpm, &[(0x0B, 0), (0x0C, 0)]), Err(0x127));
    let answer = allocate(&mut tpm, &[(0x04, 0xFF), (0x0C, 0xFF), (0x0C, 0)]).unwrap();
    assert_eq!(answer[..9], [1, 0, 0, 0, 24, 0, 0, 0x04, 0xE0], "24 * (20 + 32) bytes");
    assert_eq!(tpm.command(0x145).u16(1).run(), Err(0x1CA), "a resume would undo it");
    assert_eq!(read(&mut tpm, 0x04, 0), None);
    tpm.tpm.power_on();
    tpm.startup_clear();
    assert_eq!(read(&mut tpm, 0x04, 0), Some(vec![0; 20]));
    assert_eq!(read(&mut tpm, 0x0C, 0), None);
}

#[test]
fn one_group_of_pcrs_has_an_authorization_value_and_a_policy() {
    let mut tpm = Driver::started();
    tpm.locality = 2;
    let set = |tpm: &mut Driver, pcr| {
        tpm.command(0x183).handle(pcr).password(b"").sized(b"secret").run().map(|_| ())
    };
    assert_eq!(set(&mut tpm, 16), Err(0x084));
    set(&mut tpm, 20).unwrap();
    assert_eq!(extend(&mut tpm, 21), Err(0x9A2));
    let policy = |tpm: &mut Driver, digest: &[u8], pcr| {
        let set = tpm.command(0x12C).handle(PLATFORM).password(b"").sized(digest).u16(0x0B);
        set.u32(pcr).run().map(|_| ())
    };
    assert_eq!(policy(&mut tpm, &[1; 31], 20), Err(0x1D5));
    assert_eq!(policy(&mut tpm, &[1; 32], 16), Err(0x3C4));
    policy(&mut tpm, &[1; 32], 22).unwrap();
    assert_eq!(extend(&mut tpm, 20), Err(0x124), "a policy has to be used now");
}

#[test]
fn a_dynamic_root_of_trust_resets_and_extends_its_pcrs() {
    let mut tpm = Driver::started();
    tpm.tpm.hash_start();
    tpm.tpm.hash_data(b"loader");
    tpm.tpm.hash_end();
    assert_eq!(read(&mut tpm, 0x0B, 18), Some(vec![0; 32]));
    let measured = read(&mut tpm, 0x0B, 17).unwrap();
    assert!(measured != [0; 32] && measured != [0xFF; 32]);
}

/// A symmetric storage key.
fn primary(tpm: &mut Driver, hierarchy: u32, attributes: u32) -> u32 {
    let mut public = vec![0x00, 0x25, 0x00, 0x0B];
    public.extend(attributes.to_be_bytes());
    public.extend([0, 0, 0x00, 0x06, 0x00, 0x80, 0x00, 0x43, 0, 0]);
    let create = tpm.command(0x131).handle(hierarchy).password(b"").bytes(&sized(&[0, 0, 0, 0]));
    create.bytes(&sized(&public)).sized(b"").u32(0).run().unwrap().handle
}

fn evict(tpm: &mut Driver, auth: u32, object: u32, persistent: u32) -> Result<(), u32> {
    tpm.command(0x120).handle(auth).handle(object).password(b"").u32(persistent).run().map(|_| ())
}

#[test]
fn a_persistent_object_survives_until_it_is_evicted() {
    let mut tpm = Driver::started();
    let handle = primary(&mut tpm, OWNER, 0x0003_0472);
    evict(&mut tpm, OWNER, handle, 0x8100_0001).unwrap();
    assert_eq!(evict(&mut tpm, OWNER, handle, 0x8100_0001), Err(0x14C));
    let public = tpm.command(0x173).handle(handle).run().unwrap();
    tpm.tpm.power_on();
    tpm.startup_clear();
    assert_eq!(tpm.command(0x173).handle(0x8100_0001).run().unwrap(), public);
    assert_eq!(evict(&mut tpm, OWNER, 0x8100_0001, 0x8100_0002), Err(0x28B));
    evict(&mut tpm, OWNER, 0x8100_0001, 0x8100_0001).unwrap();
    assert_eq!(tpm.command(0x173).handle(0x8100_0001).run(), Err(0x18B));
}

#[test]
fn owner_and_platform_keep_to_their_objects_and_handles() {
    let mut tpm = Driver::started();
    let (owner, platform) = (primary(&mut tpm, OWNER, 0x0003_0472), primary(&mut tpm, PLATFORM, 0x0003_0472));
    assert_eq!(evict(&mut tpm, OWNER, platform, 0x8100_0001), Err(0x285));
    assert_eq!(evict(&mut tpm, PLATFORM, owner, 0x8180_0001), Err(0x285));
    assert_eq!(evict(&mut tpm, OWNER, owner, 0x8180_0001), Err(0x1CD));
    assert_eq!(evict(&mut tpm, PLATFORM, platform, 0x8100_0001), Err(0x1CD));
    assert_eq!(evict(&mut tpm, OWNER, owner, 0x8000_0001), Err(0x1C4));
    let (null, cleared) = (primary(&mut tpm, NULL, 0x0003_0472), primary(&mut tpm, OWNER, 0x0003_0476));
    assert_eq!(evict(&mut tpm, OWNER, null, 0x8100_0001), Err(0x282));
    assert_eq!(evict(&mut tpm, OWNER, cleared, 0x8100_0001), Err(0x282));
    evict(&mut tpm, OWNER, owner, 0x8100_0001).unwrap();
    evict(&mut tpm, PLATFORM, 0x8100_0001, 0x8100_0001).unwrap();
    for number in 0..16 {
        evict(&mut tpm, OWNER, owner, 0x8100_0000 + number).unwrap();
    }
    assert_eq!(evict(&mut tpm, OWNER, owner, 0x8100_0010), Err(0x14B));
}
