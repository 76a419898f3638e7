//! Loaded objects: slots, names and what an object is good for. Part 1, sections on objects and names.

pub mod asymmetric;
pub mod checks;
pub mod creation;
pub mod protection;
pub mod secret_sharing;
pub mod signing;

use alloc::vec::Vec;

use crate::crypto::hash::{HashAlgorithm, Hasher, hash};
use crate::crypto::hmac::Hmac;
use crate::response_code::ResponseCode;
use crate::structures::attributes::ObjectAttributes;
use crate::structures::buffers::Name;
use crate::structures::handles::Handle;
use crate::structures::limits::LOADED_OBJECTS;
use crate::structures::public::{ObjectType, Public};
use crate::structures::sensitive::Sensitive;
use crate::undo::Shared;
use crate::wire::{Marshal, Reader, Result, Secret, Unmarshal};

/// An object with a public and perhaps a sensitive area.
#[derive(Debug, Clone)]
pub struct Object {
    pub public: Public,
    /// `None`: only the public area is loaded.
    pub sensitive: Option<Sensitive>,
    pub name: Name,
    pub qualified_name: Name,
    /// The hierarchy that it belongs to.
    pub hierarchy: Handle,
    /// Loaded by TPM2_LoadExternal: it has no parent.
    pub external: bool,
    /// Made from a primary seed.
    pub primary: bool,
    /// Goes away with TPM reset, or with TPM restart too.
    pub state_clear: bool,
}

impl Object {
    pub const fn has(&self, attributes: ObjectAttributes) -> bool {
        self.public.attributes.has(attributes)
    }

    /// Whether other objects can be under it: a storage key, or a derivation parent.
    pub fn is_parent(&self) -> bool {
        let attributes = self.public.attributes;
        self.sensitive.is_some()
            && self.public.name_hash.is_some()
            && attributes.has(ObjectAttributes::RESTRICTED)
            && attributes.has(ObjectAttributes::DECRYPT)
            && !attributes.has(ObjectAttributes::SIGN)
    }

    /// A storage parent: one that wraps its children.
    pub fn is_storage_parent(&self) -> bool {
        self.is_parent() && self.public.object_type() != ObjectType::KeyedHash
    }

    /// A parent that children are derived from.
    pub fn is_derivation_parent(&self) -> bool {
        self.is_parent() && self.public.object_type() == ObjectType::KeyedHash
    }
}

impl Marshal for Object {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.public.marshal(out);
        self.sensitive.is_some().marshal(out);
        if let Some(sensitive) = &self.sensitive {
            sensitive.marshal(out);
        }
        self.qualified_name.marshal(out);
        self.hierarchy.marshal(out);
        self.external.marshal(out);
        self.primary.marshal(out);
        self.state_clear.marshal(out);
    }
}

impl Unmarshal for Object {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        let public = Public::unmarshal_stored(reader)?;
        let sensitive = if reader.read::<bool>()? { Some(reader.read()?) } else { None };
        Ok(Self {
            name: name_of(&public),
            public,
            sensitive,
            qualified_name: reader.read()?,
            hierarchy: reader.read()?,
            external: reader.read()?,
            primary: reader.read()?,
            state_clear: reader.read()?,
        })
    }
}

/// What a sequence has taken in so far.
#[derive(Debug, Clone)]
pub enum SequenceState {
    /// TPM2_HashSequenceStart with an algorithm; the first octets are kept to see whether they are TPM_GENERATED_VALUE.
    Hash {
        hasher: Hasher,
        beginning: Vec<u8>,
    },
    Hmac(Hmac),
    /// TPM2_HashSequenceStart without an algorithm: one hash for each bank.
    Event(Vec<Hasher>),
}

/// A sequence object.
#[derive(Debug, Clone)]
pub struct Sequence {
    pub auth: Secret,
    pub state: SequenceState,
}

/// What a slot holds.
#[derive(Debug, Clone)]
pub enum Loaded {
    Object(Shared<Object>),
    Sequence(Shared<Sequence>),
}

/// The slots of transient objects.
#[derive(Debug, Clone)]
pub struct Slots {
    slots: Vec<Option<Loaded>>,
}

impl Default for Slots {
    fn default() -> Self {
        Self { slots: alloc::vec![None; LOADED_OBJECTS] }
    }
}

impl Slots {
    /// Whether another object fits: TPM_RC_OBJECT_MEMORY otherwise.
    pub fn check_room(&self) -> Result<()> {
        if self.slots.iter().any(Option::is_none) { Ok(()) } else { Err(ResponseCode::OBJECT_MEMORY) }
    }

    /// Puts an object into the first free slot.
    pub fn insert(&mut self, loaded: Loaded) -> Result<Handle> {
        let at = self.slots.iter().position(Option::is_none).ok_or(ResponseCode::OBJECT_MEMORY)?;
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = Some(loaded);
        }
        Ok(Handle(Handle::TRANSIENT_FIRST.0 | u32::try_from(at).unwrap_or(0)))
    }

    /// Loads an object.
    pub fn load(&mut self, object: Object) -> Result<Handle> {
        self.insert(Loaded::Object(Shared::new(object)))
    }

    pub fn get(&self, handle: Handle) -> Option<&Loaded> {
        self.slots.get(Self::slot(handle)?)?.as_ref()
    }

    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut Loaded> {
        self.slots.get_mut(Self::slot(handle)?)?.as_mut()
    }

    /// Takes an object out.
    pub fn remove(&mut self, handle: Handle) -> Option<Loaded> {
        self.slots.get_mut(Self::slot(handle)?)?.take()
    }

    /// Removes the objects that `gone` names.
    pub fn flush(&mut self, gone: impl Fn(&Loaded) -> bool) {
        for slot in &mut self.slots {
            if slot.as_ref().is_some_and(&gone) {
                *slot = None;
            }
        }
    }

    /// The handles in use, in order.
    pub fn handles(&self) -> impl Iterator<Item = Handle> {
        let numbered = (Handle::TRANSIENT_FIRST.0..).zip(&self.slots);
        numbered.filter(|(_, slot)| slot.is_some()).map(|(handle, _)| Handle(handle))
    }

    /// How many slots are free.
    pub fn free(&self) -> usize {
        self.slots.iter().filter(|slot| slot.is_none()).count()
    }

    fn slot(handle: Handle) -> Option<usize> {
        let offset = handle.0.checked_sub(Handle::TRANSIENT_FIRST.0)?;
        usize::try_from(offset).ok().filter(|offset| *offset < LOADED_OBJECTS)
    }
}

/// The Name of an object: the hash of its public area behind its algorithm, empty without a name algorithm.
pub fn name_of(public: &Public) -> Name {
    let Some(algorithm) = public.name_hash else {
        return Name::new();
    };
    let mut name = algorithm.to_bytes();
    name.extend_from_slice(hash(algorithm, &[&public.to_bytes()]).as_bytes());
    Name::from(name.as_slice())
}

/// The Qualified Name: the hash of the parent's Qualified Name and the object's Name, behind the object's algorithm.
pub fn qualified_name(parent: &[u8], name: &Name, algorithm: Option<HashAlgorithm>) -> Name {
    let Some(algorithm) = algorithm else {
        return Name::new();
    };
    let mut qualified = algorithm.to_bytes();
    qualified.extend_from_slice(hash(algorithm, &[parent, name.as_bytes()]).as_bytes());
    Name::from(qualified.as_slice())
}
