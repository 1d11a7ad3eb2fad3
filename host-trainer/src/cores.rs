//! How many threads are worth starting. Asks the system, touches nothing.

use std::num::NonZero;

/// Cores that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}
