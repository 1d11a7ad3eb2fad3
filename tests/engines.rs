//! The engines, each with its tolerances: one line stamps the whole suite onto one of them.

use std::sync::Once;

use host_trainer::data::Split;
use host_trainer::engine::cpu::Cpu;
use host_trainer::engine::cpu::graph::GraphCpu;
use host_trainer::engine::cuda::{Cuda, Level};
use host_trainer::engine::reference::Reference;
use host_trainer::engine::{Engine, Fixed, Optimizer, Steps, initial_parameters};
use host_trainer::model::parameters::{Parameters, Variance};
use host_trainer::network::Network;
use tests::is_bias_before_batch_norm;

use crate::engine_suite::{Tolerances, all, engine_suite, gradients_are_central_differences, noise};

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

/// Whether each tensor is the expected one but for that share of its norm.
fn assert_near<T: AsRef<[f64]>>(what: &str, actual: &[T], expected: &[T], relative: f64) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    for (at, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        let (actual, expected) = (actual.as_ref(), expected.as_ref());
        let distance = actual.iter().zip(expected).map(|(a, e)| (a - e).powi(2)).sum::<f64>().sqrt();
        let norm = expected.iter().map(|e| e.powi(2)).sum::<f64>().sqrt();
        assert!(distance <= relative * norm, "{what}: tensor {at} is off by {:e}", distance / norm);
    }
}

/// The momentum of the statistics, and parameters of BatchNorm that are held, with every optimiser, against the reference in f64.
#[test]
fn batch_norms_own_values_hold_on_every_engine() {
    let (split, lrs, variance) = (noise(22, 64), [0.05; 4], Variance::Biased);
    let start = lenet(1, variance);
    let network = &start.network;
    for (bn_fixed, optimizer) in
        [(Fixed::Gamma, Optimizer::Sgd), (Fixed::Beta, Optimizer::Momentum), (Fixed::Both, Optimizer::Adamw)]
    {
        let steps = Steps { optimizer, bn_momentum: 0.5, bn_fixed, ..Steps::sgd(16, &lrs) };
        let mut exact = Reference::<f64>::new(1, variance);
        exact.train_steps(&split, &all(&split), &steps).unwrap();
        let expected = exact.parameters().tensors;
        let mut engines: Vec<Box<dyn Engine>> = Vec::new();
        engines.extend(Cpu::each(1, variance, None).into_iter().map(|engine| Box::new(engine) as _));
        engines.extend(GraphCpu::each(&start, None).into_iter().map(|engine| Box::new(engine) as _));
        for mut engine in engines {
            engine.train_steps(&split, &all(&split), &steps).unwrap();
            let trained = engine.parameters().tensors;
            for (at, spec) in network.parameters().iter().enumerate() {
                let name = network.tensor_name(spec);
                let stays = [&trained, &expected].map(|tensors| tensors[at] == start.tensors[at]);
                assert!(stays == [bn_fixed.holds(spec.role); 2] || is_bias_before_batch_norm(&name), "{name}");
                if !spec.role.is_trained() {
                    assert_near(&engine.device(16), &[&trained[at]], &[&expected[at]], 1e-3);
                }
            }
        }
    }
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
