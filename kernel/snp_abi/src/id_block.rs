//! The ID block, by which an owner binds identity, SVN and policy to a launch digest, and its authentication (AMD
//! 56860, "ID block" and "ID authentication information").

use core::mem::offset_of;

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::policy::GuestPolicy;
use crate::signature::{ALGORITHM_ECDSA_P384_SHA384, EcdsaPublicKey, EcdsaSignature};

/// The only version.
pub const ID_BLOCK_VERSION: u32 = 1;

/// The ID block: launching fails if digest or policy differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IdBlock {
    /// Expected launch digest.
    pub launch_digest: [u8; 48],
    /// The owner's name for the family.
    pub family_id: [u8; 16],
    /// The owner's name for the image.
    pub image_id: [u8; 16],
    /// [`ID_BLOCK_VERSION`].
    pub version: u32,
    /// Security version number.
    pub guest_svn: u32,
    /// Expected policy.
    pub policy: GuestPolicy,
}

/// Signatures over the ID block and over the ID key.
#[derive(Debug, Clone, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IdAuthentication {
    /// Algorithm of the ID key.
    pub id_key_algorithm: u32,
    /// Algorithm of the author key, 0 without one.
    pub author_key_algorithm: u32,
    reserved_0x008: [u8; 56],
    /// By the ID key over the ID block's 96 bytes.
    pub id_block_signature: EcdsaSignature,
    /// The ID key.
    pub id_key: EcdsaPublicKey,
    reserved_0x644: [u8; 60],
    /// By the author key over the ID key's 1028 bytes.
    pub id_key_signature: EcdsaSignature,
    /// The author key.
    pub author_key: EcdsaPublicKey,
    reserved_0xc84: [u8; 892],
}

impl IdAuthentication {
    /// Without an author key.
    #[must_use]
    pub fn new(id_key: EcdsaPublicKey, id_block_signature: EcdsaSignature) -> Self {
        let mut authentication = Self::new_zeroed();
        authentication.id_key_algorithm = ALGORITHM_ECDSA_P384_SHA384;
        authentication.id_key = id_key;
        authentication.id_block_signature = id_block_signature;
        authentication
    }

    /// With an author key that vouches for the ID key.
    #[must_use]
    pub fn with_author(mut self, author_key: EcdsaPublicKey, id_key_signature: EcdsaSignature) -> Self {
        self.author_key_algorithm = ALGORITHM_ECDSA_P384_SHA384;
        self.author_key = author_key;
        self.id_key_signature = id_key_signature;
        self
    }
}

const _: () = {
    assert!(size_of::<IdBlock>() == 96);
    assert!(offset_of!(IdBlock, family_id) == 0x30);
    assert!(offset_of!(IdBlock, image_id) == 0x40);
    assert!(offset_of!(IdBlock, version) == 0x50);
    assert!(offset_of!(IdBlock, guest_svn) == 0x54);
    assert!(offset_of!(IdBlock, policy) == 0x58);
    assert!(size_of::<IdAuthentication>() == 0x1000);
    assert!(offset_of!(IdAuthentication, id_block_signature) == 0x040);
    assert!(offset_of!(IdAuthentication, id_key) == 0x240);
    assert!(offset_of!(IdAuthentication, id_key_signature) == 0x680);
    assert!(offset_of!(IdAuthentication, author_key) == 0x880);
};
