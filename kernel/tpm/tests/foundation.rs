//! The way of a command through the engine: header, modes, handles, authorization, answers.

mod driver;

use driver::{Driver, sized};

const OWNER: u32 = 0x4000_0001;
const NULL: u32 = 0x4000_0007;

/// TPM2B_SENSITIVE_CREATE.
fn sensitive(auth: &[u8], data: &[u8]) -> Vec<u8> {
    sized(&[sized(auth), sized(data)].concat())
}

/// A symmetric storage key: AES-128-CFB, SHA-256.
fn storage_template() -> Vec<u8> {
    let mut public = vec![0x00, 0x25, 0x00, 0x0B, 0x00, 0x03, 0x04, 0x72, 0, 0];
    public.extend([0x00, 0x06, 0x00, 0x80, 0x00, 0x43, 0, 0]);
    sized(&public)
}

/// A sealed data object that its authorization value opens.
fn sealed_template() -> Vec<u8> {
    sized(&[0x00, 0x08, 0x00, 0x0B, 0x00, 0x00, 0x00, 0x52, 0, 0, 0x00, 0x10, 0, 0])
}

#[test]
fn nothing_but_startup_is_served_before_startup() {
    let mut tpm = Driver::manufactured();
    assert_eq!(tpm.command(0x17B).u16(4).run(), Err(0x100));
    tpm.startup_clear();
    assert_eq!(tpm.command(0x17B).u16(4).run().unwrap().parameters.len(), 6);
    assert_eq!(tpm.command(0x144).u16(0).run(), Err(0x100));
}

#[test]
fn a_bad_header_has_its_own_codes() {
    let mut tpm = Driver::started();
    assert_eq!(tpm.raw(&[0x80, 0x03, 0, 0, 0, 10, 0, 0, 1, 0x7B]), [0x00, 0xC4, 0, 0, 0, 10, 0, 0, 0, 0x1E]);
    assert_eq!(tpm.raw(&[0x80, 0x01, 0, 0, 0, 11, 0, 0, 1, 0x7B])[6..], [0, 0, 1, 0x42]);
    assert_eq!(tpm.command(0x1FF).run(), Err(0x143));
    assert_eq!(tpm.command(0x17B).run(), Err(0x1DA));
    assert_eq!(tpm.command(0x17B).u16(4).u8(0).run(), Err(0x095));
}

#[test]
fn a_handle_that_needs_authorization_and_has_none_is_missing_it() {
    let mut tpm = Driver::started();
    assert_eq!(tpm.command(0x182).handle(0).u32(0).run(), Err(0x125));
    assert_eq!(tpm.command(0x182).handle(24).password(b"").u32(0).run(), Err(0x184));
    assert_eq!(tpm.command(0x153).handle(0x8000_0000).password(b"").run(), Err(0x910));
}

#[test]
fn extending_a_pcr_changes_what_is_read() {
    let mut tpm = Driver::started();
    let selection = [0, 0, 0, 1, 0x00, 0x0B, 3, 0, 0, 1];
    let before = tpm.command(0x17E).bytes(&selection).run().unwrap();
    let digest = [&[0, 0, 0, 1, 0x00, 0x0B][..], &[7; 32]].concat();
    tpm.command(0x182).handle(16).password(b"").bytes(&digest).run().unwrap();
    let after = tpm.command(0x17E).bytes(&selection).run().unwrap();
    assert_eq!(before.parameters[..18], after.parameters[..18], "PCR 16 does not count");
    assert_ne!(before.parameters[18..], after.parameters[18..]);
}

#[test]
fn a_sealed_object_opens_with_its_authorization_value_only() {
    let mut tpm = Driver::started();
    let mut create = tpm.command(0x131).handle(OWNER).password(b"").bytes(&sensitive(b"", b""));
    create = create.bytes(&storage_template()).sized(b"").u32(0);
    let parent = create.run().unwrap().handle;
    assert_eq!(parent, 0x8000_0000);

    let mut create = tpm.command(0x153).handle(parent).password(b"").bytes(&sensitive(b"secret", b"data"));
    create = create.bytes(&sealed_template()).sized(b"outside").u32(0);
    let parts = create.run().unwrap().all_sized();
    let loaded =
        tpm.command(0x157).handle(parent).password(b"").sized(&parts[0]).sized(&parts[1]).run().unwrap();
    assert_eq!(tpm.command(0x15E).handle(loaded.handle).password(b"secret").run().unwrap().sized(0), b"data");
    assert_eq!(tpm.command(0x15E).handle(loaded.handle).password(b"wrong").run(), Err(0x98E));

    let mut changed = parts[0].clone();
    *changed.last_mut().unwrap() ^= 1;
    let load = tpm.command(0x157).handle(parent).password(b"").sized(&changed).sized(&parts[1]).run();
    assert_eq!(load, Err(0x1DF));
    tpm.command(0x165).u32(loaded.handle).run().unwrap();
    assert_eq!(tpm.command(0x165).u32(loaded.handle).run(), Err(0x1CB));
}

#[test]
fn a_primary_key_depends_on_seed_and_template_alone() {
    let mut tpm = Driver::started();
    let mut public = Vec::new();
    for hierarchy in [OWNER, OWNER, NULL] {
        let create = tpm.command(0x131).handle(hierarchy).password(b"").bytes(&sensitive(b"", b""));
        let answer = create.bytes(&storage_template()).sized(b"").u32(0).run().unwrap();
        public.push(answer.sized(0).to_vec());
    }
    assert_eq!(public[0], public[1]);
    assert_ne!(public[0], public[2]);
}

#[test]
fn an_unbound_session_has_no_key_and_rolls_its_nonce() {
    let mut tpm = Driver::started();
    let start = tpm.command(0x176).handle(NULL).handle(NULL).sized(&[1; 32]).sized(b"").u8(0);
    let session = start.u16(0x10).u16(0x0B).run().unwrap();
    assert_eq!(session.handle, 0x0200_0000);
    assert_eq!(session.sized(0).len(), 32);
    let extend = tpm.command(0x182).handle(0).session(session.handle, &[2; 32], 1, b"").u32(0).run().unwrap();
    assert_eq!(extend.sessions.len(), 2 + 32 + 1 + 2);
    assert_ne!(&extend.sessions[2..34], session.sized(0));
    let last = tpm.command(0x182).handle(0).session(session.handle, &[2; 32], 0, b"").u32(0).run();
    assert!(last.is_ok());
    assert_eq!(
        tpm.command(0x182).handle(0).session(session.handle, &[2; 32], 1, b"").u32(0).run(),
        Err(0x918)
    );
}

#[test]
fn a_short_nonce_starts_no_session() {
    let mut tpm = Driver::started();
    let start = tpm.command(0x176).handle(NULL).handle(NULL).sized(&[1; 15]).sized(b"").u8(0);
    assert_eq!(start.u16(0x10).u16(0x0B).run(), Err(0x1D5));
}

#[test]
fn a_refused_commit_undoes_the_command() {
    let mut tpm = Driver::started();
    tpm.tpm.platform_mut().refuse_commits = true;
    assert_eq!(tpm.command(0x145).u16(1).run(), Err(0x923));
    tpm.tpm.platform_mut().refuse_commits = false;
    tpm.tpm.power_on();
    assert_eq!(tpm.command(0x144).u16(1).run(), Err(0x1C4), "nothing was saved");
    tpm.startup_clear();
}

/// The TCG's storage root key templates.
fn ecc_storage_template() -> Vec<u8> {
    let mut public = vec![0x00, 0x23, 0x00, 0x0B, 0x00, 0x03, 0x04, 0x72, 0, 0];
    public.extend([0x00, 0x06, 0x00, 0x80, 0x00, 0x43, 0x00, 0x10, 0x00, 0x03, 0x00, 0x10]);
    public.extend([0, 0, 0, 0]);
    sized(&public)
}

fn rsa_storage_template() -> Vec<u8> {
    let mut public = vec![0x00, 0x01, 0x00, 0x0B, 0x00, 0x03, 0x04, 0x72, 0, 0];
    public.extend([0x00, 0x06, 0x00, 0x80, 0x00, 0x43, 0x00, 0x10, 0x08, 0x00, 0, 0, 0, 0, 0, 0]);
    sized(&public)
}

#[test]
fn asymmetric_parents_seal_and_load() {
    for template in [ecc_storage_template(), rsa_storage_template()] {
        let mut tpm = Driver::started();
        let create = tpm.command(0x131).handle(OWNER).password(b"").bytes(&sensitive(b"", b""));
        let parent = create.bytes(&template).sized(b"").u32(0).run().unwrap().handle;
        let create = tpm.command(0x153).handle(parent).password(b"").bytes(&sensitive(b"", b"data"));
        let parts = create.bytes(&sealed_template()).sized(b"").u32(0).run().unwrap().all_sized();
        let load = tpm.command(0x157).handle(parent).password(b"").sized(&parts[0]).sized(&parts[1]);
        let loaded = load.run().unwrap().handle;
        assert_eq!(tpm.command(0x15E).handle(loaded).password(b"").run().unwrap().sized(0), b"data");
    }
}
