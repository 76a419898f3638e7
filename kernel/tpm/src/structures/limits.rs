//! Sizes that this implementation chooses, and those that follow from its algorithms: Part 2, annex on implementation.

/// Commands and responses.
pub const MAX_COMMAND_BYTES: usize = 4096;
pub const MAX_DIGEST_BYTES: usize = 64;
/// TPM2B_DATA: a TPMT_HA.
pub const MAX_DATA_BYTES: usize = MAX_DIGEST_BYTES + 2;
/// TPM2B_NAME: the largest of a handle and a TPMT_HA.
pub const MAX_NAME_BYTES: usize = MAX_DIGEST_BYTES + 2;
pub const MAX_BUFFER_BYTES: usize = 1024;
pub const MAX_NV_BUFFER_BYTES: usize = 2048;
/// No more than one TPM2_NV_Write takes: tools of others split longer contents wrongly, and say nothing.
pub const MAX_NV_INDEX_BYTES: usize = MAX_NV_BUFFER_BYTES;
/// What all indices take together, what is kept about them included.
pub const MAX_NV_USER_BYTES: usize = 64 * 1024;
pub const MAX_PERSISTENT_OBJECTS: usize = 16;
pub const MAX_RSA_KEY_BYTES: usize = 512;
pub const MAX_ECC_KEY_BYTES: usize = 66;
pub const MAX_SYMMETRIC_KEY_BYTES: usize = 32;
pub const MAX_SYMMETRIC_BLOCK_BYTES: usize = 16;
/// The data of a sealed object and of a keyed hash key: MAX_SYM_DATA.
pub const MAX_SENSITIVE_DATA_BYTES: usize = 128;
pub const MAX_LABEL_BYTES: usize = 32;
pub const MAX_CONTEXT_DATA_BYTES: usize = 3072;
pub const MAX_PRIVATE_BYTES: usize = 1024;
/// TPM2B_ENCRYPTED_SECRET: an RSA ciphertext or a point.
pub const MAX_ENCRYPTED_SECRET_BYTES: usize = MAX_RSA_KEY_BYTES;
/// TPM2B_ID_OBJECT: an integrity value and an encrypted credential.
pub const MAX_ID_OBJECT_BYTES: usize = 2 * (MAX_DIGEST_BYTES + 2);
pub const MAX_TEMPLATE_BYTES: usize = 1024;

pub const HASH_COUNT: usize = 4;
pub const PCR_COUNT: usize = 24;
pub const PCR_SELECT_BYTES: usize = 3;
pub const MAX_DIGEST_LIST: usize = 8;
pub const MAX_ALGORITHM_LIST: usize = 64;
pub const MAX_COMMAND_LIST: usize = 256;
/// What one GetCapability answer carries at most.
pub const MAX_CAPABILITY_BYTES: usize = 1024;

/// How many commitments can be open: bits of the commit array.
pub const SPLIT_SIGNINGS: usize = 128;

pub const LOADED_OBJECTS: usize = 64;
pub const LOADED_SESSIONS: usize = 16;
pub const ACTIVE_SESSIONS: usize = 64;
pub const SESSIONS_IN_A_COMMAND: usize = 3;
pub const HANDLES_IN_A_COMMAND: usize = 3;
