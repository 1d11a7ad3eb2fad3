//! The CUDA engine. Without a GPU: the unmodified engine on a fake driver, which runs the kernels compiled for the CPU
//! (`kernels/cpu/`), and a compile check with NVIDIA's compilers. With one: `cargo test -- --ignored cuda`.
//!
//! The fake driver is found in place of the real one through LD_LIBRARY_PATH, which the loader reads when a process starts:
//! so these tests run this very binary once more.

use std::path::Path;
use std::process::{Command, Output};

use host_trainer::engine::Engine;
use host_trainer::engine::cuda::{Cuda, Level};
use host_trainer::model::parameters::{Parameters, Variance};

use crate::cuda_build::{Build, assert_passed, fake_driver, kernels, on, on_the_fake_driver, selftest, text};
use crate::engine_suite::noise;

/// Every kind of mistake that the CPU build is there to find, made on purpose.
#[test]
#[cfg_attr(not(cuda_on_cpu), ignore = "needs Linux and g++: install g++, or set CXX")]
fn the_cpu_build_finds_mistakes() {
    let run = selftest(Build::Plain);
    for (mode, report) in [
        ("stuck", "stuck barrier"),
        ("places", "wait in different places"),
        ("lane", "a lane that does not exist"),
        ("poison", "not a number"),
        ("copy", "not a number"),
        ("grid", "stuck barrier"),
        ("grid", "waiting for other blocks"),
        ("spin", "trap"),
        ("unpublished", "stuck barrier"),
        ("absent", "waiting for other blocks"),
    ] {
        let (succeeded, text) = run(mode, "1");
        assert!(!succeeded && text.contains(report), "{mode}: {text}");
    }
    let (first, second) = (run("race", "1"), run("race", "2"));
    assert!(first.0 && second.0 && first.1 != second.1, "{} {}", first.1, second.1);
}

/// Mistakes that leave no trace otherwise.
#[test]
#[ignore = "compiles with sanitizers; `.ci/run sanitizers` runs it"]
fn the_sanitizers_find_mistakes_on_the_cpu_build() {
    let run = selftest(Build::Address);
    for (mode, report) in [
        ("past", "insufficient space for an object of type 'float'"),
        ("beyond", "heap-buffer-overflow"),
        ("overflow", "signed integer overflow"),
    ] {
        let (succeeded, text) = run(mode, "1");
        assert!(!succeeded && text.contains(report), "{mode}: {text}");
    }
    let run = selftest(Build::Thread);
    for mode in ["race", "overwrite", "unfenced", "blocks", "early"] {
        let (succeeded, text) = run(mode, "1");
        assert!(!succeeded && text.contains("a race, nothing orders"), "{mode}: {text}");
        // Met too early or in time, it is one kernel.
        let kernel = if mode == "early" { "tell_neighbours" } else { mode };
        let named = text.matches(&format!(" in {kernel}(")).count() == 2;
        assert!(named && text.contains("selftest.cpp:"), "{mode}: {text}");
    }
    for mode in ["met", "neighbours"] {
        let (succeeded, text) = run(mode, "1");
        assert!(succeeded, "{mode}: {text}");
    }
}

/// `tests/sanitize` does this with all that runs on the CPU build.
#[test]
#[ignore = "compiles with sanitizers; `.ci/run sanitizers` runs it"]
fn the_sanitizers_find_nothing_in_an_operation_and_a_step() {
    for build in [Build::Address, Build::Thread] {
        let output = on(build, "cuda_operations::", &[]);
        assert_passed(&output, 3);
        assert_passed(&on(build, "cuda_persistent::parameters_go_in_and_out", &[]), 1);
        assert_passed(&on(build, "cuda_cluster_has", &[("BN_LENET_SHORT", "1")]), 1);
    }
}

#[test]
#[cfg_attr(not(cuda_on_cpu), ignore = "needs Linux and g++: install g++, or set CXX")]
fn the_engine_suite_passes_on_the_cpu_build_of_the_graph() {
    let output = on_the_fake_driver("engines::cuda_graph::", &[]);
    assert_passed(&output, 17);
}

#[test]
#[cfg_attr(not(cuda_on_cpu), ignore = "needs Linux and g++: install g++, or set CXX")]
fn the_engine_suite_passes_on_the_cpu_build_of_the_persistent_kernel() {
    let output = on_the_fake_driver("engines::cuda_persistent::", &[]);
    assert_passed(&output, 17);
}

#[test]
#[cfg_attr(not(cuda_with_fma), ignore = "needs Linux, g++ and a processor with FMA")]
fn twenty_steps_of_pytorch_keep_their_margin_with_fma_in_the_graph() {
    trajectory_with_fma("engines::cuda_graph::trajectory_from_scratch");
}

#[test]
#[cfg_attr(not(cuda_with_fma), ignore = "needs Linux, g++ and a processor with FMA")]
fn twenty_steps_of_pytorch_keep_their_margin_with_fma_in_the_persistent_kernel() {
    trajectory_with_fma("engines::cuda_persistent::trajectory_from_scratch");
}

/// With FMA contraction, as a GPU computes; then also with errors of the hardware's size in powers of two, reciprocals and roots,
/// one seed after the other. Each engine's own suite does it without either.
fn trajectory_with_fma(test: &str) {
    let output = on(Build::Fma, test, &[]);
    assert_passed(&output, 1);
    for seed in ["1", "2", "3", "4"] {
        let output = on(Build::Fma, test, &[("BN_LENET_SHIM_ERRORS", seed)]);
        assert_passed(&output, 1);
    }
}

#[test]
#[cfg_attr(not(cuda_on_cpu), ignore = "needs Linux and g++: install g++, or set CXX")]
fn each_operation_agrees_with_its_twin_on_the_cpu_build() {
    let output = on_the_fake_driver("cuda_operations::", &[]);
    assert_passed(&output, 3);
}

/// The bits of 18 steps, more than one graph of many, for whoever compares two runs.
#[test]
#[ignore = "needs an NVIDIA GPU"]
fn cuda_graph_bits_of_18_steps() {
    print_bits_of_18_steps(Level::Graph);
}

#[test]
#[ignore = "needs an NVIDIA GPU that the persistent kernel fits"]
fn cuda_persistent_bits_of_18_steps() {
    print_bits_of_18_steps(Level::Persistent);
}

#[test]
#[ignore = "needs an NVIDIA GPU that the persistent kernel fits in clusters"]
fn cuda_cluster_bits_of_18_steps() {
    print_bits_of_18_steps(Level::Cluster);
}

fn print_bits_of_18_steps(level: Level) {
    // Clusters want to be whole.
    let n = if level == Level::Cluster { 32 } else { 34 };
    let split = noise(1, 3 * n);
    let order: Vec<u32> = (0..6 * split.len() as u32).map(|i| i % split.len() as u32).collect();
    let mut engine = Cuda::new(5, Variance::Unbiased, level).unwrap();
    let totals = engine.train(&split, &order, n, 0.5).unwrap();
    assert_eq!(totals.examples, order.len());
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

/// Where teams are clusters, blocks tell each other the same values in another way: whole batches, an example missing, and a loss
/// that is not finite, which ends the call. BN_LENET_SHORT: one of these.
#[test]
#[ignore = "needs an NVIDIA GPU that the persistent kernel fits in clusters"]
fn cuda_cluster_has_the_bits_of_the_persistent_kernel() {
    let short = std::env::var_os("BN_LENET_SHORT").is_some();
    let cases = [(31, 3, false), (16, 1, true), (256, 2, false)];
    for (n, steps, broken) in cases.into_iter().filter(|(n, ..)| !short || *n == 31) {
        let split = noise(1, steps * n);
        let order: Vec<u32> = (0..split.len() as u32).collect();
        let run = |level, form: &str| {
            let mut engine = Cuda::new(5, Variance::Unbiased, level).unwrap();
            assert!(engine.device(n).ends_with(form), "{}", engine.device(n));
            let mut parameters = engine.parameters();
            parameters.get_mut("4.weight")[0] *= if broken { f64::NAN } else { 1.0 };
            engine.set_parameters(&parameters);
            // A call of one step and a call of the others.
            let (first, rest) = order.split_at(n);
            let totals = [first, rest].map(|part| engine.train(&split, part, n, 0.5).unwrap());
            (totals.map(|totals| (totals.loss.to_bits(), totals.correct)), engine.parameters())
        };
        let clusters = run(Level::Cluster, "persistent CUDA kernel in clusters, f32");
        let blocks = run(Level::Persistent, "persistent CUDA kernel, f32");
        assert_eq!(clusters.0, blocks.0, "batches of {n}");
        let bits = |of: &Parameters| of.tensors.iter().flatten().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert!(bits(&clusters.1) == bits(&blocks.1), "batches of {n}");
    }
}

#[test]
#[cfg_attr(not(cuda_on_cpu), ignore = "needs Linux and g++: install g++, or set CXX")]
fn clusters_have_the_bits_of_the_persistent_kernel_on_the_cpu_build() {
    let output = on_the_fake_driver("cuda_cluster_has", &[]);
    assert_passed(&output, 1);
    for seed in ["1", "2"] {
        let shuffled = [("BN_LENET_SHIM_SEED", seed), ("BN_LENET_SHORT", "1")];
        assert_passed(&on_the_fake_driver("cuda_cluster_has", &shuffled), 1);
    }
}

/// A thread that reads what another has not surely written gives other bits once threads and blocks run in another order.
#[test]
#[cfg_attr(not(cuda_on_cpu), ignore = "needs Linux and g++: install g++, or set CXX")]
fn bits_do_not_depend_on_the_order_of_threads_and_blocks() {
    for level in ["cuda_graph_bits", "cuda_persistent_bits"] {
        let in_order = on_the_fake_driver(level, &[]);
        for seed in ["1", "2"] {
            let shuffled = on_the_fake_driver(level, &[("BN_LENET_SHIM_SEED", seed)]);
            assert_eq!(bits(&in_order), bits(&shuffled), "{level}, schedule {seed}");
        }
    }
}

/// A split stays on the device, and is still the caller's to change.
#[test]
#[ignore = "needs an NVIDIA GPU; `cuda::` runs it on the CPU build of the kernels"]
fn cuda_notices_a_split_changed_in_place() {
    let mut split = noise(4, 64);
    let order: Vec<u32> = (0..64).collect();
    let mut engine = Cuda::new(1, Variance::Biased, Level::Auto).unwrap();
    engine.train(&split, &order, 32, 0.5).unwrap();
    let start = engine.parameters();
    let address = split.images().as_ptr();
    split.images_mut()[40][13][7] ^= 0x80;
    split.labels[2] = 9 - split.labels[2];
    assert_eq!(split.images().as_ptr(), address);
    let mut fresh = Cuda::new(1, Variance::Biased, Level::Auto).unwrap();
    fresh.set_parameters(&start);
    for engine in [&mut engine, &mut fresh] {
        engine.train(&split, &order, 32, 0.5).unwrap();
    }
    assert!(engine.parameters() == fresh.parameters());
    assert!(engine.evaluate(&split).unwrap() == fresh.evaluate(&split).unwrap());
}

#[test]
#[cfg_attr(not(cuda_on_cpu), ignore = "needs Linux and g++: install g++, or set CXX")]
fn a_changed_split_is_noticed_and_a_run_resumes_on_the_cpu_build() {
    let output = on_the_fake_driver("cuda_notices", &[]);
    assert_passed(&output, 1);
    assert_passed(&on_the_fake_driver("cuda_resumes", &[]), 1);
}

/// What the engine says when the driver refuses or the device is too small, one line each; for
/// [`refusals_say_what_is_missing`].
#[test]
#[ignore = "needs a driver that refuses; `cuda::` runs it with the fake one"]
fn cuda_refusal() {
    let split = noise(3, 512);
    let order: Vec<u32> = (0..32).collect();
    for level in [Level::Auto, Level::Graph, Level::Persistent, Level::Cluster] {
        let trained = Cuda::new(0, Variance::Biased, level).and_then(|mut engine| {
            let device = engine.device(order.len());
            engine.evaluate(&split)?;
            engine.train(&split, &order, order.len(), 1.0).map(|_| device)
        });
        match trained {
            Ok(device) => println!("refusal: none on {device}"),
            Err(error) => println!("refusal: {} {error}", error.exit_code()),
        }
    }
}

#[test]
#[cfg_attr(not(cuda_on_cpu), ignore = "needs Linux and g++: install g++, or set CXX")]
fn refusals_say_what_is_missing() {
    let remedy = "install an NVIDIA driver of CUDA 12 or later, or use --engine cpu";
    let every = |line: String| [line.clone(), line.clone(), line.clone(), line];
    let graph = "none on CPU shim, CUDA graph, f32".to_owned();
    let persistent = "none on CPU shim, persistent CUDA kernel, f32".to_owned();
    let clusters = "none on CPU shim, persistent CUDA kernel in clusters, f32".to_owned();
    let limited = |limit: &str, in_clusters: &str| {
        let auto = format!("none on CPU shim, CUDA graph, as the persistent kernel {limit}, f32");
        let [blocks, clusters] = [limit, in_clusters]
            .map(|limit| format!("2 the persistent kernel {limit}; use --engine cuda or --engine cuda-graph"));
        [auto, graph.clone(), blocks, clusters]
    };
    let most = "takes batches of up to 16 here";
    let dead = "1 CUDA failed: cannot run the kernels: unspecified launch failure";
    let broken = format!("{dead}, most likely a barrier of the persistent kernel; try --engine cuda-graph");
    let cases = [
        ("", [clusters.clone(), graph.clone(), persistent, clusters]),
        ("small-gpu", limited(most, &format!("in clusters {most} that fill clusters of 16"))),
        ("pascal", limited("does not fit this device", "does not fit this device in clusters")),
        // Whatever a process asks of a device behind a trap fails.
        ("broken-barrier", [broken, dead.to_owned(), dead.to_owned(), dead.to_owned()]),
        ("no-device", every(format!("3 no CUDA device (no CUDA-capable device is detected); {remedy}"))),
        (
            "old-driver",
            every(format!(
                "3 the CUDA driver does not load PTX 8.0 (the provided PTX was compiled with an unsupported toolchain.); {remedy}"
            )),
        ),
        ("no-memory", every("1 CUDA failed: cannot allocate memory: out of memory".to_owned())),
    ];
    for (what, expected) in cases {
        let output = on_the_fake_driver("cuda_refusal", &[("BN_LENET_FAKE_CUDA", what)]);
        let text = text(&output);
        let said: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once("refusal: ")?.1)).collect();
        assert_eq!(said, expected, "{what}: {text}");
    }
}

/// `kernels/measure` has the results of what works beside a kernel that traps, one that hangs, and a tool that is missing.
#[test]
#[cfg_attr(not(cuda_on_cpu), ignore = "needs Linux and g++: install g++, or set CXX")]
fn measuring_goes_on_behind_what_fails() {
    let driver = fake_driver();
    let directory = tempfile::tempdir().unwrap();
    // A file that is there, in place of the trainer, which these steps do not run.
    let this = std::env::current_exe().unwrap();
    let results = |broken: &str, within: &str| {
        let mut measure = Command::new(kernels().join("measure"));
        measure.arg(directory.path()).args(["gpu", "bits-"]).env("LD_LIBRARY_PATH", driver);
        measure.env("TRAINER", &this).env("TESTS", &this).env("FASHION_MNIST_DIR", directory.path());
        let output =
            measure.env("BN_LENET_FAKE_CUDA", broken).env("WITHIN", within).env("SLOWER", "20").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        std::fs::read_to_string(directory.path().join("results.txt")).unwrap()
    };
    let trap = results("broken-barrier", "300");
    let lines: Vec<&str> = trap.lines().collect();
    // Where there is a GPU, its tool is.
    assert!(lines[0] == "gpu: NOT RUN, nvidia-smi is not there" || lines[0].starts_with("gpu: passed in "), "{trap}");
    assert!(trap.contains("bits-persistent: FAILED after ") && trap.contains("launch failure"), "{trap}");
    assert!(trap.contains("bits-graph: passed in ") && trap.contains("    bits: "), "{trap}");
    let hang = results("hang", "5");
    assert!(hang.contains("bits-persistent: FAILED after ") && hang.contains("no end after "), "{hang}");
    assert!(hang.contains("bits-graph: NOT RUN, 5 s are over"), "{hang}");
}

/// On a machine without a driver: the one line that names what was looked for.
#[test]
fn without_a_driver_the_engine_names_what_it_looked_for() {
    if host_trainer::engine::cuda::is_present() {
        return;
    }
    let error = Cuda::new(0, Variance::Biased, Level::Auto).err().unwrap();
    assert_eq!(error.exit_code(), 3);
    let text = error.to_string();
    assert!(text.starts_with("no CUDA driver (looked for ") && text.contains("cuda") && !text.contains('\n'), "{text}");
}

/// How much of the device's memory a block touches in a step of 256, for whoever changes the kernel: a count, no check.
#[test]
#[ignore = "a count, for people"]
fn count_of_a_step_of_256() {
    if std::env::var_os("BN_LENET_SHIM_COUNT").is_none() {
        let output = on(Build::Thread, "count_of_a_step_of_256", &[("BN_LENET_SHIM_COUNT", "1")]);
        text(&output).lines().filter(|line| line.starts_with("count: persistent")).for_each(|line| println!("{line}"));
        return;
    }
    let split = noise(1, 256);
    let order: Vec<u32> = (0..256).collect();
    for level in [Level::Persistent, Level::Cluster] {
        let mut engine = Cuda::new(5, Variance::Unbiased, level).unwrap();
        engine.train(&split, &order, 256, 0.5).unwrap();
        engine.evaluate(&split).unwrap();
    }
}

/// PTX is current, both assemblers take it, nothing spills, no compiler warns.
#[test]
#[ignore = "fetches NVIDIA's compilers, 330 MB; `.ci/run nvidia` runs it"]
fn nvidias_compilers_take_the_kernels() {
    let check = Command::new("python3").arg(kernels().join("check")).env("CARGO_TARGET_DIR", target()).output();
    let output = check.expect("python3 runs");
    assert!(output.status.success(), "{}", text(&output));
    println!("{}", text(&output));
}

/// Cargo's target directory: the parent of the one for tests.
fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("cargo keeps it in the target directory")
}
