//! The answer in the forms that others take: [EAT attestation results](ear) for services, a [page](html) for people.

pub mod ear;
pub mod html;
