//! Taking back what a command did, at the cost of what it changed.
//!
//! [`Shared`] is a part of the state that a snapshot shares until one of both changes. [`Journaled`] notes the old values of the
//! entries that change: a copy of the whole map would cost as much as there are entries.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

use crate::structures::handles::Handle;

/// A value that is copied when it changes while a snapshot has it, too.
#[derive(Debug, Default)]
pub struct Shared<T>(Arc<T>);

impl<T> Shared<T> {
    pub fn new(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

/// What an entry takes of a budget.
pub trait Weighed {
    /// How many bytes it takes as long as it is there, whatever becomes of its contents.
    fn weight(&self) -> usize;
}

/// Entries by handle. Reading goes through to the map; changing is noted.
#[derive(Debug)]
pub struct Journaled<V> {
    entries: BTreeMap<Handle, V>,
    weight: usize,
    /// Entries as they were, the oldest first.
    before: Vec<(Handle, Option<V>)>,
}

impl<V> Default for Journaled<V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), weight: 0, before: Vec::new() }
    }
}

impl<V> Deref for Journaled<V> {
    type Target = BTreeMap<Handle, V>;

    fn deref(&self) -> &Self::Target {
        &self.entries
    }
}

impl<V: Clone + Weighed> Journaled<V> {
    /// An entry to be changed.
    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut V> {
        let entry = self.entries.get_mut(&handle)?;
        self.before.push((handle, Some(entry.clone())));
        Some(entry)
    }

    /// Puts an entry in.
    pub fn insert(&mut self, handle: Handle, entry: V) {
        let old = self.exchange(handle, Some(entry));
        self.before.push((handle, old));
    }

    /// Takes an entry out.
    pub fn remove(&mut self, handle: Handle) {
        let old = self.exchange(handle, None);
        if old.is_some() {
            self.before.push((handle, old));
        }
    }

    /// The sum of all weights.
    pub const fn weight(&self) -> usize {
        self.weight
    }

    /// Forgets how it was: what is now is what [`Self::undo`] comes back to.
    pub fn begin(&mut self) {
        self.before.clear();
    }

    /// Brings back what was there at [`Self::begin`].
    pub fn undo(&mut self) {
        while let Some((handle, entry)) = self.before.pop() {
            self.exchange(handle, entry);
        }
    }

    fn exchange(&mut self, handle: Handle, entry: Option<V>) -> Option<V> {
        let weight = |entry: &Option<V>| entry.as_ref().map_or(0, Weighed::weight);
        let added = weight(&entry);
        let old = match entry {
            Some(entry) => self.entries.insert(handle, entry),
            None => self.entries.remove(&handle),
        };
        self.weight = self.weight.saturating_add(added).saturating_sub(weight(&old));
        old
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Entry(u8);

    impl Weighed for Entry {
        fn weight(&self) -> usize {
            10
        }
    }

    #[test]
    fn what_was_changed_inserted_and_removed_comes_back() {
        let mut map: Journaled<Entry> = Journaled::default();
        map.insert(Handle(1), Entry(1));
        map.insert(Handle(2), Entry(2));
        map.begin();
        let before = map.entries.clone();
        map.get_mut(Handle(1)).unwrap().0 = 11;
        map.remove(Handle(2));
        map.insert(Handle(2), Entry(7));
        map.insert(Handle(3), Entry(3));
        map.insert(Handle(4), Entry(4));
        map.remove(Handle(1));
        assert_eq!(map.weight(), 30);
        map.undo();
        assert_eq!((map.weight(), &map.entries), (20, &before));
    }

    #[test]
    fn a_shared_value_is_copied_only_when_it_changes() {
        let mut value = Shared::new([1, 2]);
        let snapshot = value.clone();
        assert!(Arc::ptr_eq(&value.0, &snapshot.0));
        value[0] = 9;
        assert_eq!((*value, *snapshot), ([9, 2], [1, 2]));
    }
}
