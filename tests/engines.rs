//! The engines, each with its tolerances: one line stamps the whole suite onto one of them.

use host_trainer::engine::cuda::Cuda;
use host_trainer::engine::reference::Reference;

use crate::engine_suite::{Tolerances, engine_suite, gradients_are_central_differences};

engine_suite!(reference_f64, |seed, variance| Box::new(Reference::<f64>::new(seed, variance)), Tolerances::F64);
engine_suite!(reference_f32, |seed, variance| Box::new(Reference::<f32>::new(seed, variance)), Tolerances::F32);
engine_suite!(
    #[ignore = "needs an NVIDIA GPU; `cuda::` runs it on the CPU build of the kernels"]
    cuda,
    |seed, variance| Box::new(Cuda::new(seed, variance).unwrap()),
    Tolerances::F32
);

#[test]
fn reference_f64_gradients_are_central_differences() {
    let variance = host_trainer::parameters::Variance::Biased;
    gradients_are_central_differences(&mut Reference::<f64>::new(0, variance));
}
