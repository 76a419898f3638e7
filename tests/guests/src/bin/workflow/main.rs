//! `workflow`: the whole of it, from an image to a relying party's verdict.
//!
//! It builds an image, starts it on the emulated machine with a stock kernel at VMPL2, has the guest's own drivers and
//! tpm2-tools collect evidence, and gives that to `svsm-verify`. This program plays the two people of `GUIDE.md`: the one
//! at the guest's terminal ([`steps`], by way of `guest_init`'s agent), and the relying party ([`relying_party`]).
//!
//! `make run` shows one session. With `--judge` it is a stage of `make test`: [`tampering`] changes one thing each time.
#![forbid(unsafe_code)]

mod firmware;
mod guest;
mod relying_party;
mod steps;
mod tampering;

use clap::Parser;
use end_to_end::built::Built;
use guest::{Image, Parts};
use guests::fetched::{Guests, Missing};
use relying_party::{RelyingParty, random};
use std::path::PathBuf;
use std::process::ExitCode;

/// The guest's command line, which the image and PCR 8 hold.
const COMMAND_LINE: &str = "console=ttyS0 quiet vouchsafe.agent";
/// Opens what is said where Debian's archive cannot be reached.
const NOT_HAD: &str = "the guest cannot be had here";

/// Boots a stock guest with a vTPM, and verifies it from outside.
#[derive(Parser)]
struct Arguments {
    /// Try what must be refused, too, and write verdicts
    #[arg(long)]
    judge: bool,
    /// The guest's command line
    #[arg(long, default_value = COMMAND_LINE)]
    append: String,
}

/// What all sessions share.
pub struct Place {
    built: Built,
    folder: PathBuf,
    parts: Parts,
    guests: Guests,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("workflow: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool, String> {
    let built = Built::beside_this_program().map_err(|error| error.to_string())?;
    let folder = built.logs("workflow").map_err(|error| error.to_string())?;
    let target = folder.join("../..").canonicalize().map_err(|error| error.to_string())?;
    let guests = Guests::of(&target);
    let parts = match guests.workflow() {
        Ok(kernel) => Parts { kernel, keys: target.join("psp_keys") },
        Err(Missing::Unavailable(reason)) if arguments.judge => {
            return tampering::skip(&reason).map(|()| true);
        }
        Err(Missing::Unavailable(reason) | Missing::Broken(reason)) => {
            return Err(format!("{NOT_HAD}: {reason}"));
        }
    };
    let place = Place { built, folder, parts, guests };
    if arguments.judge {
        tampering::judge(&place, &arguments.append)
    } else {
        show(&place, &arguments.append)
    }
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
