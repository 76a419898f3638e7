//! What callers can make a TPM keep, in bytes: the firmware's heap holds two TPMs, and nothing that a guest does may exhaust it.

mod driver;

use cap::Cap;
use driver::keys::OWNER;
use driver::{Driver, sized};
use std::alloc::System;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// A TPM that is as full as it gets, its durable copy and one command under way included.
const MOST_BYTES: usize = 1 << 20;
/// How much a command takes while it runs.
const MOST_FOR_A_COMMAND: usize = 64 << 10;

const PLATFORM: u32 = 0x4000_000C;
const NULL: u32 = 0x4000_0007;
const INDEX: u32 = 0x0180_0001;
const OWNER_READ_WRITE: u32 = 1 << 1 | 1 << 17;

fn define(tpm: &mut Driver, index: u32, bytes: u16) -> bool {
    let mut public = index.to_be_bytes().to_vec();
    public.extend([0x00, 0x0D]);
    public.extend(OWNER_READ_WRITE.to_be_bytes());
    public.extend([0, 0]);
    public.extend(bytes.to_be_bytes());
    let command = tpm.command(0x12A).handle(OWNER).password(b"");
    command.sized(&[7; 64]).bytes(&sized(&public)).run().is_ok()
}

/// TPM2_LoadExternal of a public key of 4,096 bits.
fn load_external(tpm: &mut Driver) -> bool {
    let mut public =
        vec![0x00, 0x01, 0x00, 0x0D, 0, 0, 0, 0x40, 0, 0, 0x00, 0x10, 0x00, 0x10, 0x10, 0x00, 0, 0, 0, 0];
    public.extend(sized(&[0xFF; 512]));
    tpm.command(0x167).sized(b"").bytes(&sized(&public)).u32(NULL).run().is_ok()
}

/// Does it as often as it is let.
fn exhaust(mut act: impl FnMut(u32) -> bool) -> u32 {
    (0..).take_while(|number| act(*number)).count() as u32
}

#[test]
fn a_tpm_that_is_as_full_as_it_gets_is_small() {
    let nothing = MEMORY.allocated();
    let mut tpm = Driver::started();
    let empty = MEMORY.allocated() - nothing;

    let indices = exhaust(|number| define(&mut tpm, INDEX + (number << 8), 2048));
    let more = exhaust(|number| define(&mut tpm, INDEX + ((indices + number) << 8), 0));
    assert!(indices >= 20 && indices + more < 400, "{indices} {more}");
    let with_indices = MEMORY.allocated() - nothing;

    let list = tpm.command(0x17A).u32(2).u32(0).u32(256).run().expect("TPM2_GetCapability").parameters;
    let codes: Vec<u8> = list[9..].chunks(4).flat_map(|row| [0, 0, row[2], row[3]]).collect();
    let audit = tpm.command(0x140).handle(OWNER).password(b"").u16(0x0B);
    audit.u32(codes.len() as u32 / 4).bytes(&codes).u32(0).run().expect("TPM2_SetCommandCodeAuditStatus");
    tpm.tpm.platform_mut().physical_presence = true;
    let presence = tpm.command(0x12D).handle(PLATFORM).password(b"").u32(codes.len() as u32 / 4);
    presence.bytes(&codes).u32(0).run().expect("TPM2_PP_Commands");
    for _ in 0..300 {
        tpm.command(0x18E).u16(3).run().expect("TPM2_EC_Ephemeral");
    }
    let sessions = exhaust(|_| {
        let start = tpm.command(0x176).handle(NULL).handle(NULL).sized(&[7; 64]).sized(b"");
        start.u8(1).u16(0x10).u16(0x0D).run().is_ok()
    });
    let objects = exhaust(|_| load_external(&mut tpm));
    assert_eq!((sessions, objects), (16, 64));
    let full = MEMORY.allocated() - nothing;
    println!("{empty} bytes empty, {with_indices} with {} indices, {full} full", indices + more);
    assert!(full < MOST_BYTES, "{full}");

    // What a command takes does not depend on how many indices there are.
    let before = MEMORY.max_allocated();
    let write = tpm.command(0x137).handle(OWNER).handle(INDEX).password(b"");
    write.sized(&[1; 1024]).u16(0).run().expect("TPM2_NV_Write");
    assert!(MEMORY.max_allocated().max(before) - nothing < full + MOST_FOR_A_COMMAND);
    for _ in 0..100 {
        tpm.command(0x181).run().expect("TPM2_ReadClock");
    }
    assert!(MEMORY.allocated() - nothing < full + MOST_FOR_A_COMMAND, "nothing is kept by what only asks");
}
