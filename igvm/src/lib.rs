//! Builds, shows, measures and signs IGVM images of the paravisor; the library behind `igvm-image`.
//!
//! [`build`] turns ELF programs into an image by way of [`elf`], [`page_tables`] and [`layout`]. [`file`](mod@file) reads any
//! image with the place of each header, so that errors can name it. [`launch`] says what QEMU and KVM do with an
//! image, page by page: the digest is computed from it and the emulated machine loads from it. [`sign`] adds an ID
//! block, [`show`] describes an image. [`hosts`] are the loaders that there are: [`check`] says whether one takes an image,
//! and [`measure`] which digest comes of it.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod build;
pub mod hosts;
pub mod layout;
pub mod page_tables;
pub mod show;

// These read files that anybody may have written: no index and no sum without a check.
#[cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]
pub mod check;
#[cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]
pub mod elf;
#[cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]
pub mod file;
#[cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]
pub mod guest;
#[cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]
pub mod launch;
#[cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]
pub mod measure;
#[cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]
pub mod ovmf;
#[cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]
pub mod sign;
pub mod vcpus;
