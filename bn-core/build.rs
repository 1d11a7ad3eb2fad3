//! Chooses the file of `src/arch/` that the target gets. Reads the environment only.
//!
//! `BN_LENET_ARCH=portable` or `BN_LENET_ARCH=cortex_m_dsp` forces one; what the target cannot run fails the build. Stable
//! Rust does not say whether a thumb target has the DSP extension, so that follows from the target's name: every
//! `thumbv7em` has it, a `thumbv8m.main` has it when `-C target-feature=+dsp` says so.

use std::env;
use std::process::exit;

const VARIABLE: &str = "BN_LENET_ARCH";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    println!("cargo::rustc-check-cfg=cfg(bn_lenet_arch, values(\"portable\", \"cortex_m_dsp\"))");
    let target = env::var("TARGET").unwrap_or_default();
    let dsp = has_dsp(&target);
    let chosen = match env::var(VARIABLE).as_deref() {
        Err(_) if dsp => "cortex_m_dsp",
        Err(_) | Ok("portable") => "portable",
        Ok("cortex_m_dsp") if dsp => "cortex_m_dsp",
        Ok("cortex_m_dsp") => fail(&format!(
            "{VARIABLE}=cortex_m_dsp, but {target} has no DSP extension; unset it, or build for thumbv7em-none-eabihf or, \
             with -C target-feature=+dsp, thumbv8m.main-none-eabihf"
        )),
        Ok(other) => fail(&format!("{VARIABLE}={other} is unknown; it is portable or cortex_m_dsp")),
    };
    println!("cargo::rustc-cfg=bn_lenet_arch=\"{chosen}\"");
}

fn has_dsp(target: &str) -> bool {
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    target.starts_with("thumbv7em") || (target.starts_with("thumbv8m.main") && flags.contains("+dsp"))
}

/// Cargo shows this as one line, `error: bn-core: MESSAGE`.
fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    exit(1)
}
