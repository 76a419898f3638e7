//! The one TPM that all connections share, and the machine around it: power, locality, physical presence.

use crate::command_log::CommandLog;
use crate::wire::{BUFFER_BYTES, ConnectionError, HEADER_BYTES};
use std::sync::{Mutex, MutexGuard};

/// What the sockets need of a TPM.
pub trait Engine: Send {
    /// `_TPM_Init`: power came back, or reset was released.
    fn power_on(&mut self);
    /// Answers one command; says how many bytes of `response` it filled.
    fn execute(&mut self, locality: u8, command: &[u8], response: &mut [u8]) -> usize;
    /// `_TPM_Hash_Start`.
    fn hash_start(&mut self);
    /// `_TPM_Hash_Data`.
    fn hash_data(&mut self, data: &[u8]);
    /// `_TPM_Hash_End`.
    fn hash_end(&mut self);
    /// Says whether the platform asserts physical presence from now on.
    fn assert_physical_presence(&mut self, asserted: bool);
    /// Says whether the platform's storage has power: without it refuses to make anything durable.
    fn power_storage(&mut self, powered: bool);
    /// Goes into failure mode.
    fn fail(&mut self);
}

/// TPM_RC_INITIALIZE: what a TPM without power would say if it could.
const RC_INITIALIZE: u32 = 0x100;

/// TPM2_Startup(TPM_SU_CLEAR).
const STARTUP_CLEAR: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];

/// A response that is only a header.
pub fn header_only(response_code: u32) -> [u8; HEADER_BYTES] {
    let mut response = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0];
    response[6..].copy_from_slice(&response_code.to_be_bytes());
    response
}

/// An engine and its surroundings.
pub struct Machine<E> {
    engine: E,
    powered: bool,
    /// The locality of raw commands, which carry none; the control channel sets it.
    locality: u8,
    /// TPM_ACCESS's `tpmEstablished`, set by a hash sequence (PC Client PTP 6.5.2.9).
    established: bool,
    /// Whether TPM2_Startup(CLEAR) follows each power-on, as firmware would run it.
    startup: bool,
    log: CommandLog,
}

impl<E: Engine> Machine<E> {
    /// A machine that is switched on.
    pub fn new(engine: E, log: CommandLog, startup: bool) -> Self {
        let mut machine = Self { engine, powered: false, locality: 0, established: false, startup, log };
        machine.power_on();
        machine
    }

    /// Answers one command at a locality; nothing where the machine is switched off.
    pub fn execute_at(&mut self, locality: u8, command: &[u8]) -> Vec<u8> {
        if !self.powered {
            return Vec::new();
        }
        let mut response = vec![0; BUFFER_BYTES];
        let length = self.engine.execute(locality, command, &mut response);
        response.truncate(length);
        self.log.command(locality, command, &response);
        response
    }

    /// Answers one command at the locality that the control channel chose. A machine that is switched off answers
    /// too, since its other side waits for a header.
    pub fn execute(&mut self, command: &[u8]) -> Vec<u8> {
        if self.powered {
            self.execute_at(self.locality, command)
        } else {
            header_only(RC_INITIALIZE).to_vec()
        }
    }

    /// Switches on; a machine that is on stays as it is.
    pub fn power_on(&mut self) {
        if !self.powered {
            self.log.event("power on");
            self.start();
        }
    }

    /// Switches off; what the TPM has not committed is gone.
    pub fn power_off(&mut self) {
        self.powered = false;
    }

    /// Switches off and on.
    pub fn reset(&mut self) {
        self.log.event("reset");
        self.start();
    }

    fn start(&mut self) {
        self.powered = true;
        self.locality = 0;
        self.engine.power_on();
        if self.startup {
            self.execute(&STARTUP_CLEAR);
        }
    }

    /// Sets the locality of raw commands.
    pub fn set_locality(&mut self, locality: u8) {
        self.locality = locality;
    }

    /// Starts a hash sequence of the platform.
    pub fn hash_start(&mut self) {
        if self.powered {
            self.log.event("hash start");
            self.established = true;
            self.engine.hash_start();
        }
    }

    /// Adds to the hash sequence.
    pub fn hash_data(&mut self, data: &[u8]) {
        if self.powered {
            self.log.event(&format!("hash {} bytes", data.len()));
            self.engine.hash_data(data);
        }
    }

    /// Ends the hash sequence: PCR 17 is extended.
    pub fn hash_end(&mut self) {
        if self.powered {
            self.log.event("hash end");
            self.engine.hash_end();
        }
    }

    /// Asserts physical presence, or not.
    pub fn assert_physical_presence(&mut self, asserted: bool) {
        self.engine.assert_physical_presence(asserted);
    }

    /// Gives the storage power, or takes it.
    pub fn power_storage(&mut self, powered: bool) {
        self.engine.power_storage(powered);
    }

    /// Puts the TPM into failure mode.
    pub fn fail(&mut self) {
        self.engine.fail();
    }

    /// Whether a hash sequence ran since the bit was reset.
    pub fn established(&self) -> bool {
        self.established
    }

    /// Resets the bit.
    pub fn reset_established(&mut self) {
        self.established = false;
    }

    /// The engine.
    pub fn engine(&self) -> &E {
        &self.engine
    }
}

/// The machine for the length of one request.
pub fn lock<E>(machine: &Mutex<Machine<E>>) -> Result<MutexGuard<'_, Machine<E>>, ConnectionError> {
    machine.lock().map_err(|_poisoned| ConnectionError::EngineLost)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An engine that notes what it is asked and answers each command with itself.
    #[derive(Default)]
    pub struct Echo {
        /// What happened, in order.
        pub events: Vec<String>,
    }

    impl Engine for Echo {
        fn power_on(&mut self) {
            self.events.push("power on".to_owned());
        }
        fn execute(&mut self, locality: u8, command: &[u8], response: &mut [u8]) -> usize {
            self.events.push(format!("{locality}: {} bytes", command.len()));
            response[..command.len()].copy_from_slice(command);
            command.len()
        }
        fn hash_start(&mut self) {
            self.events.push("hash start".to_owned());
        }
        fn hash_data(&mut self, data: &[u8]) {
            self.events.push(format!("hash {} bytes", data.len()));
        }
        fn hash_end(&mut self) {
            self.events.push("hash end".to_owned());
        }
        fn assert_physical_presence(&mut self, asserted: bool) {
            self.events.push(format!("presence {asserted}"));
        }
        fn power_storage(&mut self, powered: bool) {
            self.events.push(format!("storage {powered}"));
        }
        fn fail(&mut self) {
            self.events.push("failure".to_owned());
        }
    }

    /// A machine around it.
    pub fn echo() -> Mutex<Machine<Echo>> {
        Mutex::new(Machine::new(Echo::default(), CommandLog::silent(), false))
    }

    /// What its engine was asked.
    pub fn events(machine: &Mutex<Machine<Echo>>) -> Vec<String> {
        machine.lock().unwrap().engine().events.clone()
    }

    #[test]
    fn a_machine_that_is_off_executes_nothing() {
        let machine = echo();
        machine.lock().unwrap().power_off();
        assert_eq!(machine.lock().unwrap().execute_at(0, &[1, 2]), []);
        assert_eq!(machine.lock().unwrap().execute(&[1, 2]), [0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0]);
        machine.lock().unwrap().hash_start();
        assert_eq!(events(&machine), ["power on"]);
    }

    #[test]
    fn power_on_of_a_machine_that_is_on_is_no_reset() {
        let machine = echo();
        machine.lock().unwrap().power_on();
        assert_eq!(events(&machine), ["power on"]);
        machine.lock().unwrap().power_off();
        machine.lock().unwrap().power_on();
        assert_eq!(events(&machine), ["power on", "power on"]);
    }

    #[test]
    fn firmware_that_is_asked_for_starts_the_tpm_after_each_power_on() {
        let machine = Mutex::new(Machine::new(Echo::default(), CommandLog::silent(), true));
        machine.lock().unwrap().reset();
        assert_eq!(events(&machine), ["power on", "0: 12 bytes", "power on", "0: 12 bytes"]);
    }

    #[test]
    fn reset_brings_raw_commands_back_to_locality_0() {
        let machine = echo();
        machine.lock().unwrap().set_locality(4);
        machine.lock().unwrap().execute(&[1]);
        machine.lock().unwrap().reset();
        machine.lock().unwrap().execute(&[1]);
        assert_eq!(events(&machine), ["power on", "4: 1 bytes", "power on", "0: 1 bytes"]);
    }
}
