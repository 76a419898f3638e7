//! AES in the five modes that TPM 2.0 names, in place, with an IV that is ready for the next call.
//!
//! Source: SP 800-38A for the modes; TPM 2.0 Part 3, TPM2_EncryptDecrypt2, for the IV that comes back. CTR counts over
//! the whole block, big-endian. CFB is full-block feedback; when its last block is short, the rest of the IV is zero.

use alloc::boxed::Box;

use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, KeyInit};
use aes::{Aes128, Aes192, Aes256, Block};
use zeroize::Zeroize;

/// Block and IV, in bytes.
pub const BLOCK_BYTES: usize = 16;
/// How many blocks the cipher is given at once where a mode allows it.
const BATCH_BLOCKS: usize = 8;

/// A block-cipher mode (TPM 2.0 Part 2, `TPMI_ALG_CIPHER_MODE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CipherMode {
    /// Counter.
    Ctr,
    /// Output feedback.
    Ofb,
    /// Cipher-block chaining, whole blocks only.
    Cbc,
    /// Cipher feedback.
    Cfb,
    /// Electronic codebook, whole blocks only.
    Ecb,
}

impl CipherMode {
    /// Every mode, in the order of wire identifiers.
    pub const ALL: [Self; 5] = [Self::Ctr, Self::Ofb, Self::Cbc, Self::Cfb, Self::Ecb];

    /// The mode of a `TPM_ALG_ID`.
    pub const fn from_wire(identifier: u16) -> Option<Self> {
        match identifier {
            0x0040 => Some(Self::Ctr),
            0x0041 => Some(Self::Ofb),
            0x0042 => Some(Self::Cbc),
            0x0043 => Some(Self::Cfb),
            0x0044 => Some(Self::Ecb),
            _ => None,
        }
    }

    /// The `TPM_ALG_ID`.
    pub const fn to_wire(self) -> u16 {
        match self {
            Self::Ctr => 0x0040,
            Self::Ofb => 0x0041,
            Self::Cbc => 0x0042,
            Self::Cfb => 0x0043,
            Self::Ecb => 0x0044,
        }
    }

    /// Whether data must come in whole blocks.
    pub const fn needs_whole_blocks(self) -> bool {
        matches!(self, Self::Cbc | Self::Ecb)
    }
}

/// Data that is no number of whole blocks, in a mode that takes only these. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialBlock;

/// An AES key, expanded. Wiped when dropped.
pub struct Aes(Size);

/// Boxed, for an expanded key takes up to two kilobytes and kernel stacks are small.
enum Size {
    Bits128(Box<Aes128>),
    Bits192(Box<Aes192>),
    Bits256(Box<Aes256>),
}

impl Aes {
    /// Expands a key of 16, 24 or 32 bytes.
    pub fn new(key: &[u8]) -> Option<Self> {
        let size = match key.len() {
            16 => Size::Bits128(Box::new(Aes128::new_from_slice(key).ok()?)),
            24 => Size::Bits192(Box::new(Aes192::new_from_slice(key).ok()?)),
            32 => Size::Bits256(Box::new(Aes256::new_from_slice(key).ok()?)),
            _ => return None,
        };
        Some(Self(size))
    }

    /// Encrypts `data` in place and moves `iv` on; ECB does not look at it.
    pub fn encrypt(
        &self,
        mode: CipherMode,
        iv: &mut [u8; BLOCK_BYTES],
        data: &mut [u8],
    ) -> Result<(), PartialBlock> {
        match &self.0 {
            Size::Bits128(cipher) => encrypt(cipher.as_ref(), mode, iv, data),
            Size::Bits192(cipher) => encrypt(cipher.as_ref(), mode, iv, data),
            Size::Bits256(cipher) => encrypt(cipher.as_ref(), mode, iv, data),
        }
    }

    /// Decrypts `data` in place and moves `iv` on; ECB does not look at it.
    pub fn decrypt(
        &self,
        mode: CipherMode,
        iv: &mut [u8; BLOCK_BYTES],
        data: &mut [u8],
    ) -> Result<(), PartialBlock> {
        match &self.0 {
            Size::Bits128(cipher) => decrypt(cipher.as_ref(), mode, iv, data),
            Size::Bits192(cipher) => decrypt(cipher.as_ref(), mode, iv, data),
            Size::Bits256(cipher) => decrypt(cipher.as_ref(), mode, iv, data),
        }
    }
}

impl core::fmt::Debug for Aes {
    /// Prints the size of the key alone.
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(match self.0 {
            Size::Bits128(_) => "Aes(128)",
            Size::Bits192(_) => "Aes(192)",
            Size::Bits256(_) => "Aes(256)",
        })
    }
}

fn encrypt<Cipher>(
    cipher: &Cipher,
    mode: CipherMode,
    iv: &mut [u8; BLOCK_BYTES],
    data: &mut [u8],
) -> Result<(), PartialBlock>
where
    Cipher: BlockCipherEncrypt + BlockSizeUser<BlockSize = <Aes128 as BlockSizeUser>::BlockSize>,
{
    match mode {
        CipherMode::Ctr => ctr(cipher, iv, data),
        CipherMode::Ofb => ofb(cipher, iv, data),
        CipherMode::Cfb => {
            for block in data.chunks_mut(BLOCK_BYTES) {
                cipher.encrypt_block(iv.into());
                xor(block, iv);
                feed_back(iv, block);
            }
        }
        CipherMode::Cbc => {
            for block in whole_blocks(data)? {
                xor(block, iv);
                cipher.encrypt_block(block);
                iv.copy_from_slice(block);
            }
        }
        CipherMode::Ecb => cipher.encrypt_blocks(whole_blocks(data)?),
    }
    Ok(())
}

fn decrypt<Cipher>(
    cipher: &Cipher,
    mode: CipherMode,
    iv: &mut [u8; BLOCK_BYTES],
    data: &mut [u8],
) -> Result<(), PartialBlock>
where
    Cipher: BlockCipherEncrypt
        + BlockCipherDecrypt
        + BlockSizeUser<BlockSize = <Aes128 as BlockSizeUser>::BlockSize>,
{
    match mode {
        CipherMode::Ctr => ctr(cipher, iv, data),
        CipherMode::Ofb => ofb(cipher, iv, data),
        CipherMode::Cfb => cfb_decrypt(cipher, iv, data),
        CipherMode::Cbc => {
            for batch in whole_blocks(data)?.chunks_mut(BATCH_BLOCKS) {
                let mut ciphertext = [Block::default(); BATCH_BLOCKS];
                ciphertext.iter_mut().zip(&*batch).for_each(|(to, from)| *to = *from);
                cipher.decrypt_blocks(batch);
                for (block, previous) in batch.iter_mut().zip(&ciphertext) {
                    xor(block, iv);
                    iv.copy_from_slice(previous);
                }
            }
        }
        CipherMode::Ecb => cipher.decrypt_blocks(whole_blocks(data)?),
    }
    Ok(())
}

/// Counters are encrypted in batches, for they do not depend on each other.
fn ctr<Cipher>(cipher: &Cipher, iv: &mut [u8; BLOCK_BYTES], data: &mut [u8])
where
    Cipher: BlockCipherEncrypt + BlockSizeUser<BlockSize = <Aes128 as BlockSizeUser>::BlockSize>,
{
    let mut counter = u128::from_be_bytes(*iv);
    for batch in data.chunks_mut(BATCH_BLOCKS.saturating_mul(BLOCK_BYTES)) {
        let mut stream = [Block::default(); BATCH_BLOCKS];
        let blocks = batch.len().div_ceil(BLOCK_BYTES);
        for block in stream.iter_mut().take(blocks) {
            *block = Array(counter.to_be_bytes());
            counter = counter.wrapping_add(1);
        }
        cipher.encrypt_blocks(stream.get_mut(..blocks).unwrap_or_default());
        for (block, stream) in batch.chunks_mut(BLOCK_BYTES).zip(&stream) {
            xor(block, stream);
        }
        stream.iter_mut().for_each(|block| block.as_mut_slice().zeroize());
    }
    *iv = counter.to_be_bytes();
}

fn ofb<Cipher>(cipher: &Cipher, iv: &mut [u8; BLOCK_BYTES], data: &mut [u8])
where
    Cipher: BlockCipherEncrypt + BlockSizeUser<BlockSize = <Aes128 as BlockSizeUser>::BlockSize>,
{
    for block in data.chunks_mut(BLOCK_BYTES) {
        cipher.encrypt_block(iv.into());
        xor(block, iv);
    }
}

/// Each block's stream is the encryption of the ciphertext before it, all of which is known when decrypting.
fn cfb_decrypt<Cipher>(cipher: &Cipher, iv: &mut [u8; BLOCK_BYTES], data: &mut [u8])
where
    Cipher: BlockCipherEncrypt + BlockSizeUser<BlockSize = <Aes128 as BlockSizeUser>::BlockSize>,
{
    for batch in data.chunks_mut(BATCH_BLOCKS.saturating_mul(BLOCK_BYTES)) {
        let mut stream = [Block::default(); BATCH_BLOCKS];
        let blocks = batch.len().div_ceil(BLOCK_BYTES);
        for (stream, ciphertext) in stream.iter_mut().zip(batch.chunks(BLOCK_BYTES)) {
            stream.copy_from_slice(iv);
            feed_back(iv, ciphertext);
        }
        cipher.encrypt_blocks(stream.get_mut(..blocks).unwrap_or_default());
        for (block, stream) in batch.chunks_mut(BLOCK_BYTES).zip(&stream) {
            xor(block, stream);
        }
        stream.iter_mut().for_each(|block| block.as_mut_slice().zeroize());
    }
}

fn whole_blocks(data: &mut [u8]) -> Result<&mut [Block], PartialBlock> {
    let (blocks, rest) = Block::slice_as_chunks_mut(data);
    if rest.is_empty() { Ok(blocks) } else { Err(PartialBlock) }
}

/// Makes `ciphertext` the IV; what a short block lacks is zero.
fn feed_back(iv: &mut [u8; BLOCK_BYTES], ciphertext: &[u8]) {
    for (to, from) in iv.iter_mut().zip(ciphertext.iter().chain(core::iter::repeat(&0))) {
        *to = *from;
    }
}

fn xor(block: &mut [u8], with: &[u8]) {
    for (byte, with) in block.iter_mut().zip(with) {
        *byte ^= with;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use hex_literal::hex;

    const PLAIN: [u8; 64] = hex!(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    );
    const KEY_128: [u8; 16] = hex!("2b7e151628aed2a6abf7158809cf4f3c");
    const KEY_192: [u8; 24] = hex!("8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b");
    const KEY_256: [u8; 32] = hex!("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
    const IV: [u8; 16] = hex!("000102030405060708090a0b0c0d0e0f");
    const COUNTER: [u8; 16] = hex!("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");

    /// Mode, key, IV, and the four blocks of ciphertext.
    type Published = (CipherMode, &'static [u8], [u8; 16], [u8; 64]);

    /// SP 800-38A, appendix F.
    #[rustfmt::skip]
    const PUBLISHED: &[Published] = &[
        (CipherMode::Ecb, &KEY_128, IV, hex!("3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf43b1cd7f598ece23881b00e3ed0306887b0c785e27e8ad3f8223207104725dd4")),
        (CipherMode::Ecb, &KEY_192, IV, hex!("bd334f1d6e45f25ff712a214571fa5cc974104846d0ad3ad7734ecb3ecee4eefef7afd2270e2e60adce0ba2face6444e9a4b41ba738d6c72fb16691603c18e0e")),
        (CipherMode::Ecb, &KEY_256, IV, hex!("f3eed1bdb5d2a03c064b5a7e3db181f8591ccb10d410ed26dc5ba74a31362870b6ed21b99ca6f4f9f153e7b1beafed1d23304b7a39f9f3ff067d8d8f9e24ecc7")),
        (CipherMode::Cbc, &KEY_128, IV, hex!("7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b273bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7")),
        (CipherMode::Cbc, &KEY_256, IV, hex!("f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b")),
        (CipherMode::Cfb, &KEY_128, IV, hex!("3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b26751f67a3cbb140b1808cf187a4f4dfc04b05357c5d1c0eeac4c66f9ff7f2e6")),
        (CipherMode::Cfb, &KEY_192, IV, hex!("cdc80d6fddf18cab34c25909c99a417467ce7f7f81173621961a2b70171d3d7a2e1e8a1dd59b88b1c8e60fed1efac4c9c05f9f9ca9834fa042ae8fba584b09ff")),
        (CipherMode::Cfb, &KEY_256, IV, hex!("dc7e84bfda79164b7ecd8486985d386039ffed143b28b1c832113c6331e5407bdf10132415e54b92a13ed0a8267ae2f975a385741ab9cef82031623d55b1e471")),
        (CipherMode::Ofb, &KEY_128, IV, hex!("3b3fd92eb72dad20333449f8e83cfb4a7789508d16918f03f53c52dac54ed8259740051e9c5fecf64344f7a82260edcc304c6528f659c77866a510d9c1d6ae5e")),
        (CipherMode::Ofb, &KEY_256, IV, hex!("dc7e84bfda79164b7ecd8486985d38604febdc6740d20b3ac88f6ad82a4fb08d71ab47a086e86eedf39d1c5bba97c4080126141d67f37be8538f5a8be740e484")),
        (CipherMode::Ctr, &KEY_128, COUNTER, hex!("874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee")),
        (CipherMode::Ctr, &KEY_192, COUNTER, hex!("1abc932417521ca24f2b0459fe7e6e0b090339ec0aa6faefd5ccc2c6f4ce8e941e36b26bd1ebc670d1bd1d665620abf74f78a7f6d29809585a97daec58c6b050")),
        (CipherMode::Ctr, &KEY_256, COUNTER, hex!("601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c52b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6")),
    ];

    #[test]
    fn modes_give_what_nist_published_both_ways() {
        for (mode, key, iv, expected) in PUBLISHED {
            let (cipher, mut data, mut running) = (Aes::new(key).unwrap(), PLAIN, *iv);
            cipher.encrypt(*mode, &mut running, &mut data).unwrap();
            assert_eq!(data, *expected, "{mode:?} {cipher:?}");
            running = *iv;
            cipher.decrypt(*mode, &mut running, &mut data).unwrap();
            assert_eq!(data, PLAIN, "{mode:?} {cipher:?}");
        }
    }

    #[test]
    fn the_iv_that_comes_back_continues_the_message() {
        let message: Vec<u8> = (0..=255).cycle().take(20 * BLOCK_BYTES).collect();
        let cipher = Aes::new(&KEY_128).unwrap();
        for mode in CipherMode::ALL {
            let (mut whole, mut whole_iv) = (message.clone(), IV);
            cipher.encrypt(mode, &mut whole_iv, &mut whole).unwrap();
            let (mut parts, mut parts_iv) = (message.clone(), IV);
            for part in parts.chunks_mut(3 * BLOCK_BYTES) {
                cipher.encrypt(mode, &mut parts_iv, part).unwrap();
            }
            assert_eq!((&whole, whole_iv), (&parts, parts_iv), "{mode:?}");
            parts_iv = IV;
            for part in parts.chunks_mut(11 * BLOCK_BYTES) {
                cipher.decrypt(mode, &mut parts_iv, part).unwrap();
            }
            assert_eq!((&parts, parts_iv), (&message, whole_iv), "{mode:?}");
        }
    }

    #[test]
    fn stream_modes_take_any_length_and_block_modes_refuse_untouched() {
        let cipher = Aes::new(&KEY_256).unwrap();
        for mode in CipherMode::ALL {
            for length in 0..40 {
                let (mut data, mut iv) = (PLAIN[..length].to_vec(), IV);
                let result = cipher.encrypt(mode, &mut iv, &mut data);
                if mode.needs_whole_blocks() && length % BLOCK_BYTES != 0 {
                    assert_eq!((result, data.as_slice(), iv), (Err(PartialBlock), &PLAIN[..length], IV));
                    continue;
                }
                iv = IV;
                cipher.decrypt(mode, &mut iv, &mut data).unwrap();
                assert_eq!(data, PLAIN[..length], "{mode:?} {length}");
            }
        }
    }

    #[test]
    fn a_short_last_block_of_cfb_leaves_an_iv_padded_with_zeros() {
        let (mut data, mut iv) = ([1, 2, 3], IV);
        Aes::new(&KEY_128).unwrap().encrypt(CipherMode::Cfb, &mut iv, &mut data).unwrap();
        assert_eq!(iv[..3], data);
        assert_eq!(iv[3..], [0; 13]);
    }

    #[test]
    fn a_counter_wraps_around_over_the_whole_block() {
        let (mut data, mut iv) = ([0; 32], [0xff; 16]);
        Aes::new(&KEY_128).unwrap().encrypt(CipherMode::Ctr, &mut iv, &mut data).unwrap();
        assert_eq!(iv, 1_u128.to_be_bytes());
    }

    #[test]
    fn keys_of_other_lengths_are_refused() {
        assert!([0, 15, 17, 33].iter().all(|length| Aes::new(&PLAIN[..*length]).is_none()));
    }
}
