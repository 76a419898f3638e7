//! A command before it is a TPM's: what the two TPMs made themselves, such as handles and private areas, is named in it,
//! and filled in for each.

/// A part of a command.
#[derive(Clone, Debug)]
pub enum Piece {
    /// The same bytes for both.
    Bytes(Vec<u8>),
    /// What each TPM answered earlier.
    Slot(usize),
}

impl Piece {
    /// A handle, or another number of four bytes.
    pub fn u32(number: u32) -> Self {
        Self::Bytes(number.to_be_bytes().to_vec())
    }
}

/// One authorization of a command.
#[derive(Clone, Debug)]
pub struct Authorization {
    /// TPM_RS_PW, or a session.
    pub session: Piece,
    /// The session's attributes.
    pub attributes: u8,
    /// The password, or what stands in the place of an HMAC.
    pub hmac: Vec<u8>,
}

/// A whole command.
#[derive(Clone, Debug)]
pub struct Draft {
    /// TPM_CC.
    pub code: u32,
    /// The handle area.
    pub handles: Vec<Piece>,
    /// The authorization area; none means TPM_ST_NO_SESSIONS.
    pub authorizations: Vec<Authorization>,
    /// The parameter area.
    pub parameters: Vec<Piece>,
}

/// Where the parameters of a response begin: after the header, and the handle where there is one.
pub const HEADER_BYTES: usize = 10;

/// TPM_ST_NO_SESSIONS and TPM_ST_SESSIONS.
const NO_SESSIONS: u16 = 0x8001;
/// See [`NO_SESSIONS`].
pub const SESSIONS: u16 = 0x8002;

impl Draft {
    /// The command for the TPM whose earlier answers these are.
    pub fn fill(&self, slots: &[Vec<u8>]) -> Vec<u8> {
        let tag = if self.authorizations.is_empty() { NO_SESSIONS } else { SESSIONS };
        let mut command = tag.to_be_bytes().to_vec();
        command.extend([0; 4]);
        command.extend(self.code.to_be_bytes());
        self.handles.iter().for_each(|piece| put(&mut command, piece, slots));
        if !self.authorizations.is_empty() {
            let mut area = Vec::new();
            for authorization in &self.authorizations {
                put(&mut area, &authorization.session, slots);
                area.extend([0, 0, authorization.attributes]);
                area.extend(sized(&authorization.hmac));
            }
            command.extend((area.len() as u32).to_be_bytes());
            command.extend(area);
        }
        self.parameters.iter().for_each(|piece| put(&mut command, piece, slots));
        fix_size(&mut command);
        command
    }
}

fn put(bytes: &mut Vec<u8>, piece: &Piece, slots: &[Vec<u8>]) {
    match piece {
        Piece::Bytes(own) => bytes.extend(own),
        Piece::Slot(slot) => bytes.extend(&slots[*slot]),
    }
}

/// Bytes with their size in two bytes before them.
pub fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

/// Writes a command's length into its header.
pub fn fix_size(command: &mut [u8]) {
    let size = (command.len() as u32).to_be_bytes();
    if let Some(field) = command.get_mut(2..6) {
        field.copy_from_slice(&size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tpm_gets_what_it_made_itself() {
        let draft = Draft {
            code: 0x165,
            handles: vec![],
            authorizations: vec![],
            parameters: vec![Piece::Slot(0), Piece::Bytes(vec![7])],
        };
        assert_eq!(draft.fill(&[vec![1]]), [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x65, 1, 7]);
        assert_eq!(draft.fill(&[vec![2]]), [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x65, 2, 7]);
    }

    #[test]
    fn authorizations_are_counted_and_tagged() {
        let password = Authorization { session: Piece::u32(0x4000_0009), attributes: 0, hmac: vec![5] };
        let draft = Draft {
            code: 1,
            handles: vec![Piece::u32(2)],
            authorizations: vec![password],
            parameters: vec![],
        };
        let expected =
            [0x80, 2, 0, 0, 0, 28, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 10, 0x40, 0, 0, 9, 0, 0, 0, 0, 1, 5];
        assert_eq!(draft.fill(&[]), expected);
    }
}
