//! Checks of devices: each moves bytes through memory that the guest shares with the machine.

use crate::checks::{Result, read};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::time::Duration;

const DISK: &str = "/dev/vda";
const ECHO_BYTES: usize = 64 << 10;
const ECHO_TIME: Duration = Duration::from_secs(20);

/// The driver for guest messages found its keys and has made its device.
pub fn sev_guest() -> Result {
    let kind = fs::metadata("/dev/sev-guest").map_err(|error| format!("/dev/sev-guest: {error}"))?;
    Ok(format!("/dev/sev-guest {:?}", std::os::unix::fs::FileTypeExt::is_char_device(&kind.file_type())))
}

fn explain(what: &'static str) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{what}: {error}")
}

/// Copies the first half of the disk to the second and reads it back from the device. What the first half holds is
/// known to the program outside, which compares both.
pub fn disk() -> Result {
    let mut disk = OpenOptions::new().read(true).write(true).open(DISK).map_err(explain(DISK))?;
    let half = (disk.seek(SeekFrom::End(0)).map_err(explain("size"))? / 2) as usize;
    let first = read_at(&mut disk, 0, half)?;
    if first.iter().all(|byte| *byte == 0) {
        return Err("the disk is empty".to_owned());
    }
    disk.seek(SeekFrom::Start(half as u64)).map_err(explain("seek"))?;
    disk.write_all(&first).map_err(explain("write"))?;
    disk.sync_all().map_err(explain("sync"))?;
    // Clean pages of the device are forgotten, so that the bytes come from the device again.
    fs::write("/proc/sys/vm/drop_caches", "3").map_err(explain("drop_caches"))?;
    let second = read_at(&mut disk, half, half)?;
    if first == second { Ok(format!("{half} bytes")) } else { Err("what was read back differs".to_owned()) }
}

fn read_at(disk: &mut File, start: usize, length: usize) -> std::result::Result<Vec<u8>, String> {
    let mut bytes = vec![0; length];
    disk.seek(SeekFrom::Start(start as u64)).map_err(explain("seek"))?;
    disk.read_exact(&mut bytes).map_err(explain("read"))?;
    Ok(bytes)
}

/// The kernel takes random numbers from the machine's device.
pub fn random() -> Result {
    let name = read("/sys/class/misc/hw_random/rng_current")?;
    if !name.starts_with("virtio_rng") {
        return Err(format!("the kernel uses '{name}'"));
    }
    let mut bytes = [0; 64];
    let mut file = File::open("/dev/hwrng").map_err(explain("/dev/hwrng"))?;
    file.read_exact(&mut bytes).map_err(explain("/dev/hwrng"))?;
    if bytes[..32] == bytes[32..] { Err("it repeats itself".to_owned()) } else { Ok(name) }
}

/// Sends bytes to a server that sends them back.
pub fn network(server: &str) -> Result {
    let interface = fs::read_dir("/sys/class/net")
        .map_err(explain("/sys/class/net"))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .find(|name| name != "lo")
        .ok_or("there is no network interface")?;
    let configure = ["ifconfig", &interface, "10.0.2.15", "netmask", "255.255.255.0", "up"];
    let status = Command::new("/bin/busybox").args(configure).status().map_err(explain("ifconfig"))?;
    if !status.success() {
        return Err(format!("ifconfig: {status}"));
    }
    let mut stream = TcpStream::connect(server).map_err(explain("connect"))?;
    stream.set_read_timeout(Some(ECHO_TIME)).map_err(explain("timeout"))?;
    let sent: Vec<u8> = (0..ECHO_BYTES).map(|number| (number * 7 / 3) as u8).collect();
    let mut writer = stream.try_clone().map_err(explain("socket"))?;
    let received = std::thread::scope(|scope| {
        scope.spawn(|| writer.write_all(&sent).and_then(|()| writer.shutdown(Shutdown::Write)));
        let mut received = vec![0; ECHO_BYTES];
        stream.read_exact(&mut received).map(|()| received)
    });
    let received = received.map_err(explain("echo"))?;
    if received == sent {
        Ok(format!("{interface}, {ECHO_BYTES} bytes"))
    } else {
        Err("the echo differs".to_owned())
    }
}
