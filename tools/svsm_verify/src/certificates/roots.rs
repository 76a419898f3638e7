//! AMD's published roots, and the table of products that have one.
//!
//! The files in `roots/` are the certificates that AMD's key distribution service publishes for each product
//! (`https://kdsintf.amd.com/vcek/v1/PRODUCT/cert_chain`), as the `sev` crate carries them; a test compares the two. The
//! intermediate certificates spare a download and are trusted no further than the root's signature reaches.

use snp_abi::tcb::Generation;

use super::{Certificate, InvalidCertificate, from_pem};

/// A product with a root of its own.
#[derive(Debug)]
pub struct Product {
    /// AMD's name for it, in certificates and addresses.
    pub name: &'static str,
    /// Which layouts it has.
    pub generation: Generation,
    /// SHA-384 of the root certificate.
    pub root_fingerprint: &'static str,
    root: &'static str,
    intermediate: &'static str,
}

/// Every product whose root is built in.
pub const PRODUCTS: &[Product] = &[
    Product {
        name: "Milan",
        generation: Generation::Milan,
        root_fingerprint: "2f1316273dade9b896875da0acb6bc1c0547d41320ad323cbfbef6570f0305a3e7f8398d0b44bd1f36075295cefcc0db",
        root: include_str!("../../roots/ark_milan.pem"),
        intermediate: include_str!("../../roots/ask_milan.pem"),
    },
    Product {
        name: "Genoa",
        generation: Generation::Genoa,
        root_fingerprint: "d1b7bcfe685d19e63ca792957371b619cee792db280c312e7a00433d506224d5953ad9d348d74b4e176fba1b6a616eac",
        root: include_str!("../../roots/ark_genoa.pem"),
        intermediate: include_str!("../../roots/ask_genoa.pem"),
    },
    Product {
        name: "Turin",
        generation: Generation::Turin,
        root_fingerprint: "09da21f0e7d04ac7f1b04306ebc5d65a3c0ebec966170d22fe26c44efcce8be3ed298a80d10fcfa4131c01028fe536d8",
        root: include_str!("../../roots/ark_turin.pem"),
        intermediate: include_str!("../../roots/ask_turin.pem"),
    },
];

/// The product of a generation, `None` where AMD has published no root that is built in.
#[must_use]
pub fn product(generation: Generation) -> Option<&'static Product> {
    PRODUCTS.iter().find(|product| product.generation == generation)
}

impl Product {
    /// The pinned root.
    ///
    /// # Errors
    /// Never, as a test shows; the caller has to refuse all the same.
    pub fn root(&self) -> Result<Certificate, InvalidCertificate> {
        only(self.root)
    }

    /// The certificate below it that signs VCEKs.
    ///
    /// # Errors
    /// Never, as a test shows.
    pub fn intermediate(&self) -> Result<Certificate, InvalidCertificate> {
        only(self.intermediate)
    }
}

fn only(pem: &str) -> Result<Certificate, InvalidCertificate> {
    from_pem(pem.as_bytes())?.into_iter().next().ok_or(InvalidCertificate::NotText)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::hex;

    #[test]
    fn the_built_in_roots_have_the_fingerprints_of_the_table_and_sign_themselves_and_their_intermediates() {
        for product in PRODUCTS {
            let (root, intermediate) = (product.root().unwrap(), product.intermediate().unwrap());
            assert_eq!(hex(&root.fingerprint()), product.root_fingerprint);
            assert_eq!(root.subject(), format!("ARK-{}", product.name));
            assert_eq!(intermediate.subject(), format!("SEV-{}", product.name));
            assert!(root.is_authority() && intermediate.is_authority());
            assert!(root.signed(&root) && root.signed(&intermediate) && !intermediate.signed(&root));
        }
    }

    #[test]
    fn no_root_signs_another_products_intermediate() {
        for product in PRODUCTS {
            for other in PRODUCTS.iter().filter(|other| other.name != product.name) {
                assert!(!product.root().unwrap().signed(&other.intermediate().unwrap()));
            }
        }
    }
}
