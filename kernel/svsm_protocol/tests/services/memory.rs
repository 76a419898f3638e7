//! Guest memory as the model's shell keeps it: contents per page, and whether a page still has what a change of hands left.

use snp_abi::address::{PAGE_BYTES, PAGE_LENGTH};

/// What an unwritten byte of a page that changed hands reads as.
const JUNK: u8 = 0xa5;

#[derive(Clone)]
enum Bytes {
    All(u8),
    Each(Box<[u8; PAGE_LENGTH]>),
}

/// One page.
#[derive(Clone)]
pub struct Page {
    bytes: Bytes,
    scrambled: bool,
}

impl PartialEq for Page {
    fn eq(&self, other: &Self) -> bool {
        match (&self.bytes, &other.bytes) {
            (Bytes::All(one), Bytes::All(other)) => one == other,
            (Bytes::Each(one), Bytes::Each(other)) => one == other,
            (Bytes::All(byte), Bytes::Each(bytes)) | (Bytes::Each(bytes), Bytes::All(byte)) => {
                bytes.iter().all(|each| each == byte)
            }
        }
    }
}

impl Page {
    pub fn read(&self, out: &mut [u8; PAGE_LENGTH]) {
        match &self.bytes {
            Bytes::All(byte) => out.fill(*byte),
            Bytes::Each(bytes) => out.copy_from_slice(&bytes[..]),
        }
    }

    /// Whether anybody wrote single bytes of the page since it last changed hands.
    pub fn is_written(&self) -> bool {
        matches!(self.bytes, Bytes::Each(_))
    }

    fn each(&mut self) -> &mut [u8; PAGE_LENGTH] {
        if let Bytes::All(byte) = self.bytes {
            self.bytes = Bytes::Each(Box::new([byte; PAGE_LENGTH]));
        }
        match &mut self.bytes {
            Bytes::Each(bytes) => bytes,
            Bytes::All(_) => unreachable!("was just replaced"),
        }
    }
}

/// All of it, from address 0.
#[derive(Clone)]
pub struct Memory {
    pages: Vec<Page>,
}

impl Memory {
    pub fn new(bytes: u64) -> Self {
        let page = Page { bytes: Bytes::All(JUNK), scrambled: true };
        Self { pages: vec![page; (bytes / PAGE_BYTES) as usize] }
    }

    pub fn page(&self, address: u64) -> Option<&Page> {
        self.pages.get((address / PAGE_BYTES) as usize)
    }

    fn page_mut(&mut self, address: u64) -> Option<&mut Page> {
        self.pages.get_mut((address / PAGE_BYTES) as usize)
    }

    pub fn zero(&mut self, address: u64, bytes: u64) {
        for page in (address..address + bytes).step_by(PAGE_LENGTH) {
            if let Some(page) = self.page_mut(page) {
                *page = Page { bytes: Bytes::All(0), scrambled: false };
            }
        }
    }

    pub fn is_zero(&self, address: u64) -> bool {
        match &self.page(address).expect("memory").bytes {
            Bytes::All(byte) => *byte == 0,
            Bytes::Each(bytes) => bytes.iter().all(|byte| *byte == 0),
        }
    }

    pub fn read_u64(&self, address: u64) -> u64 {
        let mut bytes = [0; 8];
        model::Contents::read(self, address, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    pub fn write_u64(&mut self, address: u64, value: u64) {
        model::Contents::write(self, address, &value.to_le_bytes());
    }
}

impl model::Contents for Memory {
    fn scramble(&mut self, address: u64, bytes: u64) {
        for page in (address..address + bytes).step_by(PAGE_LENGTH) {
            if let Some(page) = self.page_mut(page) {
                *page = Page { bytes: Bytes::All(JUNK), scrambled: true };
            }
        }
    }

    fn is_scrambled(&self, address: u64) -> bool {
        self.page(address).is_some_and(|page| page.scrambled)
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        let Some(page) = self.page(address) else { return false };
        let offset = (address % PAGE_BYTES) as usize;
        match &page.bytes {
            Bytes::All(byte) => bytes.fill(*byte),
            Bytes::Each(page) => bytes.copy_from_slice(&page[offset..offset + bytes.len()]),
        }
        true
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> bool {
        let Some(page) = self.page_mut(address) else { return false };
        let offset = (address % PAGE_BYTES) as usize;
        page.each()[offset..offset + bytes.len()].copy_from_slice(bytes);
        true
    }
}
