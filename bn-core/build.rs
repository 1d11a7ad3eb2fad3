//! Chooses the file of `src/arch/` that the target gets. Reads the environment only.
//!
//! `--cfg bn_lenet_arch="portable"` or `--cfg bn_lenet_arch="cortex_m_dsp"` in the target's rustflags forces one; what the
//! target cannot run fails the build. Stable Rust does not say whether a thumb target has the DSP extension. Every
//! `thumbv7em` has it and gets it. On a `thumbv8m.main` chips may leave it out, so there it has to be asked for, as this
//! workspace's `.cargo/config.toml` does.

use std::env;
use std::process::exit;

const ARCHS: [&str; 2] = ["portable", "cortex_m_dsp"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(bn_lenet_arch, values(\"portable\", \"cortex_m_dsp\"))");
    println!("cargo::rustc-check-cfg=cfg(bn_lenet_armv8m)");
    let target = env::var("TARGET").unwrap_or_default();
    let (armv7em, armv8m) = (target.starts_with("thumbv7em"), target.starts_with("thumbv8m.main"));
    if armv8m {
        println!("cargo::rustc-cfg=bn_lenet_armv8m");
    }
    match forced().as_deref() {
        None => println!("cargo::rustc-cfg=bn_lenet_arch=\"{}\"", ARCHS[usize::from(armv7em)]),
        Some("portable") => {}
        Some("cortex_m_dsp") if armv7em || armv8m => {}
        Some("cortex_m_dsp") => fail(&format!(
            "bn_lenet_arch is cortex_m_dsp, but {target} has no DSP extension; leave it out, or build for \
             thumbv7em-none-eabihf or thumbv8m.main-none-eabihf"
        )),
        Some(other) => fail(&format!("bn_lenet_arch is {other}, which is none of {}", ARCHS.join(", "))),
    }
}

/// The value of `--cfg bn_lenet_arch=\"...\"` among the compiler's flags.
fn forced() -> Option<String> {
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let mut values = flags.split('\x1f').filter_map(|flag| flag.split_once("bn_lenet_arch=").map(|(_, value)| value));
    values.next_back().map(|value| value.trim_matches('"').to_owned())
}

/// Cargo shows this as one line, `error: bn-core: MESSAGE`.
fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    exit(1)
}
