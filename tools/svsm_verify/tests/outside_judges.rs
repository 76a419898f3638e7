//! A TPM that others wrote: tpm2-tools make keys and quotes in libtpms' emulator, and open what is wrapped for it.
//!
//! Only the report around it is made by the tests. Without `swtpm` and tpm2-tools the tests say SKIPPED and why.

mod synthetic;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use getrandom::SysRng;
use rand_core::UnwrapErr;
use sha2::{Digest, Sha512};
use svsm_verify::evidence::directory;
use svsm_verify::release::{Form, Released, challenge, release};
use svsm_verify::vtpm::hash::HashAlgorithm;
use svsm_verify::{Activation, Evidence, Nonce, Policy, Question, verify};
use synthetic::{Machine, NONCE, NOW, policy};
use tempfile::TempDir;

/// How long the emulator may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running emulator, with a folder for files.
struct Swtpm {
    process: Child,
    port: u16,
    folder: TempDir,
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Swtpm {
    /// Starts one, or says why not.
    fn start() -> Option<Self> {
        for tool in ["swtpm", "tpm2_createek"] {
            if Command::new(tool).arg("--version").output().is_err() {
                eprintln!("SKIPPED: {tool} is not installed");
                return None;
            }
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let port = two_free_ports();
        let process = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--tpmstate"])
            .arg(format!("dir={}", folder.path().join("state").display()))
            .args(["--server", &format!("type=tcp,port={port}")])
            .args(["--ctrl", &format!("type=tcp,port={}", port + 1)])
            .spawn()
            .unwrap();
        let mut tpm = Self { process, port, folder };
        while tpm.process.try_wait().unwrap().is_none() {
            let answers = tpm.try_run("tpm2_getcap properties-fixed 2>/dev/null");
            if answers && tpm.process.try_wait().unwrap().is_none() {
                return Some(tpm);
            }
            assert!(Instant::now() < deadline, "swtpm does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        // Somebody else took the port in between.
        Self::start()
    }

    fn try_run(&self, script: &str) -> bool {
        Command::new("bash")
            .args(["-euc", script])
            .env("TPM2TOOLS_TCTI", format!("swtpm:host=localhost,port={}", self.port))
            .current_dir(self.folder.path())
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap()
            .success()
    }

    fn run(&self, script: &str) {
        assert!(self.try_run(script), "{script}");
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path().join(name)).unwrap()
    }

    /// Keys, PCRs extended as the log says, and a quote; the report is made around the endorsement key.
    fn evidence(&self, machine: &Machine, scheme: &str) -> Evidence {
        for (pcr, _, data) in &machine.log.events {
            let digest: String = synthetic::sha256(data).iter().map(|byte| format!("{byte:02x}")).collect();
            self.run(&format!("tpm2_pcrextend {pcr}:sha256={digest}"));
        }
        let kind = if scheme == "ecdsa" { "ecc" } else { "rsa" };
        // No bank of this TPM has digests of 64 bytes, so that the nonce stands there as its digest.
        let digest: String = synthetic::sha256(NONCE).iter().map(|byte| format!("{byte:02x}")).collect();
        self.run(&format!(
            "tpm2_createek -c 0x81010001 -G rsa -u ek.pub
             tpm2_createak -C 0x81010001 -c ak.ctx -G {kind} -g sha256 -s {scheme} -u ak.pub
             tpm2_flushcontext -t
             tpm2_quote -c ak.ctx --scheme {scheme} -l sha256:0,1,2,3,4,5,6,7,8,9 -q {digest} -m quote.msg -s quote.sig -o pcrs.bin -F values
             tpm2_flushcontext -t"
        ));
        let manifest = self.file("ek.pub")[2..].to_vec();
        let mut report = machine.report.clone();
        report.data = Sha512::new().chain_update(NONCE).chain_update(&manifest).finalize().into();
        Evidence {
            report: report.signed(machine.endorsement.key()),
            manifest,
            ek_public: Some(self.file("ek.pub")),
            ak_public: Some(self.file("ak.pub")),
            quote_message: Some(self.file("quote.msg")),
            quote_signature: Some(self.file("quote.sig")),
            pcrs: Some(self.file("pcrs.bin")),
            ..machine.evidence()
        }
    }

    /// Lets the guest open a credential.
    fn activate(&self, credential: &[u8]) -> Vec<u8> {
        std::fs::write(self.path().join("credential"), credential).unwrap();
        self.run(
            "tpm2_startauthsession --policy-session -S session.ctx
             tpm2_policysecret -S session.ctx -c e
             tpm2_activatecredential -c ak.ctx -C 0x81010001 -i credential -o opened -P session:session.ctx
             tpm2_flushcontext session.ctx
             tpm2_flushcontext -t",
        );
        self.file("opened")
    }
}

/// The emulator's framing wants the control port behind the data port.
fn two_free_ports() -> u16 {
    loop {
        let first = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
}

fn demanding() -> Policy {
    Policy::parse(&policy("").replace("require_activation = false", "require_activation = true")).unwrap()
}

fn question<'a>(machine: &Machine, activation: Activation<'a>) -> Question<'a> {
    Question { test_root: Some(machine.root()), activation, ..Question::new(Nonce::new(*NONCE), NOW) }
}

#[test]
fn quotes_of_libtpms_verify_and_its_keys_are_activated() {
    for scheme in ["rsassa", "rsapss", "ecdsa"] {
        let Some(tpm) = Swtpm::start() else { return };
        let machine = Machine::genuine();
        let mut evidence = tpm.evidence(&machine, scheme);
        let (kept, credential) = challenge(&evidence, &mut UnwrapErr(SysRng)).unwrap();
        evidence.activated = Some(tpm.activate(&credential.to_file()));
        let answer = verify(&evidence, &demanding(), &question(&machine, Activation::Challenge(&kept)));
        assert!(answer.is_verified(), "{scheme}\n{}", answer.to_text());
    }
}

#[test]
fn tpm2_tools_open_a_released_secret() {
    let Some(tpm) = Swtpm::start() else { return };
    let machine = Machine::genuine();
    let evidence = tpm.evidence(&machine, "rsassa");
    directory::write(&evidence, &tpm.path().join("evidence")).unwrap();
    let question = question(&machine, Activation::None);
    let mut random = UnwrapErr(SysRng);
    let released = release(&evidence, &demanding(), &question, b"disk key", &Form::Credential, &mut random);
    let (_, Released::Credential(credential)) = released.unwrap() else { panic!("no credential") };
    assert_eq!(tpm.activate(&credential.to_file()), b"disk key");
}

#[test]
fn tpm2_tools_import_a_sealed_secret_and_lose_it_when_a_pcr_changes() {
    let Some(tpm) = Swtpm::start() else { return };
    let machine = Machine::genuine();
    let mut evidence = tpm.evidence(&machine, "rsassa");
    let (kept, credential) = challenge(&evidence, &mut UnwrapErr(SysRng)).unwrap();
    evidence.activated = Some(tpm.activate(&credential.to_file()));
    let question = question(&machine, Activation::Challenge(&kept));
    let form = Form::Sealed(HashAlgorithm::Sha256, vec![4, 8, 9]);
    let secret = [0x5E; 100];
    let (_, released) =
        release(&evidence, &demanding(), &question, &secret, &form, &mut UnwrapErr(SysRng)).unwrap();
    let Released::Sealed(sealed) = released else { panic!("no sealed object") };
    for (name, bytes) in
        [("sealed.pub", &sealed.public), ("sealed.dup", &sealed.duplicate), ("sealed.seed", &sealed.seed)]
    {
        std::fs::write(tpm.path().join(name), bytes).unwrap();
    }
    tpm.run(
        "tpm2_startauthsession --policy-session -S s.ctx
         tpm2_policysecret -S s.ctx -c e
         tpm2_import -C 0x81010001 -P session:s.ctx -u sealed.pub -i sealed.dup -s sealed.seed -r sealed.priv
         tpm2_flushcontext s.ctx
         tpm2_startauthsession --policy-session -S s.ctx
         tpm2_policysecret -S s.ctx -c e
         tpm2_load -C 0x81010001 -P session:s.ctx -u sealed.pub -r sealed.priv -c sealed.ctx
         tpm2_flushcontext s.ctx
         tpm2_flushcontext -t",
    );
    let unseal = "tpm2_startauthsession --policy-session -S s.ctx
         tpm2_policypcr -S s.ctx -l sha256:4,8,9
         tpm2_unseal -c sealed.ctx -p session:s.ctx -o unsealed
         tpm2_flushcontext s.ctx
         tpm2_flushcontext -t";
    tpm.run(unseal);
    assert_eq!(tpm.file("unsealed"), secret);
    tpm.run("tpm2_pcrextend 8:sha256=5151515151515151515151515151515151515151515151515151515151515151");
    assert!(!tpm.try_run(unseal));
}
