//! Runs sequences on both TPMs until enough commands were compared.

use crate::Arguments;
use crate::allowed;
use crate::answers::{self, Difference};
use crate::dice::Dice;
use crate::draft::{Authorization, Draft, Piece};
use crate::grammar::Row;
use crate::model::Model;
use crate::mutation::Damage;
use crate::peer::{Ours, Peer, Swtpm};
use crate::report::Report;
use crate::sequence;
use std::error::Error;

/// The longest sequence; then both TPMs are reset and cleared.
pub const LENGTH: usize = 80;
/// How many of a hundred commands are also sent damaged.
pub const DAMAGED_PERCENT: usize = 45;

struct Pair {
    ours: Ours,
    theirs: Swtpm,
    trace: bool,
}

impl Pair {
    fn execute(&mut self, ours: &[u8], theirs: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Box<dyn Error>> {
        let answers = (self.ours.execute(ours)?, self.theirs.execute(theirs)?);
        if self.trace {
            println!("> {}\n  ours   {}\n  theirs {}", hex(ours), hex(&answers.0), hex(&answers.1));
        }
        Ok(answers)
    }

    /// Resets both, and clears what sequences leave: owner, indices, persistent objects, lockout, audit, and allocation.
    fn begin(&mut self) -> Result<(), Box<dyn Error>> {
        // Allocation of PCRs takes effect at the next reset, so there are two.
        for command in
            [&STARTUP[..], &allow_clear(), &clear(), &set_lockout(), &set_audit(), &allocate(), &STARTUP]
        {
            if command == STARTUP {
                self.ours.reset()?;
                self.theirs.reset()?;
            }
            let (ours, theirs) = self.execute(command, command)?;
            if answers::code(&ours) != Some(0) || answers::code(&theirs) != Some(0) {
                return Err(format!(
                    "a sequence cannot begin: {} answers {} and {}",
                    hex(command),
                    hex(&ours),
                    hex(&theirs)
                )
                .into());
            }
        }
        Ok(())
    }

    /// TPM_PT_REVISION of the other TPM.
    fn their_revision(&mut self) -> Result<Option<u32>, Box<dyn Error>> {
        let answer = self.theirs.execute(&REVISION)?;
        Ok(answer
            .last_chunk()
            .filter(|_| answers::code(&answer) == Some(0))
            .map(|word| u32::from_be_bytes(*word)))
    }
}

/// TPM2_GetCapability(TPM_CAP_TPM_PROPERTIES, TPM_PT_REVISION, 1).
const REVISION: [u8; 22] = [0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7a, 0, 0, 0, 6, 0, 0, 1, 2, 0, 0, 0, 1];
/// TPM2_Startup(CLEAR).
const STARTUP: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
const PLATFORM: u32 = 0x4000_000c;
const LOCKOUT: u32 = 0x4000_000a;

fn by_password(code: u32, handle: u32, parameters: Vec<u8>) -> Vec<u8> {
    let authorization = Authorization { session: Piece::u32(0x4000_0009), attributes: 1, hmac: Vec::new() };
    Draft {
        code,
        handles: vec![Piece::u32(handle)],
        authorizations: vec![authorization],
        parameters: vec![Piece::Bytes(parameters)],
    }
    .fill(&[])
}

fn clear() -> Vec<u8> {
    by_password(0x126, PLATFORM, Vec::new())
}

/// TPM2_ClearControl(NO): a sequence may have disabled TPM2_Clear for the lockout authorization.
fn allow_clear() -> Vec<u8> {
    by_password(0x127, PLATFORM, vec![0])
}

/// TPM2_DictionaryAttackParameters: so many tries that no sequence is locked out, and the same for both.
fn set_lockout() -> Vec<u8> {
    let numbers: Vec<u8> = [100_000_u32, 1000, 1000].iter().flat_map(|number| number.to_be_bytes()).collect();
    by_password(0x13a, LOCKOUT, numbers)
}

/// TPM2_SetCommandCodeAuditStatus(SHA-256): what audits from the factory is each TPM's own choice.
fn set_audit() -> Vec<u8> {
    by_password(0x140, PLATFORM, vec![0, 0x0b, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// TPM2_PCR_Allocate(SHA-256 and SHA-384): ours allocates these, libtpms all of its banks.
fn allocate() -> Vec<u8> {
    let mut selections = 4_u32.to_be_bytes().to_vec();
    for (hash, bits) in [(0x04, 0), (0x0b, 0xff), (0x0c, 0xff), (0x0d, 0)] {
        selections.extend([0, hash, 3, bits, bits, bits]);
    }
    by_password(0x12b, PLATFORM, selections)
}

/// Compares as many commands as were asked for.
pub fn run(arguments: &Arguments) -> Result<Report, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let mut pair = Pair {
        ours: Ours::new(arguments.seed)?,
        theirs: Swtpm::start(folder.path())?,
        trace: arguments.trace,
    };
    let mut report = Report::new(arguments.seed);
    let mut dice = Dice::new(arguments.seed);
    pair.begin()?;
    let revision = pair.their_revision()?;
    if revision != Some(allowed::REVISION) {
        report.skip(format!("the differences from libtpms of revision {revision:?} are not decided"));
        return Ok(report);
    }
    while report.commands() < arguments.commands {
        pair.begin()?;
        run_sequence(&mut pair, &mut dice, &mut report)?;
    }
    Ok(report)
}

fn run_sequence(pair: &mut Pair, dice: &mut Dice, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let mut model = Model::default();
    for _ in 0..LENGTH {
        let drawn = sequence::draw(dice, &model);
        let (ours, theirs) = (drawn.draft.fill(&model.ours), drawn.draft.fill(&model.theirs));
        if dice.percent(DAMAGED_PERCENT) {
            let damage = Damage::any(dice, ours.len().min(theirs.len()));
            if !run_damaged(pair, drawn.row, &damage.apply(&ours), &damage.apply(&theirs), report)? {
                return Ok(());
            }
        }
        let (our_answer, their_answer) = pair.execute(&ours, &theirs)?;
        let fields = sequence::fields(&drawn, &model);
        let outcome = answers::compare(drawn.row, fields, &our_answer, &their_answer, &mut model);
        let succeeded = answers::code(&our_answer) == Some(0);
        match outcome {
            Ok(handle) => {
                report.agreed(drawn.row.name, succeeded);
                if succeeded && !sequence::note(&mut model, &drawn, handle) {
                    return Ok(());
                }
            }
            Err(difference) => {
                let parted = parts(&difference);
                report.differed(
                    drawn.row.name,
                    drawn.row.code,
                    difference,
                    &ours,
                    &our_answer,
                    &their_answer,
                );
                if parted {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Runs a damaged command. Where it succeeds all the same, nobody knows what it left: the sequence ends.
fn run_damaged(
    pair: &mut Pair,
    row: &Row,
    ours: &[u8],
    theirs: &[u8],
    report: &mut Report,
) -> Result<bool, Box<dyn Error>> {
    let (our_answer, their_answer) = pair.execute(ours, theirs)?;
    let (our_code, their_code) = (answers::code(&our_answer), answers::code(&their_answer));
    let succeeded = our_code == Some(0);
    let is_same = our_code == their_code && (succeeded || our_answer == their_answer);
    if is_same {
        report.agreed(row.name, succeeded);
        return Ok(!succeeded);
    }
    let difference = match (our_code, their_code) {
        (Some(ours), Some(theirs)) => Difference::Codes { ours, theirs },
        _ => Difference::Malformed,
    };
    let parted = parts(&difference);
    let code = answers::code(ours).unwrap_or_default();
    report.differed(row.name, code, difference, ours, &our_answer, &their_answer);
    Ok(!parted && !succeeded)
}

/// Whether the TPMs are in different states from here on: one did what the other refused.
fn parts(difference: &Difference) -> bool {
    match difference {
        Difference::Codes { ours, theirs } => *ours == 0 || *theirs == 0,
        Difference::Lengths { .. } | Difference::Field { .. } | Difference::Malformed => true,
    }
}

/// Bytes as people read them.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
