//! Takes every capability from the calling thread, and so from all that it starts. Threads have their
//! own capabilities (capabilities(7)); those of the others stay.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

/// Takes them all. Without CAP_SETPCAP the bounding set stays, which gives nothing by itself.
///
/// # Errors
/// Those of the kernel.
pub(super) fn drop_all() -> io::Result<()> {
    // Nor can a program get some by its file's mode or attributes.
    set_no_new_privs(true)?;
    // A program that root starts has those of the bounding set.
    for capability in (0..64).filter_map(|bit| CapabilitySet::from_bits(1 << bit)) {
        if capability_is_in_bounding_set(capability).is_ok_and(|is_in| is_in)
            && remove_capability_from_bounding_set(capability).is_err()
        {
            break;
        }
    }
    // Kernels before 4.3 have none.
    let _ = clear_ambient_capability_set();
    let none = CapabilitySet::empty();
    let sets = CapabilitySets {
        effective: none,
        permitted: none,
        inheritable: none,
    };
    Ok(set_capabilities(None, sets)?)
}
