//! Where a simulated TPM gets its entropy from.

use sha2::{Digest, Sha512};
use zeroize::Zeroizing;

/// A source of entropy.
pub enum Source {
    /// The operating system.
    System,
    /// SHA-512 of a seed and a counter: the same seed gives the same TPM. For tests only, since whoever has the seed
    /// has every key.
    Seeded {
        /// SHA-512 of the seed file.
        seed: Zeroizing<[u8; 64]>,
        /// Blocks given so far.
        blocks: u64,
    },
}

/// The operating system gave no entropy.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no entropy: {0}")]
pub struct SourceFailure(getrandom::Error);

impl Source {
    /// A deterministic source.
    pub fn seeded(seed: &[u8]) -> Self {
        Self::Seeded { seed: Zeroizing::new(Sha512::digest(seed).into()), blocks: 0 }
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) -> Result<(), SourceFailure> {
        match self {
            Self::System => getrandom::fill(bytes).map_err(SourceFailure),
            Self::Seeded { seed, blocks } => {
                for chunk in bytes.chunks_mut(64) {
                    *blocks = blocks.wrapping_add(1);
                    let block =
                        Sha512::new().chain_update(&seed[..]).chain_update(blocks.to_be_bytes()).finalize();
                    chunk.copy_from_slice(block.get(..chunk.len()).unwrap_or_default());
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(source: &mut Source) -> [u8; 100] {
        let mut bytes = [0; 100];
        source.fill(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_gives_others() {
        assert_eq!(bytes(&mut Source::seeded(b"a")), bytes(&mut Source::seeded(b"a")));
        assert_ne!(bytes(&mut Source::seeded(b"a")), bytes(&mut Source::seeded(b"b")));
    }

    #[test]
    fn a_source_does_not_repeat_itself() {
        let mut source = Source::seeded(b"a");
        assert_ne!(bytes(&mut source), bytes(&mut source));
        assert_ne!(bytes(&mut Source::System), bytes(&mut Source::System));
    }
}
