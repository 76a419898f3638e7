//! `workflow`: the whole of it, from an image to a relying party's verdict.
//!
//! It builds an image, starts it on the emulated machine with a stock kernel at VMPL2, has the guest's own drivers and
//! tpm2-tools collect evidence, and gives that to `svsm-verify`. This program plays the two people of `GUIDE.md`: the one
//! at the guest's terminal ([`steps`], by way of `guest_init`'s agent), and the relying party ([`relying_party`]).
//!
//! `make run` shows one session. With `--judge` it is a stage of `make test`: [`tampering`] changes one thing each time.
#![forbid(unsafe_code)]

mod arguments;
mod boot;
mod firmware;
mod guest;
mod relying_party;
mod steps;
mod tampering;

use arguments::{Arguments, COMMAND_LINE};
use clap::Parser;
use end_to_end::built::Built;
use guest::{Image, Parts};
use guests::fetched::{Guests, Missing};
use relying_party::{RelyingParty, random};
use std::fs::{File, TryLockError};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// Opens what is said where Debian's archive cannot be reached.
const NOT_HAD: &str = "the guest cannot be had here";

/// What all sessions share.
pub struct Place {
    built: Built,
    folder: PathBuf,
    parts: Parts,
    guests: Guests,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    run(&arguments).map_or_else(
        |error| {
            eprintln!("workflow: {error}");
            ExitCode::from(2)
        },
        ExitCode::from,
    )
}

/// The exit status.
fn run(arguments: &Arguments) -> Result<u8, String> {
    let built = Built::beside_this_program().map_err(|error| error.to_string())?;
    let (folder, _lock) = own_folder(&built).map_err(|error| format!("target/results: {error}"))?;
    let target = folder.join("../..").canonicalize().map_err(|error| error.to_string())?;
    let guests = Guests::of(&target);
    if !arguments.is_workflow() {
        return boot::boot(arguments, &built, &guests, &folder);
    }
    let parts = match guests.workflow() {
        Ok(kernel) => Parts { kernel, keys: folder.join("psp_keys") },
        Err(Missing::Unavailable(reason)) if arguments.judge => {
            return tampering::skip(&reason).map(|()| 0);
        }
        Err(Missing::Unavailable(reason)) if guests.kernel(guests::fetched::NEWEST).is_ok() => {
            println!("this guest has no driver for the TPM, so nothing can be verified: {reason}");
            println!("the rest of the run: Linux boots at VMPL2 and checks itself");
            let status = boot::without_tpm(&built, &guests, &folder)?;
            println!("NOT VERIFIED: {reason}");
            return Ok(status);
        }
        Err(Missing::Unavailable(reason) | Missing::Broken(reason)) => {
            return Err(format!("{NOT_HAD}: {reason}"));
        }
    };
    let place = Place { built, folder, parts, guests };
    let command_line = arguments.append().unwrap_or_else(|| COMMAND_LINE.to_owned());
    let is_good =
        if arguments.judge { tampering::judge(&place, &command_line)? } else { show(&place, &command_line)? };
    Ok(u8::from(!is_good))
}

/// A folder in `target/results` that no other run uses until the lock is dropped: `workflow`, `workflow-2` and so on.
fn own_folder(built: &Built) -> io::Result<(PathBuf, File)> {
    for number in 1.. {
        let name = if number == 1 { "workflow".to_owned() } else { format!("workflow-{number}") };
        let folder = built.logs(&name)?;
        let lock = File::create(folder.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => return Ok((folder, lock)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// One session, for people.
fn show(place: &Place, command_line: &str) -> Result<bool, String> {
    steps::tell(&format!("image: Linux {}, command line '{command_line}'", place.parts.kernel.version));
    let image = Image::build(place, "workflow", command_line, None)?;
    steps::tell("machine: the image boots at VMPL0, then Linux at VMPL2");
    let mut guest = image.start(place)?;
    let nonce = random();
    let evidence = place.folder.join("evidence");
    steps::collect(&mut guest, &evidence, &nonce)?;
    let party = RelyingParty::new(place, &image);
    steps::prove(&mut guest, &evidence, &party)?;
    guest.finish()?;
    // Whoever wants to look again by hand needs it.
    let kept = evidence.join("nonce.hex");
    std::fs::write(&kept, relying_party::hex(&nonce))
        .map_err(|error| format!("{}: {error}", kept.display()))?;
    steps::tell("relying party: svsm-verify");
    println!("{}", party.by_hand(&evidence));
    party.show(&evidence, &nonce)
}
