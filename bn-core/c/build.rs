//! Generates the code of the network that `BN_LENET_LIBRARY` names. Without it the package is empty: `cargo trainer library` sets it.
//! `BN_LENET_LIBRARY_NAME` is what names of the library begin with, behind `bn_`.

use std::env;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(bn_library)");
    println!("cargo::rerun-if-env-changed=BN_LENET_LIBRARY");
    if let Some(weights) = env::var_os("BN_LENET_LIBRARY") {
        println!("cargo::rustc-cfg=bn_library");
        bn_core::build::model(weights);
    }
}
