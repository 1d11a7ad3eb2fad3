//! What every program does first, and what it does when it panics.

use core::panic::PanicInfo;

use cortex_m::Peripherals;

use crate::arch::{fault, logger, watchdog};
use crate::counter::Counter;
use crate::place::{self, Place};
use crate::protocol::{EXIT_FAILED, EXIT_PANIC};

/// Opens the log, arms what catches faults, and starts the counter. `None` as counter: this emulator does not count
/// instructions.
pub fn start() -> (Place, Option<Counter>) {
    let place = Place::here();
    logger::init(place);
    watchdog::start();
    let counter = Peripherals::take().and_then(|mut peripherals| {
        fault::arm(&mut peripherals);
        Counter::new(place, peripherals)
    });
    (place, counter)
}

/// Logs why the program cannot go on, and ends it.
pub fn fail(why: &str) -> ! {
    defmt::error!("{=str}", why);
    place::exit(EXIT_FAILED)
}

/// Logs where the code panicked, and ends with [`EXIT_PANIC`]. Only messages without arguments are shown: the machinery that
/// formats the others would be larger than the inference.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let (file, line) = info.location().map_or(("unknown", 0), |at| (at.file(), at.line()));
    let message = info.message().as_str().unwrap_or("see this line");
    defmt::error!("panicked at {=str}:{=u32}: {=str}", file, line, message);
    place::exit(EXIT_PANIC)
}
