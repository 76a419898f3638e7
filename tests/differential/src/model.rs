//! What a sequence has made so far, as far as the next commands need it.

use crate::dice::Dice;
use crate::draft::Piece;
use std::collections::BTreeSet;

/// Kinds of things that TPMs answer with and take back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bag {
    Context,
    CreationHash,
    Credential,
    Digest,
    Duplicate,
    Name,
    Point,
    Private,
    Public,
    Secret,
    Signature,
    Ticket,
    Timeout,
}

/// A loaded object or sequence.
#[derive(Clone, Debug)]
pub struct Object {
    pub handle: usize,
    pub auth: Vec<u8>,
    pub is_sequence: bool,
}

/// A private and a public area that can be loaded.
#[derive(Clone, Debug)]
pub struct Blob {
    pub private: usize,
    pub public: usize,
    pub auth: Vec<u8>,
}

/// A session.
#[derive(Clone, Debug)]
pub struct Session {
    pub handle: usize,
    pub is_policy: bool,
}

/// An NV index that was defined.
#[derive(Clone, Debug)]
pub struct Index {
    pub handle: u32,
    pub auth: Vec<u8>,
}

/// libtpms has room for three objects and three sessions; one of each stays free for commands that need it inside.
pub const OBJECTS: usize = 2;
/// See [`OBJECTS`].
pub const SESSIONS: usize = 2;

/// Everything that a sequence has made.
#[derive(Debug, Default)]
pub struct Model {
    /// What ours answered.
    pub ours: Vec<Vec<u8>>,
    /// What swtpm answered.
    pub theirs: Vec<Vec<u8>>,
    pub objects: Vec<Object>,
    pub blobs: Vec<Blob>,
    pub sessions: Vec<Session>,
    pub indices: Vec<Index>,
    /// Handles of policy sessions whose digest took in what each TPM made itself, such as the Name of a key.
    own_digests: BTreeSet<Vec<u8>>,
    bags: Vec<(Bag, usize)>,
}

impl Model {
    /// Keeps what both TPMs answered in one place.
    pub fn keep(&mut self, ours: &[u8], theirs: &[u8]) -> usize {
        self.ours.push(ours.to_vec());
        self.theirs.push(theirs.to_vec());
        self.ours.len() - 1
    }

    /// Keeps it as something that later commands may name.
    pub fn keep_in(&mut self, bag: Bag, ours: &[u8], theirs: &[u8]) -> usize {
        let slot = self.keep(ours, theirs);
        self.bags.push((bag, slot));
        slot
    }

    /// One of the latest things of a kind.
    pub fn any(&self, bag: Bag, dice: &mut Dice) -> Option<Piece> {
        let slots: Vec<usize> =
            self.bags.iter().rev().filter(|(of, _)| *of == bag).map(|(_, slot)| *slot).take(3).collect();
        (!slots.is_empty()).then(|| Piece::Slot(dice.one(&slots)))
    }

    /// The last thing of a kind.
    pub fn last(&self, bag: Bag) -> Option<usize> {
        self.bags.iter().rev().find(|(of, _)| *of == bag).map(|(_, slot)| *slot)
    }

    /// Notes whether the digest of a policy session is each TPM's own from here on.
    pub fn set_own_digest(&mut self, session: &Piece, own: bool) {
        let handle = self.handle(session);
        if own {
            self.own_digests.insert(handle)
        } else {
            self.own_digests.remove(&handle)
        };
    }

    /// Whether the digest of a policy session is each TPM's own.
    pub fn has_own_digest(&self, session: &Piece) -> bool {
        self.own_digests.contains(&self.handle(session))
    }

    /// Handles of sessions are the same for both TPMs, also after their contexts were saved and loaded.
    fn handle(&self, piece: &Piece) -> Vec<u8> {
        match piece {
            Piece::Bytes(handle) => handle.clone(),
            Piece::Slot(slot) => self.ours[*slot].clone(),
        }
    }

    /// Forgets a handle that is gone.
    pub fn forget(&mut self, handle: usize) {
        self.objects.retain(|object| object.handle != handle);
        self.sessions.retain(|session| session.handle != handle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_keeps_its_own_digest_under_a_new_slot() {
        let mut model = Model::default();
        let slots = [model.keep(&[3, 0, 0, 1], &[3, 0, 0, 1]), model.keep(&[3, 0, 0, 1], &[3, 0, 0, 1])];
        model.set_own_digest(&Piece::Slot(slots[0]), true);
        assert!(model.has_own_digest(&Piece::Slot(slots[1])));
        assert!(!model.has_own_digest(&Piece::u32(0x0300_0000)));
        model.set_own_digest(&Piece::u32(0x0300_0001), false);
        assert!(!model.has_own_digest(&Piece::Slot(slots[0])));
    }
}
