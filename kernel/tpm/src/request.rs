//! What a command's handler gets: its handles, its parameters one after the other, and where its answer goes.

use alloc::vec::Vec;

use crate::response_code::ResponseCode;
use crate::state::State;
use crate::structures::handles::Handle;
use crate::structures::limits::HANDLES_IN_A_COMMAND;
use crate::wire::{Marshal, Reader, Result, Unmarshal, put_sized};

/// Carries a command out. Errors are numbered already.
pub type Handler = fn(&mut Request<'_>) -> Result<()>;

/// A command whose handles are loaded and authorized, and whose parameters are decrypted.
pub struct Request<'a> {
    pub state: &'a mut State,
    pub locality: u8,
    handles: [Handle; HANDLES_IN_A_COMMAND],
    parameters: Reader<'a>,
    taken: u32,
    /// The handle area of the response.
    pub response_handle: Option<Handle>,
    /// The response so far: its parameter area grows at the end.
    pub response: &'a mut Vec<u8>,
}

impl<'a> Request<'a> {
    pub const fn new(
        state: &'a mut State,
        locality: u8,
        handles: [Handle; HANDLES_IN_A_COMMAND],
        parameters: &'a [u8],
        response: &'a mut Vec<u8>,
    ) -> Self {
        Self {
            state,
            locality,
            handles,
            parameters: Reader::new(parameters),
            taken: 0,
            response_handle: None,
            response,
        }
    }

    /// The handle at `index`, counted from zero.
    pub fn handle(&self, index: usize) -> Handle {
        self.handles.get(index).copied().unwrap_or(Handle::UNASSIGNED)
    }

    /// The next parameter; an error gets its number.
    pub fn parameter<T: Unmarshal>(&mut self) -> Result<T> {
        self.parameter_with(T::unmarshal)
    }

    /// The next parameter, read by a function of its own; an error gets its number.
    pub fn parameter_with<T>(&mut self, read: impl FnOnce(&mut Reader<'a>) -> Result<T>) -> Result<T> {
        self.taken = self.taken.saturating_add(1);
        read(&mut self.parameters).map_err(|code| code.parameter(self.taken))
    }

    /// Says that the last parameter was taken: TPM_RC_SIZE when bytes are left.
    pub const fn end_of_parameters(&self) -> Result<()> {
        if self.parameters.is_empty() { Ok(()) } else { Err(ResponseCode::SIZE) }
    }

    /// Appends a response parameter.
    pub fn answer(&mut self, parameter: &impl Marshal) {
        parameter.marshal(self.response);
    }

    /// Appends a response parameter that is a TPM2B.
    pub fn answer_sized(&mut self, bytes: &[u8]) {
        put_sized(self.response, bytes);
    }
}
