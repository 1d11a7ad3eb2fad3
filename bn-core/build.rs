//! Chooses the file of `src/arch/` that the target gets. Reads the environment only.
//!
//! Stable Rust does not say whether a thumb target has the DSP extension. Every `thumbv7em` has it and gets its path. On a
//! `thumbv8m.main` chips may leave it out, so there the feature `dsp` says that the chip has it.
//! `--cfg bn_lenet_arch="NAME"` in the target's rustflags forces one of [`ARCHS`]; what the target cannot run fails the build.

use std::env;
use std::process::exit;

/// Each path, and the beginnings of the names of the targets that can run it; those of the first list get it unasked.
const ARCHS: [(&str, &[&str], &[&str]); 4] = [
    ("cortex_m_dsp", &["thumbv7em-"], &["thumbv8m.main-"]),
    ("armv7m", &["thumbv7m-", "thumbv8m.main-"], &["thumbv7em-"]),
    ("armv6m", &["thumbv6m-"], &["thumbv7m-", "thumbv7em-", "thumbv8m."]),
    ("portable", &[""], &[]),
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let names = ARCHS.map(|(name, ..)| format!("\"{name}\"")).join(", ");
    println!("cargo::rustc-check-cfg=cfg(bn_lenet_arch, values({names}))");
    println!("cargo::rustc-check-cfg=cfg(bn_lenet_armv8m)");
    let target = env::var("TARGET").unwrap_or_default();
    if target.starts_with("thumbv8m.main") {
        println!("cargo::rustc-cfg=bn_lenet_armv8m");
    }
    let begins = |names: &[&str]| names.iter().any(|name| target.starts_with(name));
    match forced() {
        None => {
            let has_dsp = target.starts_with("thumbv8m.main-") && env::var_os("CARGO_FEATURE_DSP").is_some();
            let chosen =
                |&&(name, unasked, _): &&(&str, &[&str], _)| (has_dsp && name == ARCHS[0].0) || begins(unasked);
            if let Some((name, ..)) = ARCHS.iter().find(chosen) {
                println!("cargo::rustc-cfg=bn_lenet_arch=\"{name}\"");
            }
        }
        Some(name) => match ARCHS.iter().find(|arch| arch.0 == name) {
            Some((_, unasked, asked)) if begins(unasked) || begins(asked) => {}
            Some((_, unasked, asked)) => {
                let able = [*unasked, *asked].concat().join("*, ");
                fail(&format!("bn_lenet_arch is {name}, which {target} cannot run; leave it out, or build for {able}*"))
            }
            None => fail(&format!("bn_lenet_arch is {name}, which is none of {names}")),
        },
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
