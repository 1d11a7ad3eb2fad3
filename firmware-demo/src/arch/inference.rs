//! The inference and nothing else: a program that is linked, weighed and walked by the tests, never run. It links exactly
//! if no panic is reachable from its roots, because what a panic ends in does not exist. Touches nothing.
//!
//! `bn_lenet_predict` and the weights are its contents. `--undefined=bn_lenet_parse` among the linker's arguments adds the
//! parser, `--undefined=bn_lenet_can_panic` a function that can panic: with that one it must not link.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![allow(unsafe_code)]

#[cfg(not(target_os = "none"))]
fn main() {
    println!("inference: {}", firmware_demo::HOW_TO_RUN);
}

#[cfg(target_os = "none")]
mod device {
    use core::panic::PanicInfo;

    #[cfg(feature = "small")]
    use bn_core::small::{Arena, Input, WEIGHTS_BYTES, Weights, predict};
    #[cfg(not(feature = "small"))]
    use generated::{Arena, Input, Model, Prediction, WEIGHTS_BYTES, parse, predict};

    #[cfg(feature = "small")]
    type Model<'a> = &'a Weights;
    #[cfg(feature = "small")]
    type Prediction<'a> = bn_core::Prediction<'a, { bn_core::CLASSES }, i32>;

    #[cfg(not(feature = "small"))]
    bn_core::include_model!(generated);

    unsafe extern "C" {
        safe fn a_panic_is_reachable() -> !;
    }

    #[panic_handler]
    fn panic(_: &PanicInfo<'_>) -> ! {
        a_panic_is_reachable()
    }

    #[repr(C, align(4))]
    struct Aligned<T: ?Sized>(T);

    // SAFETY (here and below): no other symbol of the program has this name.
    #[cfg(not(feature = "small"))]
    #[unsafe(no_mangle)]
    static BN_LENET_WEIGHTS: Aligned<[u8; WEIGHTS_BYTES]> = Aligned(generated::WEIGHTS.0);
    #[cfg(feature = "small")]
    #[unsafe(no_mangle)]
    static BN_LENET_WEIGHTS: Aligned<[u8; WEIGHTS_BYTES]> =
        Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/small.bin")));

    #[unsafe(no_mangle)]
    fn bn_lenet_predict<'a>(model: &Model<'_>, input: &Input, arena: &'a mut Arena) -> Prediction<'a> {
        predict(model, input, arena)
    }

    #[unsafe(no_mangle)]
    fn bn_lenet_parse(bytes: &[u8]) -> Option<Model<'_>> {
        #[cfg(feature = "small")]
        let parse = Weights::read;
        parse(bytes).ok()
    }

    #[unsafe(no_mangle)]
    fn bn_lenet_can_panic(scratch: &[u8], index: usize) -> u8 {
        scratch[index]
    }
}
