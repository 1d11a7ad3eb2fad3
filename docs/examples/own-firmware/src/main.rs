//! Runs a network on an input and prints what it says.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use semihosting::{println, process};

bn_core::include_model!();

static WEIGHTS: model::Weights = model::WEIGHTS;
static INPUT: model::Input = *include_bytes!("../input.bin");

/// All the memory that an inference takes, in the section that memory.x makes for it.
#[unsafe(link_section = ".ccmram")]
static mut ARENA: model::Arena = model::Arena::new();

#[entry]
fn main() -> ! {
    // SAFETY: `main` runs once, and nobody else names it.
    let arena = unsafe { &mut *(&raw mut ARENA) };
    let model = model::parse(&WEIGHTS.0).expect("weights as they were built");
    let prediction = model::predict(&model, &INPUT, arena);
    let name = model::CLASS_NAMES.get(prediction.class()).unwrap_or(&"without a name");
    println!("class {} ({name})", prediction.class());
    println!("logits {:?}, in units of {}", prediction.logits, model::OUTPUT_SCALE);
    process::exit(0)
}
