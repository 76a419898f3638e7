//! What the program that started the guest expects of it, from the kernel's command line.

/// Expectations. What is absent is not checked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `vouchsafe.cpus`: CPUs that must be online.
    pub cpus: Option<usize>,
    /// `vouchsafe.vmpl`: level that the kernel must say it runs at.
    pub vmpl: Option<u8>,
    /// `vouchsafe.stress`: seconds of load on all CPUs.
    pub stress_seconds: Option<u64>,
    /// `vouchsafe.replug`: unplug and replug every CPU but the first.
    pub replug: bool,
    /// `vouchsafe.disk`: the machine has a disk for the test.
    pub disk: bool,
    /// `vouchsafe.net`: address and port of a server that echoes.
    pub echo: Option<String>,
    /// `vouchsafe.rng`: the machine has a virtio-rng.
    pub random: bool,
    /// `vouchsafe.restart`: restart in the end instead of power-off.
    pub restart: bool,
    /// `vouchsafe.shell`: a shell instead of checks.
    pub shell: bool,
    /// `vouchsafe.agent`: do what the program outside asks for, instead of checks.
    pub agent: bool,
}

impl Wanted {
    /// Reads a command line. Words that are not ours belong to the kernel.
    pub fn of_command_line(text: &str) -> Self {
        let mut wanted = Self::default();
        for word in text.split_ascii_whitespace() {
            let Some(option) = word.strip_prefix("vouchsafe.") else { continue };
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            match name {
                "cpus" => wanted.cpus = value.parse().ok(),
                "vmpl" => wanted.vmpl = value.parse().ok(),
                "stress" => wanted.stress_seconds = value.parse().ok(),
                "net" => wanted.echo = Some(value.to_owned()),
                "replug" => wanted.replug = true,
                "disk" => wanted.disk = true,
                "rng" => wanted.random = true,
                "restart" => wanted.restart = true,
                "shell" => wanted.shell = true,
                "agent" => wanted.agent = true,
                _ => crate::say(&format!("unknown option {word}")),
            }
        }
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_from_among_the_kernels_own() {
        let wanted =
            Wanted::of_command_line("console=ttyS0 vouchsafe.cpus=4 quiet vouchsafe.disk vouchsafe.vmpl=2\n");
        let expected = Wanted { cpus: Some(4), vmpl: Some(2), disk: true, ..Wanted::default() };
        assert_eq!(wanted, expected);
    }
}
