//! Lends the memory of an inference, once: a static, so that the linker sees that it fits. Touches nothing else.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;

use crate::device;
use crate::model::Arena;

struct Lent {
    taken: UnsafeCell<bool>,
    arena: UnsafeCell<Arena>,
}

// SAFETY: there is one core, and who touches the cells holds a critical section, or is the one who was lent the arena.
unsafe impl Sync for Lent {}

static LENT: Lent = Lent { taken: UnsafeCell::new(false), arena: UnsafeCell::new(Arena::new()) };

/// The arena; a second call ends the program.
pub fn arena() -> &'static mut Arena {
    // SAFETY: inside the critical section nothing else runs, so this is the only reference to the cell.
    let taken = critical_section::with(|_| unsafe { core::mem::replace(&mut *LENT.taken.get(), true) });
    if taken {
        device::fail("the memory of an inference is lent already");
    }
    // SAFETY: no second call comes here, so this is the only reference.
    unsafe { &mut *LENT.arena.get() }
}
