//! Inference with the vector unit of a desktop, a phone or a browser, chosen at run time (feature `wide`). Not for devices.
//!
//! The same network as [`infer`](crate::infer), its weights laid out once so that every inner loop reads whole vectors.

mod f32;
// Elsewhere nothing multiplies pairs as its loops do, and the portable kernels run.
#[cfg_attr(not(any(target_arch = "x86", target_arch = "x86_64")), allow(dead_code, unused_variables))]
mod lenet;

pub use self::f32::{WideLeNet, WideScratch};
pub use self::lenet::{WideInt8Scratch, WideModel};

/// Every instruction set of this machine, the best one first; for Miri, which takes minutes for an image, that one alone.
#[cfg(test)]
fn each_arch() -> impl Iterator<Item = pulp::Arch> {
    let best = pulp::Arch::new();
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    let second = pulp::x86::V3::try_new().map(pulp::Arch::V3);
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
    let second = None;
    [best, pulp::Arch::Scalar].into_iter().chain(second).take(if cfg!(miri) { 1 } else { usize::MAX })
}
