//! Generates the code of a `weights.bin` and bakes it and the demo images into the firmware, after bn-core has proved them: a bad
//! file fails the build with the reason. On the host there is nothing to bake. Reads the two files, writes to `OUT_DIR`.
//!
//! `BN_LENET_WEIGHTS` and `BN_LENET_IMAGES` name other files than the shipped ones. A cargo feature names the board.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::exit;

use bn_core::file::WeightsFile;
use bn_core::format::golden_input;
use bn_core::lenet::Streams;
use firmware_protocol::UNKNOWN_LABEL;
use firmware_protocol::boards::{BOARDS, Board, Needs, Shares};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // An Armv6-M core lacks the fault registers and the cycle counter.
    println!("cargo::rustc-check-cfg=cfg(armv6m)");
    println!("cargo::rustc-check-cfg=cfg(place, values(\"board\", \"emulator\", \"either\"))");
    // The RAM holds a copy of the weights.
    println!("cargo::rustc-check-cfg=cfg(holds_a_copy)");
    // An Armv7-M core has memory protection of the older kind; Armv8-M has a stack limit instead.
    println!("cargo::rustc-check-cfg=cfg(armv7m)");
    let target = env::var("TARGET").unwrap_or_default();
    for (prefix, architecture) in [("thumbv6m", "armv6m"), ("thumbv7", "armv7m")] {
        if target.starts_with(prefix) {
            println!("cargo::rustc-cfg={architecture}");
        }
    }
    println!("cargo::rerun-if-env-changed=BN_LENET_WEIGHTS");
    println!("cargo::rerun-if-env-changed=BN_LENET_IMAGES");
    let is_module = env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("wasm32");
    let is_device = env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none");
    if !is_module && !is_device {
        return;
    }
    let out = PathBuf::from(variable("OUT_DIR"));
    let (weights, path) = shipped("BN_LENET_WEIGHTS", "assets/weights.bin");
    let file = WeightsFile::read(&weights).unwrap_or_else(|problem| fail(&format!("{}: {problem}", path.display())));
    bn_core::build::try_model(&path, "generated")
        .unwrap_or_else(|problem| fail(&format!("{}: {problem}", path.display())));
    println!("cargo::rustc-env=BN_LENET_WATCHDOG_TICKS={}", watchdog_ticks(&file));
    if is_module {
        return;
    }
    if is_small() {
        let small = small(&file).unwrap_or_else(|problem| fail(&format!("{}: {problem}", path.display())));
        write(&out.join("small.bin"), &small);
    }
    write(&out.join("images.bin"), &images(&file));
    link(&out, &file);
    // defmt drops everything below errors unless told otherwise, and the log is what the demo is for.
    println!("cargo::rerun-if-env-changed=DEFMT_LOG");
    println!("cargo::rustc-env=DEFMT_LOG={}", env::var("DEFMT_LOG").as_deref().unwrap_or("info"));
}

/// The file that the variable `name` names, or the shipped one, and where it lies.
fn shipped(name: &str, shipped: &str) -> (Vec<u8>, PathBuf) {
    let from = match env::var_os(name) {
        Some(path) => PathBuf::from(path),
        None => Path::new(&variable("CARGO_MANIFEST_DIR")).join(shipped),
    };
    println!("cargo::rerun-if-changed={}", from.display());
    let bytes = read(&from).unwrap_or_else(|e| fail(&format!("cannot read {}: {e}; set {name}", from.display())));
    (bytes, from)
}

/// A regular file that could fit a microcontroller.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    const LIMIT: u64 = 8 << 20;
    let there = fs::metadata(path).map_err(|error| error.to_string())?;
    if !there.is_file() || there.len() > LIMIT {
        return Err(format!("it is no regular file of at most {LIMIT} bytes"));
    }
    fs::read(path).map_err(|error| error.to_string())
}

/// Ticks after which a device without an answer hangs: a second at 25 MHz, or what the slowest core could take for an inference in
/// plain Rust, by products and by values, or for the proof of the model. An emulator that counts instructions executes five in eight
/// ticks.
fn watchdog_ticks(file: &WeightsFile) -> usize {
    const SECOND: usize = 25_000_000;
    const MINUTE: usize = 60 * SECOND;
    const A_PRODUCT: usize = 64;
    const A_VALUE: usize = 800;
    const A_BYTE: usize = 400;
    let steps = 0..file.steps().len();
    let macs: usize = steps.clone().map(|step| file.step_macs(step)).sum();
    let values: usize = steps.map(|step| file.step_shape(step).len()).sum();
    let inference = A_PRODUCT * macs + A_VALUE * (values + file.network().topology.input.len());
    // `layers` runs others than the file's.
    let least = if env::var_os("CARGO_FEATURE_LAYERS").is_some() { MINUTE } else { SECOND };
    least.max(inference).max(A_BYTE * file.model_bytes().len()).min(u32::MAX as usize)
}

/// What the small build has in flash.
fn small(file: &WeightsFile) -> Result<Vec<u8>, String> {
    let streams = Streams::of(file).ok_or("the small build is LeNet's alone; leave out the feature small")?;
    let small = bn_core::small::Weights::of(streams, file.checksum());
    let small =
        small.map_err(|error| format!("the small build needs tables that are their own mirror image: {error}"))?;
    Ok(small.bytes().to_vec())
}

/// Whether the features ask for the small build of the network.
fn is_small() -> bool {
    env::var_os("CARGO_FEATURE_SMALL").is_some()
}

/// What the demo classifies: the file that is named; for a network that reads the shipped images these; else the input that a
/// file's golden checksums are of.
fn images(file: &WeightsFile) -> Vec<u8> {
    let reads_shipped = file.header().topology == bn_core::lenet::NETWORK.topology.digest();
    if env::var_os("BN_LENET_IMAGES").is_none() && !reads_shipped {
        let input = (0..file.network().topology.input.len()).map(golden_input);
        return [UNKNOWN_LABEL].into_iter().chain(input).collect();
    }
    let (images, path) = shipped("BN_LENET_IMAGES", "assets/garments.bin");
    check_images(&images, file).unwrap_or_else(|problem| fail(&format!("{}: {problem}", path.display())));
    images
}

/// Whether they are whole images, each behind its label.
fn check_images(bytes: &[u8], file: &WeightsFile) -> Result<(), String> {
    let (size, outputs) = (1 + file.network().topology.input.len(), file.outputs());
    if bytes.is_empty() || !bytes.len().is_multiple_of(size) {
        return Err(format!("{} bytes are not one or more images of {size} bytes", bytes.len()));
    }
    match bytes.chunks_exact(size).position(|image| image[0] != UNKNOWN_LABEL && usize::from(image[0]) >= outputs) {
        Some(index) => {
            Err(format!("image {index} has label {}, but labels end at {}", bytes[index * size], outputs - 1))
        }
        None => Ok(()),
    }
}

/// The one board that the features name.
fn chosen_board() -> &'static Board {
    let asked =
        |board: &&Board| env::var_os(format!("CARGO_FEATURE_{}", board.feature.to_uppercase().replace('-', "_")));
    let chosen: Vec<&Board> = BOARDS.iter().filter(|board| asked(board).is_some()).collect();
    let names = |boards: &[&Board]| boards.iter().map(|board| board.feature).collect::<Vec<_>>().join(", ");
    let (target, all) = (variable("TARGET"), names(&BOARDS.iter().collect::<Vec<_>>()));
    match chosen[..] {
        [board] if board.has_core(&target) => board,
        [board] => fail(&format!(
            "the core of {} is a {}, not a {target}; name another --target or board",
            board.feature,
            board.targets.join(" or ")
        )),
        [] => fail(&format!("no board; build with one of --features {all}")),
        _ => fail(&format!(
            "{} boards ({}); build with --no-default-features and one of --features {all}",
            chosen.len(),
            names(&chosen)
        )),
    }
}

/// How the board's RAM is shared out to the network.
fn shares(board: &Board, file: &WeightsFile) -> Shares {
    let topology = file.network().topology;
    let needs = Needs {
        model: file.model_bytes().len(),
        arena: 4 * file.arena_words(),
        input: topology.input.len(),
        outputs: file.outputs(),
        steps: file.steps().len(),
    };
    board.shares(&needs).unwrap_or_else(|| {
        let fits: Vec<_> = BOARDS.iter().filter(|b| b.shares(&needs).is_some()).map(|b| b.feature).collect();
        fail(&format!(
            "the network takes {} bytes of RAM and {} of flash, {} has {} and {}; it fits {}",
            needs.ram(),
            needs.flash(),
            board.feature,
            board.ram,
            board.flash,
            if fits.is_empty() { "none of the boards".into() } else { fits.join(", ") }
        ))
    })
}

/// Hands the board's memory map to the linker, and to the programs how much of a stream they can hold.
fn link(out: &Path, file: &WeightsFile) {
    let board = chosen_board();
    let target = variable("TARGET");
    let has_dsp = ["thumbv7em", "thumbv8m.main"].iter().any(|t| target.starts_with(t));
    if is_small() && !has_dsp {
        fail(&format!("the small build needs the DSP extension, which {target} lacks; leave out the feature small"));
    }
    println!("cargo::rustc-cfg=place=\"{}\"", board.place);
    let Shares { stack, statics, inputs } = shares(board, file);
    // Its own statics take less than what is left of a kilobyte.
    if file.model_bytes().len() + 1024 <= statics {
        println!("cargo::rustc-cfg=holds_a_copy");
    }
    write(
        &out.join("stream.rs"),
        format!("/// Inputs that the host is asked for at a time.\nconst INPUTS: usize = {inputs};\n").as_bytes(),
    );
    let ram = format!(
        "MEMORY\n{{\n  STACK : ORIGIN = {:#x}, LENGTH = {stack}\n  RAM : ORIGIN = {:#x}, LENGTH = {statics}\n}}\n",
        board.ram_start,
        board.ram_start + stack
    );
    let maps = [format!("memory/{}.x", board.feature), "memory/stack.x".to_owned()];
    let [map, stack] = maps.map(|map| {
        println!("cargo::rerun-if-changed={map}");
        fs::read(&map).unwrap_or_else(|e| fail(&format!("cannot read {map}: {e}; restore it")))
    });
    write(&out.join("memory.x"), &[ram.into_bytes(), map, stack].concat());
    println!("cargo::rustc-link-search={}", out.display());
    // Without --nmagic the linker pads the ELF's segments to whole pages.
    let own = [("CARGO_FEATURE_FLOAT", "float"), ("CARGO_FEATURE_LAYERS", "layers")];
    let own = own.into_iter().filter(|(feature, _)| env::var_os(feature).is_some()).map(|(_, program)| program);
    for program in ["demo", "evaluate", "crash", "damage"].into_iter().chain(own) {
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
