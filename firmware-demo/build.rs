//! Bakes the weights and the demo images into the firmware, after bn-core's own parser has accepted them: a bad file fails
//! the build with the reason. On the host there is nothing to bake. Reads the two files, writes to `OUT_DIR`.
//!
//! `BN_LENET_WEIGHTS` and `BN_LENET_IMAGES` name other files than the shipped ones, `BN_LENET_CHIP` another memory map than
//! the STM32F405's: a file of `memory/`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::exit;

use bn_core::format;
use bn_core::lenet::CLASSES;

use protocol::DEMO_IMAGE_BYTES;

#[allow(dead_code, unreachable_pub, reason = "the build needs one constant of it")]
#[path = "src/protocol.rs"]
mod protocol;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // An Armv6-M core lacks the fault registers, the cycle counter, and the RAM for large batches.
    println!("cargo::rustc-check-cfg=cfg(armv6m)");
    if env::var("TARGET").is_ok_and(|target| target.starts_with("thumbv6m")) {
        println!("cargo::rustc-cfg=armv6m");
    }
    println!("cargo::rerun-if-env-changed=BN_LENET_WEIGHTS");
    println!("cargo::rerun-if-env-changed=BN_LENET_IMAGES");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let out = PathBuf::from(variable("OUT_DIR"));
    bake("BN_LENET_WEIGHTS", "assets/weights.bin", &out.join("weights.bin"), check_weights);
    bake("BN_LENET_IMAGES", "assets/garments.bin", &out.join("images.bin"), check_images);
    link(&out);
    // defmt drops everything below errors unless told otherwise, and the log is what the demo is for.
    println!("cargo::rerun-if-env-changed=DEFMT_LOG");
    println!("cargo::rustc-env=DEFMT_LOG={}", env::var("DEFMT_LOG").as_deref().unwrap_or("info"));
}

/// Copies the file that `variable` names, or the shipped one, once `check` has found nothing wrong with it.
fn bake(name: &str, shipped: &str, to: &Path, check: fn(&[u8]) -> Result<(), String>) {
    let from = match env::var_os(name) {
        Some(path) => PathBuf::from(path),
        None => Path::new(&variable("CARGO_MANIFEST_DIR")).join(shipped),
    };
    println!("cargo::rerun-if-changed={}", from.display());
    let bytes = fs::read(&from).unwrap_or_else(|e| fail(&format!("cannot read {}: {e}; set {name}", from.display())));
    if let Err(problem) = check(&bytes) {
        fail(&format!("{}: {problem}", from.display()));
    }
    write(to, &bytes);
}

fn check_weights(bytes: &[u8]) -> Result<(), String> {
    // The parser reads in place, so it wants the bytes aligned as they will be in flash.
    let mut words = vec![0_u32; bytes.len().div_ceil(4)];
    let aligned = &mut bytemuck::cast_slice_mut(&mut words)[..bytes.len()];
    aligned.copy_from_slice(bytes);
    format::parse(aligned).map(|_| ()).map_err(|error| error.to_string())
}

fn check_images(bytes: &[u8]) -> Result<(), String> {
    let (images, rest) = bytes.as_chunks::<DEMO_IMAGE_BYTES>();
    if images.is_empty() || !rest.is_empty() {
        return Err(format!("{} bytes are not one or more images of {DEMO_IMAGE_BYTES} bytes", bytes.len()));
    }
    match images.iter().position(|image| usize::from(image[0]) >= CLASSES) {
        Some(index) => Err(format!("image {index} has label {}, but labels end at 9", images[index][0])),
        None => Ok(()),
    }
}

/// Hands the chip's memory map to the linker.
fn link(out: &Path) {
    println!("cargo::rerun-if-env-changed=BN_LENET_CHIP");
    let chip = env::var("BN_LENET_CHIP").unwrap_or_else(|_| "stm32f405".into());
    let map = format!("memory/{chip}.x");
    println!("cargo::rerun-if-changed={map}");
    let memory = fs::read(&map)
        .unwrap_or_else(|e| fail(&format!("cannot read {map}: {e}; set BN_LENET_CHIP to a file of memory/")));
    write(&out.join("memory.x"), &memory);
    println!("cargo::rustc-link-search={}", out.display());
    // Without --nmagic the linker pads the ELF's segments to whole pages.
    for program in ["demo", "evaluate", "crash"] {
        for argument in ["--nmagic", "-Tlink.x", "-Tdefmt.x"] {
            println!("cargo::rustc-link-arg-bin={program}={argument}");
        }
    }
    let alone = Path::new(&variable("CARGO_MANIFEST_DIR")).join("memory/inference.x");
    println!("cargo::rerun-if-changed={}", alone.display());
    println!("cargo::rustc-link-arg-bin=inference=--nmagic");
    println!("cargo::rustc-link-arg-bin=inference=-T{}", alone.display());
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap_or_else(|e| fail(&format!("cannot write {}: {e}", path.display())));
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|e| fail(&format!("cargo sets {name}, but: {e}")))
}

/// Cargo shows this as one line, `error: firmware-demo: MESSAGE`.
fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    exit(1)
}
