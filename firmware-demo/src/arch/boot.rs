//! What the boot ROM of some boards wants to find in flash before it starts a program. Constants at places that the memory
//! maps name; nothing here runs on the processor as part of this program but the Pico's boot loader.
#![allow(unsafe_code)]

/// The RP2040's second stage: sets up the flash chip of a Pico (W25Q080) so that code can run from it.
#[cfg(feature = "pico")]
// SAFETY: the section holds this alone, and its 256 bytes end with the checksum that the boot ROM verifies.
#[unsafe(link_section = ".boot2")]
#[used]
static BOOT2: [u8; 256] = rp2040_boot2::BOOT_LOADER_W25Q080;

/// The RP2350's smallest image definition: a secure Arm program for the RP2350 that begins with its vector table, in a loop
/// of one block. Source: RP2350 datasheet, section 5.9.5, "Minimum viable image metadata".
#[cfg(feature = "pico-2")]
// SAFETY: the section holds this alone, and the program does not read it.
#[unsafe(link_section = ".image_definition")]
#[used]
static IMAGE_DEFINITION: [u32; 5] = [
    0xFFFF_DED3, // a block begins
    0x1021_0142, // item: image type, executable, secure, Arm, RP2350; one word
    0x0000_01FF, // last item; one word stood before it
    0x0000_0000, // the next block: this one
    0xAB12_3579, // the block ends
];
