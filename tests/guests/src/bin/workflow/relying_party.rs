//! The relying party: its policy, and `svsm-verify`.

use crate::Place;
use crate::guest::Image;
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A relying party's random bytes. Linux' driver wants exactly as many.
pub type Nonce = [u8; 64];

/// What a challenge's answer is judged by; not for the guest.
pub const KEPT: &str = "challenge.json";

/// New random bytes.
pub fn random() -> Nonce {
    let mut bytes = [0; 64];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .expect("/dev/urandom");
    bytes
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What one session is judged by.
#[derive(Clone)]
pub struct RelyingParty {
    program: PathBuf,
    folder: PathBuf,
    /// The policy's text.
    pub policy: String,
    /// The accepted image.
    pub image: PathBuf,
    /// The root of the emulated machine; none trusts AMD's only.
    pub root: Option<PathBuf>,
}

/// What `svsm-verify` answered.
#[derive(Debug)]
pub struct Answer {
    /// Its exit status.
    pub status: Option<i32>,
    /// The claims set, or what it printed instead.
    pub claims: Value,
}

impl Answer {
    /// Why a check failed; none if it did not.
    pub fn refusal(&self, check: &str) -> Option<String> {
        let checks = self.claims.get("checks")?.as_array()?;
        let found = checks.iter().find(|row| row.get("name").and_then(Value::as_str) == Some(check))?;
        let is_failed = found.get("outcome").and_then(Value::as_str) == Some("failed");
        is_failed.then(|| found.get("why").and_then(Value::as_str).unwrap_or_default().to_owned())
    }
}

impl RelyingParty {
    /// Accepts this image with its command line, on the emulated machine.
    pub fn new(place: &Place, image: &Image) -> Self {
        let policy = format!(
            "version = 1\n\n[tcb.Milan]\nboot_loader = 4\ntee = 0\nsnp = 24\nmicrocode = 219\n\n\
             [[vtpm.event]]\nbank = \"sha256\"\nindex = 8\nexactly = [{{ text = \"kernel_cmdline: {}\" }}]\n",
            image.command_line
        );
        Self {
            program: place.built.tool("svsm-verify"),
            folder: place.folder.clone(),
            policy,
            image: image.path.clone(),
            root: Some(place.parts.keys.join("milan/ark.pem")),
        }
    }

    /// Asks for no event: what UEFI firmware measures is its own affair, and the launch digest holds the command line.
    pub fn behind_uefi(mut self) -> Self {
        let (policy, _) = self.policy.split_once("[[vtpm.event]]").unwrap_or((self.policy.as_str(), ""));
        self.policy = format!("{policy}[vtpm]\nboot = \"uefi\"\n");
        self
    }

    fn command(&self, action: Option<&str>, evidence: &Path, nonce: &Nonce) -> Result<Command, String> {
        let policy = self.folder.join("policy.toml");
        std::fs::write(&policy, &self.policy).map_err(|error| error.to_string())?;
        let mut command = Command::new(&self.program);
        command.args(action).arg("--evidence").arg(evidence).args(["--nonce", &hex(nonce)]);
        command.arg("--policy").arg(policy).arg("--image").arg(&self.image);
        if let Some(root) = &self.root {
            command.arg("--test-root").arg(root);
        }
        if action.is_none() {
            command.arg("--challenge").arg(evidence.join(KEPT));
        }
        Ok(command)
    }

    /// What to type to see the table of checks again.
    pub fn by_hand(&self, evidence: &Path) -> String {
        let root =
            self.root.as_deref().map_or(String::new(), |root| format!(" --test-root {}", root.display()));
        let folder = evidence.display();
        format!(
            "$ {} --evidence {folder} --nonce $(cat {folder}/nonce.hex) --policy {} --image {} --challenge {folder}/{KEPT}{root}",
            self.program.display(),
            self.folder.join("policy.toml").display(),
            self.image.display(),
        )
    }

    /// Prints the table of checks; whether all passed.
    pub fn show(&self, evidence: &Path, nonce: &Nonce) -> Result<bool, String> {
        let status = self.command(None, evidence, nonce)?.status();
        status.map(|status| status.success()).map_err(|error| format!("svsm-verify: {error}"))
    }

    /// Judges evidence.
    pub fn judge(&self, evidence: &Path, nonce: &Nonce) -> Result<Answer, String> {
        answer(self.command(None, evidence, nonce)?.arg("--json"))
    }

    /// Wraps a secret for the TPM of the evidence; `more` are further options.
    pub fn release(
        &self,
        evidence: &Path,
        nonce: &Nonce,
        secret: &[u8],
        output: &Path,
        more: &[&str],
    ) -> Result<Answer, String> {
        let file = self.folder.join("secret");
        std::fs::write(&file, secret).map_err(|error| error.to_string())?;
        let mut command = self.command(Some("release"), evidence, nonce)?;
        answer(command.args(["--json", "--secret"]).arg(file).arg("--output").arg(output).args(more))
    }

    /// A credential for the guest to open.
    pub fn challenge(&self, evidence: &Path) -> Result<Vec<u8>, String> {
        let blob = self.folder.join("credential.blob");
        let mut command = Command::new(&self.program);
        command.arg("challenge").arg("--evidence").arg(evidence).arg("--output").arg(&blob);
        let output = command.arg("--keep").arg(evidence.join(KEPT)).output();
        let output = output.map_err(|error| format!("svsm-verify: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        std::fs::read(blob).map_err(|error| error.to_string())
    }
}

fn answer(command: &mut Command) -> Result<Answer, String> {
    let output = command.output().map_err(|error| format!("svsm-verify: {error}"))?;
    let claims = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&output.stderr).into_owned()));
    Ok(Answer { status: output.status.code(), claims })
}
