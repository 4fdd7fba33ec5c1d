//! Single instructions: bounds masks that the compiler cannot remove, and atomics.
//!
//! The verifier tracks the bounds of a register, the compiler those of a value. If the compiler
//! proves a mask redundant, or applies it to a copy, the verifier never sees it.

use core::arch::asm;

/// `value & bits` as one instruction on the register that is used afterwards. `bits + 1` must be a
/// power of two.
#[inline(always)]
pub fn mask(value: u32, bits: u32) -> u32 {
    let mut value = u64::from(value);
    // SAFETY: changes only its operand.
    unsafe {
        asm!(
            "{0} &= {1}",
            inout(reg) value,
            in(reg) u64::from(bits),
            options(pure, nomem, nostack)
        );
        // Let the compiler drop bounds checks that the verifier does not need either.
        core::hint::assert_unchecked(value <= u64::from(bits));
    }
    value as u32
}

/// `value + n` as an instruction that is opaque to the compiler.
#[inline(always)]
pub fn add(value: u32, n: u32) -> u32 {
    let mut value = u64::from(value);
    // SAFETY: changes only its operand.
    unsafe {
        asm!("{0} += {1}", inout(reg) value, in(reg) u64::from(n), options(pure, nomem, nostack));
    }
    value as u32
}

/// Returns the same pointer, with a target unknown to the compiler: a read through it is never
/// folded to the initial value, which the loader replaces.
#[inline(always)]
pub fn opaque<T>(pointer: *const T) -> *const T {
    let mut address = pointer.expose_provenance();
    // SAFETY: moves the register onto itself.
    unsafe { asm!("{0} = {0}", inout(reg) address, options(pure, nomem, nostack)) };
    core::ptr::with_exposed_provenance(address)
}

/// Stores `value` at `at` and returns the previous value, as one atomic instruction.
///
/// # Safety
/// `at` must be valid for reads and writes, and aligned.
#[inline(always)]
pub unsafe fn exchange(at: *mut u64, value: u64) -> u64 {
    let mut value = value;
    // SAFETY: `at` is valid by contract.
    unsafe { asm!("{0} = xchg_64({1} + 0, {0})", inout(reg) value, in(reg) at, options(nostack)) };
    value
}

/// Stores `new` at `at` if `expected` is there, and returns the previous value.
///
/// # Safety
/// `at` must be valid for reads and writes, and aligned.
#[inline(always)]
pub unsafe fn compare_exchange(at: *mut u64, expected: u64, new: u64) -> u64 {
    let mut found = expected;
    // SAFETY: `at` is valid by contract.
    unsafe {
        asm!(
            "r0 = cmpxchg_64({at} + 0, r0, {new})",
            at = in(reg) at,
            new = in(reg) new,
            inout("r0") found,
            options(nostack)
        );
    }
    found
}

/// Adds `n` at `at` and returns the previous value, as one atomic instruction.
///
/// # Safety
/// `at` must be valid for reads and writes, and aligned.
#[inline(always)]
pub unsafe fn fetch_add(at: *mut u64, n: u64) -> u64 {
    let mut value = n;
    // SAFETY: `at` is valid by contract.
    unsafe {
        asm!(
            "{0} = atomic_fetch_add((u64 *)({1} + 0), {0})",
            inout(reg) value,
            in(reg) at,
            options(nostack)
        );
    }
    value
}
