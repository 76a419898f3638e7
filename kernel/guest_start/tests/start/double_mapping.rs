//! A host that maps one page of memory at two addresses while the guest is started: the firmware ends with the code of a double
//! mapping, whichever step of the start meets the page.

use crate::guests::{Files, PAGES, elf, launched, prepare};
use crate::vm::{MIB, REGION};
use guest_start::CannotStart;
use model::rmp::State;
use svsm_protocol::Fatal;

/// Starts the guest in a VM in which the RMP says of a page that it was validated, which the ledger knows it was not.
fn start_with_validated(page: u64) -> Result<(), CannotStart> {
    let (vm, stopped) = launched();
    vm.lock().model.rmp.entry_mut(page).unwrap().state.insert(State::ASSIGNED | State::VALIDATED);
    prepare(&vm, &stopped, &elf(), &mut Files::default()).map(|_| ())
}

#[test]
fn a_page_that_was_validated_before_ends_the_start() {
    // A page of the guest's without contents, the boot parameters, the calling area, the last page of the boot area.
    for page in [PAGES + 0x2000, REGION - 13 * 0x1000, REGION - 10 * 0x1000, REGION - 0x1000] {
        let ended = start_with_validated(page);
        assert_eq!(ended, Err(CannotStart::Fatal(Fatal::DoubleMapping)), "{page:#x}");
    }
    assert_eq!(start_with_validated(7 * MIB), Ok(()), "a page that is not needed is not looked at");
}
