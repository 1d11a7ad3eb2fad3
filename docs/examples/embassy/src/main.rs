//! Runs a network in an embassy task, a layer at a time, so that another task has its turn between layers.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU32, Ordering};

use embassy_executor::Spawner;
use embassy_futures::yield_now;
use semihosting::{println, process};
use static_cell::ConstStaticCell;

bn_core::include_model!();

static WEIGHTS: model::Weights = model::WEIGHTS;
static INPUT: model::Input = *include_bytes!("../input.bin");
/// All the memory that an inference takes.
static ARENA: ConstStaticCell<model::Arena> = ConstStaticCell::new(model::Arena::new());
static TICKS: AtomicU32 = AtomicU32::new(0);

#[embassy_executor::task]
async fn tick() {
    loop {
        TICKS.fetch_add(1, Ordering::Relaxed);
        yield_now().await;
    }
}

#[embassy_executor::task]
async fn classify(model: model::Model<'static>, arena: &'static mut model::Arena) {
    let mut run = model::start(&model, &INPUT, arena);
    let prediction = loop {
        match run.step() {
            Some(prediction) => break prediction,
            None => yield_now().await,
        }
    };
    println!("class {}, {} ticks meanwhile", prediction.class(), TICKS.load(Ordering::Relaxed));
    println!("logits {:?}, in units of {}", prediction.logits, model::OUTPUT_SCALE);
    process::exit(0)
}

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    let model = model::parse(&WEIGHTS.0).expect("weights as they were built");
    spawner.spawn(tick().expect("one of it"));
    spawner.spawn(classify(model, ARENA.take()).expect("one of it"));
}
