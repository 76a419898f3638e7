//! Draws the next command of a sequence, and notes what its success leaves behind.

use crate::dice::Dice;
use crate::draft::{Authorization, Draft, Piece};
use crate::grammar::{Effect, Field, Place, ROWS, Row};
use crate::model::{Bag, Blob, Index, Model, OBJECTS, Object, SESSIONS, Session};
use crate::parameters::Draw;

/// TPM_RS_PW.
const PASSWORD: u32 = 0x4000_0009;
const NULL: u32 = 0x4000_0007;

/// A command, and what the model has to know when it succeeds.
pub struct Drawn {
    pub row: &'static Row,
    pub draft: Draft,
    new_auth: Vec<u8>,
    blob: Option<Blob>,
}

/// The next command.
pub fn draw(dice: &mut Dice, model: &Model) -> Drawn {
    let row = choose(dice, model);
    let new_auth = if dice.percent(60) { Vec::new() } else { b"auth".to_vec() };
    let blob = (!model.blobs.is_empty() && row.effect == Effect::LoadsBlob)
        .then(|| model.blobs[dice.below(model.blobs.len())].clone());
    let (mut handles, mut authorizations) = (Vec::new(), Vec::new());
    let index = (!model.indices.is_empty()).then(|| model.indices[dice.below(model.indices.len())].clone());
    for (number, place) in row.places.iter().enumerate() {
        let (handle, auth) = pick(*place, dice, model, index.as_ref());
        handles.push(handle);
        if number < row.authorized {
            authorizations.push(authorize(dice, model, auth));
        }
    }
    let mut draw = Draw { dice, model, new_auth: new_auth.clone(), blob: blob.clone() };
    let parameters = row.parameters.iter().map(|parameter| parameter(&mut draw)).collect();
    Drawn { row, draft: Draft { code: row.code, handles, authorizations, parameters }, new_auth, blob }
}

fn choose(dice: &mut Dice, model: &Model) -> &'static Row {
    let total: usize = ROWS.iter().map(|row| row.weight).sum();
    loop {
        let mut rest = dice.below(total);
        let row = ROWS.iter().find(|row| {
            let here = rest < row.weight;
            rest = rest.saturating_sub(row.weight);
            here
        });
        if let Some(row) = row.filter(|row| fits(row, model) || dice.percent(2)) {
            return row;
        }
    }
}

/// Whether there is room for what a command makes, and something for it to work on.
fn fits(row: &Row, model: &Model) -> bool {
    let room = match row.effect {
        Effect::MakesObject | Effect::LoadsBlob | Effect::MakesSequence | Effect::LoadsContext => {
            model.objects.len() < OBJECTS && model.sessions.len() < SESSIONS
        }
        Effect::MakesSession => model.sessions.len() < SESSIONS,
        _ => true,
    };
    room && row.places.iter().all(|place| match place {
        Place::Object => model.objects.iter().any(|object| !object.is_sequence),
        Place::Sequence => model.objects.iter().any(|object| object.is_sequence),
        Place::PolicySession => model.sessions.iter().any(|session| session.is_policy),
        Place::Nv => !model.indices.is_empty(),
        _ => true,
    })
}

/// A handle for a place, and the authorization value that goes with it.
fn pick(place: Place, dice: &mut Dice, model: &Model, index: Option<&Index>) -> (Piece, Vec<u8>) {
    if dice.percent(2) {
        let handle = dice.one(&[
            0,
            0x17,
            0x0100_0001,
            0x0200_0000,
            0x4000_0001,
            NULL,
            0x8000_0000,
            0x8100_0000,
            0xffff_ffff,
        ]);
        return (Piece::u32(handle), Vec::new());
    }
    let permanent = |handles: &[u32], dice: &mut Dice| (Piece::u32(dice.one(handles)), Vec::new());
    match place {
        Place::Hierarchy => permanent(&[0x4000_0001, 0x4000_0001, 0x4000_000b, 0x4000_000c, NULL], dice),
        Place::OwnerOrPlatform => permanent(&[0x4000_0001, 0x4000_0001, 0x4000_000c], dice),
        Place::LockoutOrPlatform => permanent(&[0x4000_000a, 0x4000_000c], dice),
        Place::Platform => permanent(&[0x4000_000c], dice),
        Place::Endorsement => permanent(&[0x4000_000b], dice),
        Place::Lockout => permanent(&[0x4000_000a], dice),
        Place::Pcr => permanent(&[0, 1, 10, 16, 16, 23, 17, NULL], dice),
        Place::Object => object(dice, model, |object| !object.is_sequence),
        Place::Sequence => object(dice, model, |object| object.is_sequence),
        Place::ObjectOrNull if dice.percent(60) => (Piece::u32(NULL), Vec::new()),
        Place::ObjectOrNull => object(dice, model, |object| !object.is_sequence),
        Place::Nv => index.map_or((Piece::u32(0x0100_0001), Vec::new()), |index| {
            (Piece::u32(index.handle), index.auth.clone())
        }),
        Place::NvAuthority => match dice.below(10) {
            0..4 => permanent(&[0x4000_0001], dice),
            4 => permanent(&[0x4000_000c], dice),
            _ => pick(Place::Nv, dice, model, index),
        },
        Place::PolicySession => {
            let policies: Vec<usize> = model
                .sessions
                .iter()
                .filter(|session| session.is_policy)
                .map(|session| session.handle)
                .collect();
            slot_or(&policies, 0x0300_0000, dice)
        }
        Place::Loaded => {
            let all: Vec<usize> = model
                .objects
                .iter()
                .map(|object| object.handle)
                .chain(model.sessions.iter().map(|session| session.handle))
                .collect();
            slot_or(&all, 0x8000_0000, dice)
        }
        Place::Entity => match dice.below(3) {
            0 => permanent(&[0x4000_0001, 0x4000_000b, 0x4000_000a], dice),
            1 => object(dice, model, |_| true),
            _ => pick(Place::Nv, dice, model, index),
        },
    }
}

fn slot_or(slots: &[usize], otherwise: u32, dice: &mut Dice) -> (Piece, Vec<u8>) {
    let piece = if slots.is_empty() { Piece::u32(otherwise) } else { Piece::Slot(dice.one(slots)) };
    (piece, Vec::new())
}

fn object(dice: &mut Dice, model: &Model, fits: impl Fn(&Object) -> bool) -> (Piece, Vec<u8>) {
    let fitting: Vec<&Object> = model.objects.iter().filter(|object| fits(object)).collect();
    if fitting.is_empty() {
        return (Piece::u32(0x8000_0000), Vec::new());
    }
    let object = dice.one(&fitting);
    (Piece::Slot(object.handle), object.auth.clone())
}

fn authorize(dice: &mut Dice, model: &Model, auth: Vec<u8>) -> Authorization {
    let session = match model.sessions.is_empty() || dice.percent(90) {
        true => Piece::u32(PASSWORD),
        false => Piece::Slot(model.sessions[dice.below(model.sessions.len())].handle),
    };
    let hmac = if dice.percent(95) { auth } else { b"wrong".to_vec() };
    Authorization { session, attributes: dice.one(&[0, 1, 1, 1]), hmac }
}

/// The fields of the answer to a command: the digest of a policy that took in what each TPM made itself is each TPM's own.
pub fn fields(drawn: &Drawn, model: &Model) -> &'static [Field] {
    const OWN: &[Field] = &[Field::OwnSized];
    let session = drawn.draft.handles.first().filter(|_| drawn.row.code == POLICY_GET_DIGEST);
    if session.is_some_and(|session| model.has_own_digest(session)) { OWN } else { drawn.row.fields }
}

/// Notes whether a policy took in what each TPM made itself: keys by their handles, or earlier answers.
fn note_policy(model: &mut Model, drawn: &Drawn) {
    let draft = &drawn.draft;
    let Some(at) = drawn.row.places.iter().position(|place| *place == Place::PolicySession) else { return };
    let Some(session) = draft.handles.get(at) else { return };
    if drawn.row.code == POLICY_RESTART {
        model.set_own_digest(session, false);
    }
    let is_own = |piece: &Piece| match piece {
        Piece::Slot(_) => true,
        Piece::Bytes(bytes) => bytes.len() == 4 && matches!(bytes.first(), Some(0x80 | 0x81)),
    };
    let others = draft.handles.iter().enumerate().filter(|(number, _)| *number != at);
    if others.map(|(_, piece)| piece).chain(&draft.parameters).any(is_own) {
        model.set_own_digest(session, true);
    }
}

/// Notes the effect of a command that both TPMs did. `handle` is the slot of the handle that it answered.
/// Says whether the sequence can go on.
pub fn note(model: &mut Model, drawn: &Drawn, handle: Option<usize>) -> bool {
    let auth = drawn.new_auth.clone();
    note_policy(model, drawn);
    match (drawn.row.effect, handle) {
        (Effect::MakesObject, Some(handle)) => {
            model.objects.push(Object { handle, auth, is_sequence: false })
        }
        (Effect::LoadsBlob, Some(handle)) => {
            let auth = drawn.blob.as_ref().map(|blob| blob.auth.clone()).unwrap_or_default();
            model.objects.push(Object { handle, auth, is_sequence: false });
        }
        (Effect::MakesSequence, Some(handle)) => {
            model.objects.push(Object { handle, auth, is_sequence: true })
        }
        (Effect::MakesSession, Some(handle)) => {
            let is_policy = model.ours[handle].first() == Some(&3);
            model.set_own_digest(&Piece::Slot(handle), false);
            model.sessions.push(Session { handle, is_policy });
        }
        (Effect::LoadsContext, Some(handle)) => {
            let of_session = matches!(model.ours[handle].first(), Some(2 | 3));
            if of_session {
                let is_policy = model.ours[handle].first() == Some(&3);
                model.sessions.push(Session { handle, is_policy });
            } else {
                model.objects.push(Object { handle, auth: Vec::new(), is_sequence: false });
            }
        }
        (Effect::MakesBlob, _) => {
            if let (Some(private), Some(public)) = (model.last(Bag::Private), model.last(Bag::Public)) {
                model.blobs.push(Blob { private, public, auth });
            }
        }
        (Effect::EndsFirst, _) => forget(model, drawn.draft.handles.first()),
        (Effect::EndsParameter, _) => forget(model, drawn.draft.parameters.first()),
        (Effect::DefinesIndex, _) => {
            if let Some(Piece::Bytes(public)) = drawn.draft.parameters.get(1)
                && let Some(number) = public.get(2..).and_then(|rest| rest.first_chunk())
            {
                model.indices.push(Index { handle: u32::from_be_bytes(*number), auth });
            }
        }
        (Effect::EndsIndex, _) => model.indices.clear(),
        (Effect::EndsAll, _) => return false,
        _ => {}
    }
    // A context that was saved takes a session with it; a session that authorized may have ended with the command.
    if drawn.row.code == CONTEXT_SAVE {
        forget(model, drawn.draft.handles.first().filter(|piece| is_session(model, piece)).cloned().as_ref());
    }
    for authorization in
        drawn.draft.authorizations.iter().filter(|authorization| authorization.attributes & 1 == 0)
    {
        forget(model, Some(&authorization.session));
    }
    if drawn.row.code == EVENT_SEQUENCE_COMPLETE {
        forget(model, drawn.draft.handles.get(1));
    }
    true
}

const CONTEXT_SAVE: u32 = 0x162;
const POLICY_RESTART: u32 = 0x180;
const POLICY_GET_DIGEST: u32 = 0x189;
const EVENT_SEQUENCE_COMPLETE: u32 = 0x185;

fn is_session(model: &Model, piece: &Piece) -> bool {
    matches!(piece, Piece::Slot(slot) if model.sessions.iter().any(|session| session.handle == *slot))
}

fn forget(model: &mut Model, piece: Option<&Piece>) {
    if let Some(Piece::Slot(slot)) = piece {
        model.forget(*slot);
    }
}
