//! What all kinds of handles have in common: whether they are there, their authorization, their Name.

use super::{Record, State};
use crate::hierarchy::Policy;
use crate::object::Loaded;
use crate::pcr::{AUTH_GROUP, Pcrs};
use crate::response_code::ResponseCode;
use crate::structures::attributes::{NvAttributes, ObjectAttributes};
use crate::structures::buffers::Name;
use crate::structures::handles::{Handle, HandleType};
use crate::wire::{Marshal, Result, Secret};

impl State {
    /// Whether the entity that the handle at `index` names is there and accessible.
    pub fn check_loaded(&self, handle: Handle, index: u32) -> Result<()> {
        let number = index.saturating_add(1);
        match handle.kind() {
            HandleType::Permanent => match handle {
                Handle::PASSWORD | Handle::LOCKOUT => Ok(()),
                _ if self.hierarchies.is_enabled(handle) => Ok(()),
                _ if self.hierarchies.of(handle).is_some() => Err(ResponseCode::HIERARCHY.handle(number)),
                _ => Err(ResponseCode::VALUE.handle(number)),
            },
            HandleType::Transient => {
                self.objects.get(handle).map(|_| ()).ok_or(ResponseCode::reference_handle(index))
            }
            HandleType::Persistent => self.check_persistent(handle).map_err(|code| code.handle(number)),
            HandleType::HmacSession | HandleType::PolicySession => {
                let session = self.sessions.get(handle).ok_or(ResponseCode::reference_handle(index))?;
                if crate::session::Sessions::kind_matches(session, handle) {
                    Ok(())
                } else {
                    Err(ResponseCode::HANDLE.handle(number))
                }
            }
            HandleType::NvIndex => self.check_index(handle).map_err(|code| code.handle(number)),
            HandleType::Pcr => Ok(()),
            HandleType::Other => Err(ResponseCode::VALUE.handle(number)),
        }
    }

    fn check_persistent(&self, handle: Handle) -> Result<()> {
        let object = self.nv.persistent.get(&handle).ok_or(ResponseCode::HANDLE)?;
        // A persistent object of the platform goes with the platform hierarchy, even where it is of another one.
        let platform = handle >= Handle::PLATFORM_PERSISTENT_FIRST;
        let provider = if platform { Handle::PLATFORM } else { Handle::OWNER };
        if self.hierarchies.is_enabled(provider) && self.hierarchies.is_enabled(object.hierarchy) {
            Ok(())
        } else {
            Err(ResponseCode::HANDLE)
        }
    }

    fn check_index(&self, handle: Handle) -> Result<()> {
        let index = self.nv.indices.get(&handle).ok_or(ResponseCode::HANDLE)?;
        let accessible = if index.has(NvAttributes::PLATFORM_CREATE) {
            self.hierarchies.platform_nv_enabled
        } else {
            self.hierarchies.owner.enabled
        };
        if accessible { Ok(()) } else { Err(ResponseCode::HANDLE) }
    }

    /// The authorization value without trailing zeros; empty where there is none.
    pub fn auth_value(&self, handle: Handle) -> Secret {
        let auth = match handle.kind() {
            HandleType::Permanent => match handle {
                Handle::LOCKOUT => Some(&self.hierarchies.lockout_auth),
                _ => self.hierarchies.of(handle).map(|hierarchy| &hierarchy.auth),
            },
            HandleType::Transient | HandleType::Persistent => match self.objects.get(handle) {
                Some(Loaded::Sequence(sequence)) => Some(&sequence.auth),
                _ => {
                    let object = self.object(handle);
                    object.and_then(|object| object.sensitive.as_ref()).map(|sensitive| &sensitive.auth)
                }
            },
            HandleType::NvIndex => self.nv.indices.get(&handle).map(|index| &index.auth),
            HandleType::Pcr if AUTH_GROUP.contains(&Pcrs::number(handle)) => Some(&self.pcrs.auth),
            _ => None,
        };
        auth.map_or_else(Secret::new, Secret::without_trailing_zeros)
    }

    /// The authorization policy.
    pub fn auth_policy(&self, handle: Handle) -> Policy {
        let nothing = Policy::default();
        match handle.kind() {
            HandleType::Permanent => match handle {
                Handle::LOCKOUT => self.hierarchies.lockout_policy.clone(),
                Handle::NULL => nothing,
                _ => self.hierarchies.of(handle).map_or(nothing, |hierarchy| hierarchy.policy.clone()),
            },
            HandleType::Transient | HandleType::Persistent => self.object(handle).map_or(nothing, |object| {
                Policy { hash: object.public.name_hash, digest: object.public.policy.clone() }
            }),
            HandleType::NvIndex => self.nv.indices.get(&handle).map_or(nothing, |index| Policy {
                hash: Some(index.public.name_hash),
                digest: index.public.policy.clone(),
            }),
            HandleType::Pcr if AUTH_GROUP.contains(&Pcrs::number(handle)) => self.pcrs.policy.clone(),
            _ => nothing,
        }
    }

    /// The Name: of an object or an index computed, of anything else the handle itself.
    pub fn name(&self, handle: Handle) -> Name {
        match handle.kind() {
            HandleType::Transient | HandleType::Persistent => {
                self.object(handle).map(|object| object.name.clone()).unwrap_or_default()
            }
            HandleType::NvIndex => self.nv.indices.get(&handle).map(|index| index.name()).unwrap_or_default(),
            _ => Name::from(handle.to_bytes().as_slice()),
        }
    }

    /// The Qualified Name of an object, or the handle of a hierarchy.
    pub fn qualified_name(&self, handle: Handle) -> Name {
        match self.object(handle) {
            Some(object) => object.qualified_name.clone(),
            None => Name::from(handle.to_bytes().as_slice()),
        }
    }

    /// The hierarchy that an entity belongs to.
    pub fn hierarchy_of(&self, handle: Handle) -> Handle {
        match handle.kind() {
            HandleType::Permanent => match handle {
                Handle::PLATFORM | Handle::ENDORSEMENT | Handle::NULL => handle,
                _ => Handle::OWNER,
            },
            HandleType::NvIndex => {
                let of_platform = self
                    .nv
                    .indices
                    .get(&handle)
                    .is_some_and(|index| index.has(NvAttributes::PLATFORM_CREATE));
                if of_platform { Handle::PLATFORM } else { Handle::OWNER }
            }
            HandleType::Transient | HandleType::Persistent => {
                self.object(handle).map_or(Handle::NULL, |object| object.hierarchy)
            }
            _ => Handle::OWNER,
        }
    }

    /// Whether failed authorizations do not count against dictionary attacks.
    pub fn is_exempt_from_dictionary_attack(&self, handle: Handle) -> bool {
        match handle.kind() {
            HandleType::Permanent => handle != Handle::LOCKOUT,
            HandleType::Transient | HandleType::Persistent => match self.objects.get(handle) {
                Some(Loaded::Sequence(_)) => true,
                _ => self.object(handle).is_some_and(|object| object.has(ObjectAttributes::NO_DA)),
            },
            HandleType::NvIndex => {
                self.nv.indices.get(&handle).is_some_and(|index| index.has(NvAttributes::NO_DA))
            }
            HandleType::Pcr => true,
            _ => false,
        }
    }

    /// Removes an index; a counter's value lives on as what new counters start above.
    pub fn undefine(&mut self, handle: Handle) {
        self.nv.indices.remove(handle);
        self.mark(Record::Settings);
        self.mark(Record::Entity(handle));
    }
}
