//! `igvm-image`: builds, shows, checks, measures and signs IGVM images of the paravisor.
//!
//! Exit status: 0 done, 1 bad input, 2 wrong usage. Results go to stdout, everything else to stderr.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use boot_handoff::{DEFAULT_REGION_BASE, DEFAULT_REGION_SIZE};
use clap::{Args, Parser, Subcommand};
use igvm::build::{BuildOptions, GuestSource, build};
use igvm::check::{self, Verdict};
use igvm::file::ImageFile;
use igvm::guest::LinuxSource;
use igvm::hosts::{HOSTS, Host};
use igvm::launch::{DEFAULT_CPU_SIGNATURE, LaunchPlan};
use igvm::layout::RegionOptions;
use igvm::measure::{Loader, measure};
use igvm::show::{hex, to_json, to_text};
use igvm::sign::{Identity, SignOptions, sign};
use igvm::vcpus::for_vcpus;
use serde_json::json;
use snp_abi::policy::GuestPolicy;

const EXAMPLES: &str = "\
Examples:
  igvm-image build --stage2 stage2.elf --kernel kernel.elf --output vouchsafe.igvm
  igvm-image build --stage2 stage2.elf --kernel kernel.elf --guest-elf payload.elf --output test.igvm
  igvm-image build --stage2 stage2.elf --kernel kernel.elf --linux bzImage --initrd initrd.img \\
             --append 'console=ttyS0' --output linux.igvm
  igvm-image build --stage2 stage2.elf --kernel kernel.elf --guest-firmware OVMF.amdsev.fd --output ovmf.igvm
  igvm-image show vouchsafe.igvm
  igvm-image vcpus vouchsafe.igvm 4 --output vouchsafe-4.igvm
  igvm-image measure vouchsafe-4.igvm
  igvm-image check vouchsafe.igvm --host qemu-10.2
  igvm-image sign vouchsafe.igvm --id-key id.pem --guest-svn 3 --output signed.igvm

Exit status: 0 done, 1 bad input, 2 wrong usage.";

#[derive(Parser)]
#[command(name = "igvm-image", version, about = "Builds, shows, checks, measures and signs IGVM images", after_help = EXAMPLES)]
struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Build an image from stage2, kernel and guest
    Build(Box<BuildArguments>),
    /// Describe an image: platform, policy, memory, parameters, registers, ID block
    Show {
        /// The image
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say whether a host launches an image, and what to do where it does not; status 1 where it does not
    Check {
        /// The image
        file: PathBuf,
        /// The host
        #[arg(long, value_parser = host)]
        host: &'static Host,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the launch digest that a loader will produce, alone on stdout
    Measure {
        /// The image
        file: PathBuf,
        /// Who loads it; by default qemu, or direct for an image whose VMSA lies in guest memory
        #[arg(long, value_enum)]
        loader: Option<Loader>,
        /// Print JSON with more detail
        #[arg(long)]
        json: bool,
        /// Measure an image for a machine with more vCPUs than it has registers for: they start in the reset state, at VMPL0
        #[arg(long, requires = "vcpus")]
        reset_vcpus: bool,
        #[command(flatten)]
        machine: Machine,
    },
    /// Make the same image for another number of vCPUs
    Vcpus {
        /// The image
        file: PathBuf,
        /// vCPUs of the machine; 0 for any number, which is safe only on a host that launches the registers of the file and no others
        count: u16,
        /// Where to write the image; the input is replaced if not given
        #[arg(long)]
        output: Option<PathBuf>,
    },
    /// Add an ID block signed with P-384 keys
    Sign {
        /// The image
        file: PathBuf,
        /// Where to write the signed image; the input is replaced if not given
        #[arg(long)]
        output: Option<PathBuf>,
        #[command(flatten)]
        keys: Keys,
        #[command(flatten)]
        identity: IdentityArguments,
        #[command(flatten)]
        machine: Machine,
    },
}

#[derive(Args)]
struct BuildArguments {
    /// stage2's ELF file
    #[arg(long)]
    stage2: PathBuf,
    /// The kernel's ELF file
    #[arg(long)]
    kernel: PathBuf,
    /// Where to write the image
    #[arg(long, short)]
    output: PathBuf,
    /// A bare-metal guest's ELF file
    #[arg(long)]
    guest_elf: Option<PathBuf>,
    /// UEFI firmware with SEV metadata (OVMF.fd); with --linux its kernel hashes are measured too
    #[arg(long, conflicts_with_all = ["guest_elf", "embed"])]
    guest_firmware: Option<PathBuf>,
    /// A Linux kernel (bzImage) that the host supplies over fw_cfg as opt/org.vouchsafe/kernel
    #[arg(long, conflicts_with = "guest_elf")]
    linux: Option<PathBuf>,
    /// Its initial RAM disk, opt/org.vouchsafe/initrd
    #[arg(long, requires = "linux")]
    initrd: Option<PathBuf>,
    /// Its command line, opt/org.vouchsafe/cmdline
    #[arg(long, requires = "linux", default_value = "")]
    append: String,
    /// Carry kernel, initrd and command line in the image, so that the host supplies nothing
    #[arg(long, requires = "linux")]
    embed: bool,
    /// First address of the paravisor's region
    #[arg(long, value_parser = number, default_value_t = DEFAULT_REGION_BASE)]
    region_base: u64,
    /// Bytes of the paravisor's region
    #[arg(long, value_parser = number, default_value_t = DEFAULT_REGION_SIZE)]
    region_size: u64,
    /// Guest policy
    #[arg(long, value_parser = number, default_value_t = GuestPolicy::DEFAULT.0)]
    policy: u64,
    /// Leave out the MADT parameter, which QEMU before 11 does not know
    #[arg(long)]
    no_madt: bool,
    /// How much the paravisor logs
    #[arg(long, value_enum, default_value_t = LogLevel::Info)]
    log_level: LogLevel,
    /// Sign the image with this ID key (PEM) at once
    #[arg(long)]
    id_key: Option<PathBuf>,
    /// Author key (PEM) that vouches for the ID key
    #[arg(long, requires = "id_key")]
    author_key: Option<PathBuf>,
    #[command(flatten)]
    identity: IdentityArguments,
    #[command(flatten)]
    machine: Machine,
}

#[derive(Args)]
struct Keys {
    /// ID key: a P-384 private key, PEM
    #[arg(long)]
    id_key: PathBuf,
    /// Author key that vouches for the ID key: a P-384 private key, PEM
    #[arg(long)]
    author_key: Option<PathBuf>,
}

#[derive(Args)]
struct IdentityArguments {
    /// Security version number for the ID block
    #[arg(long)]
    guest_svn: Option<u32>,
    /// Family id for the ID block, up to 32 hex digits
    #[arg(long, value_parser = identifier)]
    family_id: Option<[u8; 16]>,
    /// Image id for the ID block, up to 32 hex digits
    #[arg(long, value_parser = identifier)]
    image_id: Option<[u8; 16]>,
}

#[derive(Args)]
struct Machine {
    /// vCPUs of the machine: KVM launches and measures registers for each, which the image brings along. An image is for one number of
    /// vCPUs: 1 where one is built without this, and what the image is for elsewhere
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4096))]
    vcpus: Option<u16>,
    /// CPUID leaf 1 EAX of its processors; matters only with --reset-vcpus
    #[arg(long, value_parser = signature, default_value_t = DEFAULT_CPU_SIGNATURE)]
    cpu_signature: u32,
}

#[derive(Clone, Copy, clap::ValueEnum)]
#[repr(u32)]
enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl IdentityArguments {
    fn is_empty(&self) -> bool {
        self.guest_svn.is_none() && self.family_id.is_none() && self.image_id.is_none()
    }

    /// `None` if nothing was given: an ID block that is there then keeps its identity.
    fn identity(&self) -> Option<Identity> {
        let identity = Identity {
            guest_svn: self.guest_svn.unwrap_or_default(),
            family_id: self.family_id.unwrap_or_default(),
            image_id: self.image_id.unwrap_or_default(),
        };
        (!self.is_empty()).then_some(identity)
    }
}

fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|error| error.to_string())
}

fn signature(text: &str) -> Result<u32, String> {
    number(text).and_then(|value| u32::try_from(value).map_err(|error| error.to_string()))
}

fn host(text: &str) -> Result<&'static Host, String> {
    let names = || HOSTS.iter().map(|host| host.name).collect::<Vec<_>>().join(", ");
    Host::from_name(text).ok_or_else(|| format!("there are {}", names()))
}

fn identifier(text: &str) -> Result<[u8; 16], String> {
    let digits = text.as_bytes();
    if digits.len() > 32 || !digits.len().is_multiple_of(2) {
        return Err("expected an even number of hex digits, at most 32".to_owned());
    }
    let mut identifier = [0; 16];
    for (byte, pair) in identifier.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|error| error.to_string())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|error| error.to_string())?;
    }
    Ok(identifier)
}

fn main() -> ExitCode {
    let command = Command::parse();
    if let Action::Build(arguments) = &command.action
        && arguments.id_key.is_none()
        && !arguments.identity.is_empty()
    {
        eprintln!(
            "igvm-image: --guest-svn, --family-id and --image-id are part of the ID block: add --id-key"
        );
        return ExitCode::from(2);
    }
    match run(&command.action) {
        Ok(()) => ExitCode::SUCCESS,
        // The table has been printed.
        Err(message) if message.is_empty() => ExitCode::from(1),
        Err(message) => {
            eprintln!("igvm-image: {message}");
            ExitCode::from(1)
        }
    }
}

fn run(action: &Action) -> Result<(), String> {
    match action {
        Action::Build(arguments) => build_image(arguments),
        Action::Show { file, json } => show_image(file, *json),
        Action::Check { file, host, json } => check_image(file, host, *json),
        Action::Measure { file, loader, json, reset_vcpus, machine } => match loader_of(file, *loader)? {
            Loader::Qemu => measure_image(file, *json, *reset_vcpus, machine),
            loader => measure_for(file, loader, *json, machine),
        },
        Action::Vcpus { file, count, output } => {
            let image = for_vcpus(&read(file)?, *count).map_err(|error| in_file(file, error))?;
            write(output.as_ref().unwrap_or(file), &image)
        }
        Action::Sign { file, output, keys, identity, machine } => {
            let bytes = read(file)?;
            let signed = sign_image(&bytes, file, keys, identity, machine)?;
            write(output.as_ref().unwrap_or(file), &signed)
        }
    }
}

fn build_image(arguments: &BuildArguments) -> Result<(), String> {
    let (stage2, kernel) = (read(&arguments.stage2)?, read(&arguments.kernel)?);
    let elf = arguments.guest_elf.as_deref().map(read).transpose()?;
    let linux = arguments.linux.as_deref().map(read).transpose()?;
    let initrd = arguments.initrd.as_deref().map(read).transpose()?.unwrap_or_default();
    let firmware = arguments.guest_firmware.as_deref().map(read).transpose()?;
    let linux = linux.as_ref().map(|kernel| LinuxSource {
        kernel,
        initrd: &initrd,
        command_line: &arguments.append,
        embed: arguments.embed,
    });
    let guest = match (&elf, &firmware, linux) {
        (Some(elf), ..) => GuestSource::Elf(elf),
        (None, Some(firmware), linux) => GuestSource::Firmware(firmware, linux),
        (None, None, Some(linux)) => GuestSource::Linux(linux),
        (None, None, None) => GuestSource::None,
    };
    let options = BuildOptions {
        stage2: &stage2,
        kernel: &kernel,
        guest,
        region: RegionOptions {
            base: arguments.region_base,
            size: arguments.region_size,
            with_madt: !arguments.no_madt,
            log_level: arguments.log_level as u32,
        },
        policy: GuestPolicy(arguments.policy),
    };
    let mut image = build(&options).map_err(|error| error.to_string())?;
    if let Some(count) = arguments.machine.vcpus {
        image = for_vcpus(&image, count).map_err(|error| error.to_string())?;
    }
    if let Some(id_key) = &arguments.id_key {
        let keys = Keys { id_key: id_key.clone(), author_key: arguments.author_key.clone() };
        image = sign_image(&image, &arguments.output, &keys, &arguments.identity, &arguments.machine)?;
    }
    write(&arguments.output, &image)
}

fn show_image(path: &Path, json: bool) -> Result<(), String> {
    let bytes = read(path)?;
    let file = ImageFile::parse(&bytes).map_err(|error| in_file(path, error))?;
    if json {
        println!("{:#}", to_json(&file));
    } else {
        print!("{}", to_text(&file));
    }
    Ok(())
}

/// Prints the table; an error without a message where the host refuses the image.
fn check_image(path: &Path, host: &Host, json: bool) -> Result<(), String> {
    let bytes = read(path)?;
    let file = ImageFile::parse(&bytes).map_err(|error| in_file(path, error))?;
    let findings = check::check(&file, host);
    if json {
        println!("{:#}", check::to_json(host, &findings));
    } else {
        print!("{}", check::to_text(host, &findings));
    }
    if check::sum(&findings) == Verdict::Refused { Err(String::new()) } else { Ok(()) }
}

/// The loader that was asked for, or the one that the image is for.
fn loader_of(path: &Path, asked: Option<Loader>) -> Result<Loader, String> {
    let bytes = read(path)?;
    let file = ImageFile::parse(&bytes).map_err(|error| in_file(path, error))?;
    match (asked, Loader::of_file(&file)) {
        (Some(Loader::Qemu), Loader::Direct) => {
            Err(in_file(path, "its VMSA lies in guest memory, where only --loader direct launches it"))
        }
        (asked, of_file) => Ok(asked.unwrap_or(of_file)),
    }
}

/// The digest that another loader than QEMU produces.
fn measure_for(path: &Path, loader: Loader, json: bool, machine: &Machine) -> Result<(), String> {
    let bytes = read(path)?;
    let file = ImageFile::parse(&bytes).map_err(|error| in_file(path, error))?;
    let measurement = measure(&file, loader, machine.vcpus.unwrap_or(1), machine.cpu_signature)
        .map_err(|error| in_file(path, error))?;
    let digest = hex(&measurement.digest);
    if json {
        println!(
            "{:#}",
            json!({
                "launch_digest": digest,
                "launched_pages": measurement.pages,
                "content_measured_pages": measurement.content_measured,
                "launched_vmsas": measurement.vmsas,
                "image_bytes": bytes.len(),
            })
        );
    } else {
        println!("{digest}");
    }
    Ok(())
}

fn measure_image(path: &Path, json: bool, reset_vcpus: bool, machine: &Machine) -> Result<(), String> {
    let bytes = read(path)?;
    let file = ImageFile::parse(&bytes).map_err(|error| in_file(path, error))?;
    let plan = LaunchPlan::on_any_host(&file).map_err(|error| in_file(path, error))?;
    for warning in &plan.warnings {
        eprintln!("igvm-image: {}: warning: {warning}", path.display());
    }
    let digest = match machine.vcpus {
        Some(vcpus) if reset_vcpus && vcpus > plan.vcpus() => plan.digest(vcpus, machine.cpu_signature),
        vcpus => plan.digest_for(vcpus, machine.cpu_signature).map_err(|error| in_file(path, error))?,
    };
    let digest = hex(&digest);
    if json {
        let measured = plan.pages.iter().filter(|page| page.page_type.is_content_measured()).count();
        println!(
            "{:#}",
            json!({
                "launch_digest": digest,
                "vcpus": machine.vcpus.unwrap_or(plan.vcpus()),
                "cpu_signature": format!("{:#x}", machine.cpu_signature),
                "policy": format!("{:#x}", plan.policy.0),
                "launched_pages": plan.pages.len(),
                "content_measured_pages": measured,
                "image_bytes": bytes.len(),
                "warnings": plan.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        );
    } else {
        println!("{digest}");
    }
    Ok(())
}

fn sign_image(
    bytes: &[u8],
    path: &Path,
    keys: &Keys,
    identity: &IdentityArguments,
    machine: &Machine,
) -> Result<Vec<u8>, String> {
    let id_key = read_text(&keys.id_key)?;
    let author_key = keys.author_key.as_deref().map(read_text).transpose()?;
    let options = SignOptions {
        identity: identity.identity(),
        vcpus: machine.vcpus,
        cpu_signature: machine.cpu_signature,
        id_key: &id_key,
        author_key: author_key.as_deref(),
    };
    sign(bytes, &options).map_err(|error| in_file(path, error))
}

fn in_file(path: &Path, error: impl std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

fn read(path: impl AsRef<Path>) -> Result<Vec<u8>, String> {
    std::fs::read(&path).map_err(|error| in_file(path.as_ref(), error))
}

fn read_text(path: impl AsRef<Path>) -> Result<String, String> {
    std::fs::read_to_string(&path).map_err(|error| in_file(path.as_ref(), error))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    std::fs::write(path, bytes).map_err(|error| in_file(path, error))
}
