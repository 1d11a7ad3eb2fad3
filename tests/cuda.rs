//! The CUDA engine. Without a GPU: the unmodified engine on a fake driver, which runs the kernels compiled for the CPU
//! (`kernels/cpu/`), and a compile check with NVIDIA's compilers. With one: `cargo test -- --ignored cuda`.
//!
//! The fake driver is found in place of the real one through LD_LIBRARY_PATH, which the loader reads when a process starts:
//! so these tests run this very binary once more.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::SystemTime;

use host_trainer::engine::Engine;
use host_trainer::engine::cuda::Cuda;
use host_trainer::parameters::Variance;
use tests::skipped;

use crate::engine_suite::noise;

fn kernels() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").join("kernels")
}

fn modified(path: &Path) -> SystemTime {
    path.metadata().and_then(|metadata| metadata.modified()).expect("a readable file")
}

/// The directory with the fake driver, compiled if its sources are newer; `None` without a compiler, after [`skipped`].
fn fake_driver() -> Option<&'static Path> {
    static DIRECTORY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        let compiler = std::env::var("CXX").unwrap_or_else(|_| "g++".into());
        let there = cfg!(target_os = "linux") && Command::new(&compiler).arg("--version").output().is_ok();
        there.then(|| compile(&compiler))
    });
    if directory.is_none() {
        skipped("the CPU build of the CUDA kernels needs Linux and g++", "install g++, or set CXX");
    }
    directory.as_deref()
}

fn compile(compiler: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cuda-shim");
    let library = directory.join("libcuda.so");
    let sources =
        [kernels(), kernels().join("cpu")].into_iter().flat_map(|folder| folder.read_dir().expect("a folder"));
    let newest = sources.map(|entry| modified(&entry.expect("a readable entry").path())).max().expect("sources");
    if library.exists() && modified(&library) > newest {
        return directory;
    }
    std::fs::create_dir_all(&directory).unwrap();
    let ptx = std::fs::read_to_string(kernels().join("lenet.ptx")).unwrap();
    let names = ptx.lines().filter_map(|line| line.strip_prefix(".visible .entry ")?.strip_suffix('('));
    let register: String = names.map(|name| format!("REGISTER({name})\n")).collect();
    std::fs::write(directory.join("kernels.inc"), register).unwrap();
    // Another process may be reading the old one.
    let new = directory.join(format!("libcuda.so.{}", std::process::id()));
    let options = "-std=c++17 -O2 -g -Wall -Wextra -Werror -Wno-unknown-pragmas -shared -fPIC";
    let output = Command::new(compiler)
        .args(options.split(' '))
        .args(["-I".as_ref(), directory.as_os_str(), "-o".as_ref(), new.as_os_str()])
        .arg(kernels().join("cpu/driver.cpp"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::rename(new, library).unwrap();
    directory
}

/// Runs the ignored tests whose names contain `filter` in a process of their own, on the fake driver.
fn on_the_fake_driver(filter: &str, variables: &[(&str, &str)]) -> Option<Output> {
    let directory = fake_driver()?;
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--nocapture", filter]).env("LD_LIBRARY_PATH", directory);
    let output = command.envs(variables.iter().copied()).output().unwrap();
    Some(output)
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[track_caller]
fn assert_passed(output: &Output, at_least: usize) {
    let text = text(output);
    assert!(output.status.success(), "{text}");
    let passed = text.split(" passed").next().and_then(|head| head.rsplit(' ').next()?.parse().ok());
    assert!(passed.is_some_and(|passed: usize| passed >= at_least), "{text}");
}

#[test]
fn the_engine_suite_passes_on_the_cpu_build() {
    let Some(output) = on_the_fake_driver("engines::cuda::", &[]) else { return };
    assert_passed(&output, 12);
}

/// The bits of three steps, for whoever compares two runs.
#[test]
#[ignore = "needs an NVIDIA GPU"]
fn cuda_bits_of_three_steps() {
    let split = noise(1, 3 * 34);
    let order: Vec<u32> = (0..split.len() as u32).collect();
    let mut engine = Cuda::new(5, Variance::Unbiased).unwrap();
    let totals = engine.train(&split, &order, 34, 0.5).unwrap();
    let tested = engine.evaluate(&split).unwrap();
    let sum = engine
        .parameters()
        .tensors
        .iter()
        .flatten()
        .fold(0u64, |hash, value| (hash.rotate_left(7) ^ value.to_bits()).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    println!("bits: {sum:016x} {:016x} {:016x}", totals.loss.to_bits(), tested.loss.to_bits());
}

fn bits(output: &Output) -> String {
    let text = text(output);
    let line = text.lines().find_map(|line| line.split_once("bits: "));
    line.unwrap_or_else(|| panic!("{text}")).1.to_owned()
}

/// A thread that reads what another has not surely written gives other bits once threads and blocks run in another order.
#[test]
fn bits_do_not_depend_on_the_order_of_threads_and_blocks() {
    let Some(in_order) = on_the_fake_driver("cuda_bits_of_three_steps", &[]) else { return };
    for seed in ["1", "2"] {
        let shuffled = on_the_fake_driver("cuda_bits_of_three_steps", &[("BN_LENET_SHIM_SEED", seed)]).unwrap();
        assert_eq!(bits(&in_order), bits(&shuffled), "schedule {seed}");
    }
}
