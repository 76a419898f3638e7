//! What the host is like: a guest cannot find out, so whoever starts the machine says it.

use core::sync::atomic::{AtomicBool, Ordering};

/// Starts a word about the host.
pub const PREFIX: &str = "host=";

/// How the host backs memory, or treats messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// Memory in 2 MiB pages, which are shared until the guest asks for them.
    LargePages,
    /// The same in 4 KiB pages only (`--small-pages`).
    SmallPages,
    /// Memory in 2 MiB pages, private from the start (`--host plain`): nothing has to be asked for.
    Private,
    /// It has no time for any guest message (`--throttle 1`).
    Busy,
}

static MEMORY_IS_SHARED: AtomicBool = AtomicBool::new(false);

impl Host {
    /// The host that the words name.
    pub fn of_words(words: &str) -> Self {
        match words.split_ascii_whitespace().find_map(|word| word.strip_prefix(PREFIX)) {
            None => Self::LargePages,
            Some("small-pages") => Self::SmallPages,
            Some("private") => Self::Private,
            Some("busy") => Self::Busy,
            Some(other) => panic!("unknown host {other}"),
        }
    }

    /// Whether memory can be validated in pages of 2 MiB.
    pub fn has_large_pages(self) -> bool {
        self != Self::SmallPages
    }

    /// Whether no guest message gets through.
    pub fn is_busy(self) -> bool {
        self == Self::Busy
    }

    /// Makes it known to `memory`.
    pub fn install(self) {
        MEMORY_IS_SHARED.store(self != Self::Private, Ordering::SeqCst);
    }
}

/// Whether fresh memory must be asked for.
pub fn memory_is_shared() -> bool {
    MEMORY_IS_SHARED.load(Ordering::SeqCst)
}
