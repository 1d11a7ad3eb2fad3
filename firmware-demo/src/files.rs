//! The two files that a program streams to and from an emulator's host: images in, results out. What the host refuses ends the
//! program with a reason. Touches these files alone, through semihosting.

use core::ffi::CStr;

use semihosting::fs::File;
use semihosting::io::{Read as _, Write as _};

use crate::place::Place;
use crate::protocol::OUTPUTS;
use crate::{device, stream};

/// Longest file name, with its terminating zero.
const NAME: usize = 64;

/// Ends the program where there is no host to stream from, or nothing that counts.
pub fn require_emulator(place: Place, counts: bool) {
    if place == Place::Board {
        device::fail("this program streams images from an emulator's host; flash demo on a board");
    }
    if !counts {
        device::fail("instructions cannot be counted; start QEMU with -icount shift=6");
    }
}

/// The files that the command line names: images, results.
pub fn open() -> (File, File) {
    let Ok(arguments) = semihosting::experimental::env::args::<256>() else {
        device::fail("the command line is longer than 255 bytes");
    };
    // The program's own name comes first.
    let mut names = (&arguments).skip(1);
    let (Some(Ok(from)), Some(Ok(to))) = (names.next(), names.next()) else {
        device::fail("two arguments are needed: the file of images and the file of results");
    };
    let (mut buffer, mut buffer2) = ([0; NAME], [0; NAME]);
    let Ok(images) = File::open(name(from, &mut buffer)) else { device::fail("cannot open the file of images") };
    let Ok(results) = File::create(name(to, &mut buffer2)) else {
        device::fail("cannot create the file of results");
    };
    (images, results)
}

/// What to do with the images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Go through them so many times and write a record of each.
    Records(u32),
    /// Write what each step gives.
    Outputs,
}

/// The task that the third argument names; to go through the images once if there is none.
pub fn task() -> Task {
    let Ok(arguments) = semihosting::experimental::env::args::<256>() else {
        device::fail("the command line is longer than 255 bytes");
    };
    let named = |text: &str| if text == OUTPUTS { Some(Task::Outputs) } else { text.parse().ok().map(Task::Records) };
    match (&arguments).nth(3).map(|text| text.ok().and_then(named)) {
        None => Task::Records(1),
        Some(Some(task)) => task,
        Some(None) => device::fail("the third argument is no number of rounds"),
    }
}

/// The name with the zero that the host wants at its end.
fn name<'a>(name: &str, buffer: &'a mut [u8; NAME]) -> &'a CStr {
    if name.len() >= NAME {
        device::fail("a file name is longer than 63 bytes");
    }
    buffer[..name.len()].copy_from_slice(name.as_bytes());
    match CStr::from_bytes_until_nul(buffer) {
        Ok(name) => name,
        Err(_) => device::fail("a file name does not end"),
    }
}

/// Fills the buffer with whole images of that size and returns their number: 0 at the end.
pub fn read(from: &mut File, buffer: &mut [u8], size: usize) -> usize {
    match stream::fill(buffer, size, |room| from.read(room)) {
        Ok(images) => images,
        Err(error) => device::fail(error.describe()),
    }
}

/// Writes words, little-endian.
pub fn write_words(to: &mut File, words: &[u32]) {
    let mut bytes = [[0; 4]; 64];
    for part in words.chunks(bytes.len()) {
        bytes.iter_mut().zip(part).for_each(|(bytes, word)| *bytes = word.to_le_bytes());
        write(to, bytes[..part.len()].as_flattened());
    }
}

/// Writes all of it.
pub fn write(to: &mut File, bytes: &[u8]) {
    if to.write_all(bytes).is_err() {
        device::fail("cannot write the file of results");
    }
}
