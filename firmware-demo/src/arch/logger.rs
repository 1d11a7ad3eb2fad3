//! defmt's one global logger. The same bytes leave through RTT on a board (`probe-rs run` decodes the channel named
//! `defmt`) and through semihosting's standard output in an emulator. Touches nothing but its own state.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;

use critical_section::RestoreState;
#[cfg(not(place = "emulator"))]
use rtt_target::{ChannelMode, UpChannel, rtt_init};
use semihosting::io::{Stdout, Write as _};

use crate::place::{self, Place};
use crate::protocol::EXIT_PANIC;

/// Bytes collected before the host is called: one call stops an emulated processor for longer than many bytes take.
const BUFFER: usize = 128;
/// Bytes of the ring buffer that a probe empties.
#[cfg(not(place = "emulator"))]
const RTT_BYTES: usize = 1024;

/// Where the encoded frames go.
enum Sink {
    /// [`init`] has not run: frames are dropped.
    Nowhere,
    #[cfg(not(place = "emulator"))]
    Rtt(UpChannel),
    Semihosting(Stdout),
}

/// Collects an encoded frame and sends it off.
struct Output {
    sink: Sink,
    buffer: [u8; BUFFER],
    used: usize,
}

impl Output {
    fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.used == BUFFER {
                self.drain();
            }
            self.buffer[self.used] = byte;
            self.used += 1;
        }
    }

    fn drain(&mut self) {
        let bytes = &self.buffer[..self.used];
        match &mut self.sink {
            Sink::Nowhere => {}
            #[cfg(not(place = "emulator"))]
            Sink::Rtt(channel) => {
                channel.write(bytes);
            }
            // A host that no longer listens must not stop the program.
            Sink::Semihosting(stdout) => drop(stdout.write_all(bytes)),
        }
        self.used = 0;
    }
}

struct State {
    taken: bool,
    restore: RestoreState,
    encoder: defmt::Encoder,
    output: Output,
}

struct Shared(UnsafeCell<State>);

// SAFETY: there is one core, and whoever touches the state holds a critical section.
unsafe impl Sync for Shared {}

static STATE: Shared = Shared(UnsafeCell::new(State {
    taken: false,
    restore: RestoreState::invalid(),
    encoder: defmt::Encoder::new(),
    output: Output { sink: Sink::Nowhere, buffer: [0; BUFFER], used: 0 },
}));

/// Opens the way out. Call once, before the first log line.
pub fn init(place: Place) {
    let sink = match place {
        Place::Emulator => semihosting::io::stdout().map_or(Sink::Nowhere, Sink::Semihosting),
        #[cfg(not(place = "emulator"))]
        Place::Board => {
            // With nobody to empty the buffer a blocking channel would stop the program.
            let mode = if place::debugger_attached() { ChannelMode::BlockIfFull } else { ChannelMode::NoBlockSkip };
            let mut channel = rtt_init! { up: { 0: { size: RTT_BYTES, name: "defmt" } } }.up.0;
            channel.set_mode(mode);
            Sink::Rtt(channel)
        }
        #[cfg(place = "emulator")]
        Place::Board => Sink::Nowhere,
    };
    // SAFETY: inside the critical section nothing else runs, so this is the only reference to the state.
    critical_section::with(|_| unsafe { (*STATE.0.get()).output.sink = sink });
}

#[defmt::global_logger]
struct Logger;

// SAFETY: `acquire` takes a critical section that `release` gives back, so frames cannot interleave; a logger that is taken
// again in between (a panic or fault while logging) ends the program instead.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        // SAFETY: `release` gives it back.
        let restore = unsafe { critical_section::acquire() };
        // SAFETY: inside the critical section, and the reference ends with this function.
        let state = unsafe { &mut *STATE.0.get() };
        if state.taken {
            place::exit(EXIT_PANIC);
        }
        state.taken = true;
        state.restore = restore;
        state.encoder.start_frame(|bytes| state.output.push(bytes));
    }

    unsafe fn flush() {}

    unsafe fn release() {
        // SAFETY: between `acquire` and `release`, so inside the critical section.
        let state = unsafe { &mut *STATE.0.get() };
        state.encoder.end_frame(|bytes| state.output.push(bytes));
        state.output.drain();
        state.taken = false;
        // SAFETY: the value that `acquire` got.
        unsafe { critical_section::release(state.restore) };
    }

    unsafe fn write(bytes: &[u8]) {
        // SAFETY: between `acquire` and `release`, so inside the critical section.
        let state = unsafe { &mut *STATE.0.get() };
        state.encoder.write(bytes, |bytes| state.output.push(bytes));
    }
}
