//! Times our engine and swtpm through the same raw framing over TCP, in one run on one machine.
//!
//! Each figure is the median of our times over the median of swtpm's. Samples of the two alternate, so that what else
//! the machine does hits both. Both keep their state in files of the same folder, in memory where that is possible.
//!
//! Everything runs on one core: the client, our server's threads and swtpm. A command and its response take turns, so nothing
//! is lost by that. On several cores the scheduler decides for each of the two whether it wakes on the client's core or on one
//! that sleeps; in a virtual machine the latter costs some 50 us, several times what a small command takes, and either of the
//! two could lose a figure by it.

mod cases;
mod client;
mod size;

use client::{Client, Failure};
use rustix::thread::CpuSet;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// What is timed: a name, how many samples, whether it is an RSA private-key operation, and the operation.
struct Case {
    name: &'static str,
    samples: usize,
    is_rsa_private: bool,
    /// Prepares, times, and cleans up; gives the time.
    sample: fn(&mut Client, usize) -> Result<Duration, Failure>,
}

/// What was promised: ratios by the name of the figure. Whatever else is a ratio may be [`MOST`].
const LIMITS: &[(&str, f64)] = &[
    ("tpm_ratio_geometric_mean", 1.0),
    ("tpm_ratio_create_rsa2048", 0.7),
    ("tpm_ratio_create_primary_rsa2048", 0.7),
];
const MOST: f64 = 1.5;

/// The program `tpm_bench`: JSON lines on stdout, medians on stderr. Status 1 where a limit is missed.
pub fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tpm_bench: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether all is within its limits.
fn run() -> Result<bool, Box<dyn std::error::Error>> {
    stay_on_one_core().map_err(|error| format!("cannot stay on one core: {error}"))?;
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
    let mut ours = client::ours(folder.path())?;
    let (_swtpm, mut theirs) = client::swtpm(folder.path())?;
    let mut logarithms = Vec::new();
    let mut is_good = true;
    for case in cases::CASES {
        let ratio = measure(case, &mut ours, &mut theirs)?;
        // RSA private operations are no aim of ours.
        let name = format!("tpm_ratio_{}", case.name);
        is_good &= print(&name, ratio, "ratio", (!case.is_rsa_private).then(|| limit(&name)));
        if !case.is_rsa_private {
            logarithms.push(ratio.ln());
        }
    }
    let mean = (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp();
    is_good &= print("tpm_ratio_geometric_mean", mean, "ratio", Some(limit("tpm_ratio_geometric_mean")));
    print("tpm_state_bytes", size::state_bytes()? as f64, "bytes", None);
    match size::engine_bytes() {
        Ok(bytes) => _ = print("tpm_engine_bytes", bytes as f64, "bytes", None),
        Err(reason) => eprintln!("tpm_bench: no tpm_engine_bytes: {reason}"),
    }
    Ok(is_good)
}

/// Keeps this thread, and every thread and program that it starts, on the core where it runs now.
fn stay_on_one_core() -> std::io::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(rustix::thread::sched_getcpu());
    Ok(rustix::thread::sched_setaffinity(None, &cores)?)
}

fn measure(case: &Case, ours: &mut Client, theirs: &mut Client) -> Result<f64, Failure> {
    let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
    for sample in 0..case.samples {
        our_times.push((case.sample)(ours, sample).map_err(|error| error.of(case.name, "ours"))?);
        their_times.push((case.sample)(theirs, sample).map_err(|error| error.of(case.name, "swtpm"))?);
    }
    let (ours, theirs) = (median(our_times), median(their_times));
    eprintln!("{:28} ours {:>12.1} us, swtpm {:>12.1} us", case.name, micros(ours), micros(theirs));
    Ok(ours.as_secs_f64() / theirs.as_secs_f64().max(f64::MIN_POSITIVE))
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn limit(name: &str) -> f64 {
    LIMITS.iter().find(|(known, _)| *known == name).map_or(MOST, |(_, limit)| *limit)
}

/// Prints a figure; whether it is within its limit.
fn print(name: &str, value: f64, unit: &str, limit: Option<f64>) -> bool {
    println!("{}", serde_json::json!({ "name": name, "value": value, "unit": unit, "limit": limit }));
    let is_good = limit.is_none_or(|limit| value <= limit);
    if !is_good {
        eprintln!("tpm_bench: {name} is above its limit");
    }
    is_good
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_sample_does_not_move_the_median() {
        let times = [3, 900, 1, 2, 4].map(Duration::from_millis);
        assert_eq!(median(times.to_vec()), Duration::from_millis(3));
    }

    #[test]
    fn what_is_started_stays_on_the_core_of_its_starter() {
        let thread = std::thread::spawn(|| {
            stay_on_one_core()?;
            let started = std::thread::spawn(|| rustix::thread::sched_getaffinity(None));
            Ok::<_, std::io::Error>((rustix::thread::sched_getaffinity(None)?, started.join()))
        });
        let (own, started) = thread.join().unwrap().unwrap();
        assert_eq!(own.count(), 1);
        assert_eq!(started.unwrap().unwrap(), own);
    }

    #[test]
    fn every_figure_has_a_name_of_its_own() {
        for case in cases::CASES {
            assert_eq!(
                cases::CASES.iter().filter(|other| other.name == case.name).count(),
                1,
                "{}",
                case.name
            );
            assert!(case.samples % 2 == 1);
        }
    }
}
