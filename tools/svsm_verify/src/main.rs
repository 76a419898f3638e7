//! `svsm-verify`: the command line of the library.
//!
//! Exit status: 0 verified (or done), 1 refused, 2 wrong usage, 3 a file that cannot be read, is malformed, or cannot be
//! written, 4 verified under a test root that nobody named on the command line.
#![forbid(unsafe_code)]

mod arguments;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use getrandom::SysRng;
use rand_core::UnwrapErr;
use svsm_verify::certificates::revocation::{self, RevocationList};
use svsm_verify::certificates::roots::PRODUCTS;
use svsm_verify::certificates::{Certificate, from_pem};
use svsm_verify::evidence::{MAXIMUM_FILE_BYTES, directory, json, read_up_to};
use svsm_verify::measurement::{self, ExpectedMeasurement};
use svsm_verify::release::{Form, NotReleased, Released};
use svsm_verify::results::ear::{Context, ResultKey};
use svsm_verify::results::html;
use svsm_verify::vtpm::credential::Challenge;
use svsm_verify::{Activation, ClaimsSet, Evidence, Nonce, Policy, Question, fetch, release, verify};

use arguments::{Action, Arguments, ChallengeArguments, CheckArguments, FetchArguments, ReleaseArguments};

/// Exit status where evidence is refused.
const REFUSED: u8 = 1;
/// Exit status where a file is the problem.
const UNREADABLE: u8 = 3;
/// Exit status where evidence is good under a test root of the policy's.
const UNDER_TEST_ROOT: u8 = 4;

/// What a wrapped secret does not prove to the guest.
const UNAUTHENTICATED: &str = "the guest cannot tell who wrapped it: anyone who knows its public keys can wrap another secret. \
     Send it over a channel that authenticates you to the guest";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match (&arguments.action, &arguments.check) {
        (Some(Action::Release(arguments)), _) => release_secret(arguments),
        (Some(Action::Challenge(arguments)), _) => make_challenge(arguments),
        (Some(Action::FetchCerts(arguments)), _) => fetch_certificates(arguments),
        (Some(Action::Pack { evidence, output }), _) => pack(evidence, output),
        (None, Some(arguments)) => check(arguments),
        // clap demands the options where there is no subcommand.
        (None, None) => Err("nothing to do; see --help".to_owned()),
    };
    done.unwrap_or_else(|message| {
        eprintln!("svsm-verify: {message}");
        ExitCode::from(UNREADABLE)
    })
}

/// What a check needs, read from the files of the command line.
struct Input {
    evidence: Evidence,
    policy: Policy,
    nonce: Nonce,
    now: Duration,
    measurements: Vec<ExpectedMeasurement>,
    test_root: Option<Certificate>,
    revocation_lists: Vec<RevocationList>,
    challenge: Option<Challenge>,
}

impl Input {
    fn read(arguments: &CheckArguments) -> Result<Self, String> {
        let mut evidence = Evidence::read(&arguments.evidence).map_err(|error| error.to_string())?;
        if let Some(folder) = &arguments.certs {
            directory::add_certificates(&mut evidence, folder).map_err(|error| error.to_string())?;
        }
        let policy = Policy::parse(&read_text(&arguments.policy)?)
            .map_err(|error| in_file(&arguments.policy, error))?;
        let mut measurements = Vec::new();
        for path in &arguments.image {
            let of_image =
                measurement::of_image(&path.display().to_string(), &read(path)?, &policy.measurement);
            measurements.extend(of_image.map_err(|error| in_file(path, error))?);
        }
        let revocation_lists = arguments.crl.iter().map(|path| read_list(path)).collect::<Result<_, _>>()?;
        let test_root = arguments.test_root.as_deref().map(read_root).transpose()?;
        let challenge = arguments.challenge.as_deref().map(read_challenge).transpose()?;
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = arguments.time.map_or_else(clock, Duration::from_secs);
        Ok(Self {
            evidence,
            policy,
            nonce: arguments.nonce,
            now,
            measurements,
            test_root,
            revocation_lists,
            challenge,
        })
    }

    fn question(&self) -> Question<'_> {
        Question {
            measurements: self.measurements.clone(),
            test_root: self.test_root.clone(),
            revocation_lists: self.revocation_lists.clone(),
            activation: self.challenge.as_ref().map_or(Activation::None, Activation::Challenge),
            ..Question::new(self.nonce, self.now)
        }
    }
}

fn check(arguments: &CheckArguments) -> Result<ExitCode, String> {
    let input = Input::read(arguments)?;
    let answer = verify(&input.evidence, &input.policy, &input.question());
    write_results(&answer, &input, arguments)?;
    print_answer(&answer, arguments.json);
    Ok(status(&answer, arguments))
}

/// The page and the signed result, if they are asked for; a refusal has both as well.
fn write_results(answer: &ClaimsSet, input: &Input, arguments: &CheckArguments) -> Result<(), String> {
    if let Some(path) = &arguments.html {
        write(path, html::page(answer, &input.evidence).as_bytes())?;
    }
    let (Some(path), Some(key)) = (&arguments.ear, &arguments.ear_key) else { return Ok(()) };
    let signer = ResultKey::from_pem(&read_text(key)?).map_err(|error| in_file(key, error))?;
    let policy = arguments.policy.display().to_string();
    let context = Context { nonce: input.nonce, issued_at: input.now.as_secs(), policy: &policy };
    let token = match path.extension() {
        Some(suffix) if suffix == "cwt" => signer.cwt(answer, &context),
        _ => Ok(signer.jwt(answer, &context).into_bytes()),
    };
    write(path, &token.map_err(|error| in_file(path, error))?)
}

/// Whoever names a test root on the command line knows what the answer is worth; whoever runs with somebody's policy may not.
fn status(answer: &ClaimsSet, arguments: &CheckArguments) -> ExitCode {
    match (answer.is_verified(), answer.is_under_test_root()) {
        (false, _) => ExitCode::from(REFUSED),
        (true, true) if arguments.test_root.is_none() => ExitCode::from(UNDER_TEST_ROOT),
        (true, _) => ExitCode::SUCCESS,
    }
}

fn print_answer(answer: &ClaimsSet, as_json: bool) {
    if as_json {
        println!("{:#}", answer.to_json());
    } else {
        print!("{}", answer.to_text());
    }
}

fn release_secret(arguments: &ReleaseArguments) -> Result<ExitCode, String> {
    let input = Input::read(&arguments.check)?;
    let secret = read(&arguments.secret)?;
    let form = match &arguments.seal_to {
        Some(pcrs) => Form::Sealed(pcrs.bank, pcrs.indices.clone()),
        None => Form::Credential,
    };
    let mut random = UnwrapErr(SysRng);
    let question = input.question();
    match release::release(&input.evidence, &input.policy, &question, &secret, &form, &mut random) {
        Ok((answer, released)) => {
            write_released(&released, &arguments.output)?;
            print_answer(&answer, arguments.check.json);
            eprintln!("svsm-verify: the wrapped secret is in {}", arguments.output.display());
            eprintln!("svsm-verify: {UNAUTHENTICATED}");
            Ok(status(&answer, &arguments.check))
        }
        Err(NotReleased::Refused(answer)) => {
            print_answer(&answer, arguments.check.json);
            eprintln!("svsm-verify: nothing was released");
            Ok(ExitCode::from(REFUSED))
        }
        Err(error) => Err(error.to_string()),
    }
}

fn write_released(released: &Released, output: &Path) -> Result<(), String> {
    match released {
        Released::Credential(credential) => write(output, &credential.to_file()),
        Released::Sealed(sealed) => {
            std::fs::create_dir_all(output).map_err(|error| in_file(output, error))?;
            write(&output.join("sealed.pub"), &sealed.public)?;
            write(&output.join("sealed.dup"), &sealed.duplicate)?;
            write(&output.join("sealed.seed"), &sealed.seed)
        }
    }
}

fn make_challenge(arguments: &ChallengeArguments) -> Result<ExitCode, String> {
    let evidence = Evidence::read(&arguments.evidence).map_err(|error| error.to_string())?;
    let (challenge, credential) =
        release::challenge(&evidence, &mut UnwrapErr(SysRng)).map_err(|error| error.to_string())?;
    write_private(&arguments.keep, challenge.to_json().as_bytes())?;
    write(&arguments.output, &credential.to_file())?;
    println!("for the guest: {}", arguments.output.display());
    println!("keep, and keep secret: {}", arguments.keep.display());
    Ok(ExitCode::SUCCESS)
}

fn fetch_certificates(arguments: &FetchArguments) -> Result<ExitCode, String> {
    let evidence = Evidence::read(&arguments.evidence).map_err(|error| error.to_string())?;
    let product =
        arguments.product.as_deref().and_then(|name| PRODUCTS.iter().find(|product| product.name == name));
    let downloads = fetch::downloads(&evidence.report, product).map_err(|error| error.to_string())?;
    if fetch::has_leaf(&evidence.certificates, &evidence.report) {
        println!("# the evidence has the certificate of the report's key already");
    }
    for download in downloads {
        let folder = if download.file == fetch::LIST { "" } else { "certs/" };
        println!("curl --fail --create-dirs --output {folder}{} '{}'", download.file, download.address);
    }
    Ok(ExitCode::SUCCESS)
}

fn pack(evidence: &Path, output: &Path) -> Result<ExitCode, String> {
    let evidence = Evidence::read(evidence).map_err(|error| error.to_string())?;
    write(output, json::write(&evidence).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn read_root(path: &Path) -> Result<Certificate, String> {
    let bytes = read(path)?;
    let certificates = match bytes.as_slice() {
        [0x30, ..] => Certificate::from_der(&bytes).map(|certificate| vec![certificate]),
        _ => from_pem(&bytes),
    };
    match certificates.map_err(|error| in_file(path, error))?.as_slice() {
        [only] => Ok(only.clone()),
        _ => Err(in_file(path, "a test root is one certificate")),
    }
}

fn read_list(path: &Path) -> Result<RevocationList, String> {
    let bytes = read_at_most(path, revocation::MAXIMUM_BYTES)?;
    RevocationList::read(&bytes).map_err(|error| in_file(path, error))
}

fn read_challenge(path: &Path) -> Result<Challenge, String> {
    Challenge::from_json(&read_text(path)?).ok_or_else(|| in_file(path, "this is no challenge"))
}

fn in_file(path: &Path, error: impl std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

/// Reads a file of the user's own, which may be a pipe, but has an end.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    read_at_most(path, MAXIMUM_FILE_BYTES)
}

fn read_at_most(path: &Path, limit: usize) -> Result<Vec<u8>, String> {
    let read = std::fs::File::open(path).and_then(|file| read_up_to(file, limit));
    let read = read.map_err(|error| in_file(path, error))?;
    read.ok_or_else(|| in_file(path, format!("it has more than {limit} bytes")))
}

fn read_text(path: &Path) -> Result<String, String> {
    String::from_utf8(read_at_most(path, svsm_verify::policy::MAXIMUM_BYTES)?)
        .map_err(|_| in_file(path, "it is no text in UTF-8"))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    std::fs::write(path, bytes).map_err(|error| in_file(path, error))
}

/// Writes a file that only its owner can read.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes)).map_err(|error| in_file(path, error))
}
