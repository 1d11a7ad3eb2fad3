//! The engines, each with its tolerances: one line stamps the whole suite onto one of them.

use std::sync::Once;

use host_trainer::data::Split;
use host_trainer::engine::cpu::Cpu;
use host_trainer::engine::cpu::graph::GraphCpu;
use host_trainer::engine::cuda::{Cuda, Level};
use host_trainer::engine::reference::Reference;
use host_trainer::engine::{Engine, initial_parameters};
use host_trainer::model::parameters::{Parameters, Variance};
use host_trainer::network::Network;

use crate::engine_suite::{Tolerances, engine_suite, gradients_are_central_differences};

engine_suite!(reference_f64, |seed, variance| Box::new(Reference::<f64>::new(seed, variance)), Tolerances::F64);
engine_suite!(reference_f32, |seed, variance| Box::new(Reference::<f32>::new(seed, variance)), Tolerances::F32);
// On this machine's best instruction set, and on the plainest.
engine_suite!(cpu, |seed, variance| Box::new(Cpu::new(seed, variance, None)), Tolerances::F32);
engine_suite!(cpu_plain, |seed, variance| Box::new(Cpu::each(seed, variance, None).pop().unwrap()), Tolerances::F32);
// The engine for any network, on LeNet.
engine_suite!(graph_cpu, |seed, variance| Box::new(GraphCpu::of(&lenet(seed, variance), None)), Tolerances::F32);
engine_suite!(
    graph_cpu_plain,
    |seed, variance| Box::new(GraphCpu::each(&lenet(seed, variance), None).pop().unwrap()),
    Tolerances::F32
);
engine_suite!(
    #[ignore = "needs an NVIDIA GPU; `cuda::` runs it on the CPU build of the kernels"]
    cuda_graph,
    |seed, variance| cuda(seed, variance, Level::Graph),
    Tolerances::f32_with_margin()
);
engine_suite!(
    #[ignore = "needs an NVIDIA GPU; `cuda::` runs it on the CPU build of the kernels"]
    cuda_persistent,
    |seed, variance| cuda(seed, variance, Level::Persistent),
    Tolerances::f32_with_margin()
);

fn lenet(seed: u64, variance: Variance) -> Parameters {
    initial_parameters(&Network::lenet(), seed, variance)
}

/// A CUDA engine, beside one that stays: the driver keeps a device ready as long as anybody uses it, and the suite makes many.
fn cuda(seed: u64, variance: Variance, level: Level) -> Box<dyn Engine> {
    static STAYS: Once = Once::new();
    STAYS.call_once(|| std::mem::forget(Cuda::new(0, Variance::Biased, Level::Graph).unwrap()));
    Box::new(Cuda::new(seed, variance, level).unwrap())
}

#[test]
fn reference_f64_gradients_are_central_differences() {
    let variance = Variance::Biased;
    gradients_are_central_differences(&mut Reference::<f64>::new(0, variance));
}

/// Groups and their order are fixed: which thread does what must not show, not even with a last group that is not full.
#[test]
fn cpu_bits_do_not_depend_on_the_number_of_threads() {
    let variance = Variance::Biased;
    let pixel = |i: usize| (i as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3];
    let mut images = vec![[[0; 28]; 28]; 300];
    let pixels = images.as_flattened_mut().as_flattened_mut();
    pixels.iter_mut().enumerate().for_each(|(i, p)| *p = pixel(i));
    let split = Split::of_images(images, (0..300).map(|i| pixel(i) % 10).collect());
    let order: Vec<u32> = (0..300).collect();
    let sets = Cpu::each(7, variance, Some(1)).len();
    for set in 0..sets {
        let run = |threads| {
            let mut engine = Cpu::each(7, variance, Some(threads)).swap_remove(set);
            let totals = [75, 100].map(|batch_size| engine.train(&split, &order, batch_size, 0.5).unwrap());
            (totals, engine.evaluate(&split).unwrap(), engine.parameters())
        };
        let one = run(1);
        for threads in [2, 3, 7] {
            assert!(one == run(threads), "{threads} threads");
        }
    }
}
