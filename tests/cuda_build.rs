//! The CPU build of the CUDA kernels: how it is compiled, plainly and with sanitizers, and how a test runs on it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, OnceLock};
use std::time::SystemTime;

/// How it is compiled.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Build {
    Plain,
    /// With multiplications and additions contracted to one rounding, as on a GPU.
    Fma,
    /// With the address and the undefined behaviour sanitizer.
    Address,
    /// With the thread sanitizer's calls, which `kernels/cpu/races.cpp` answers.
    Thread,
}

impl Build {
    /// What the tests run on that do not ask for one: `BN_LENET_SANITIZE` is `address`, `thread` or not set.
    fn wished() -> Self {
        match std::env::var("BN_LENET_SANITIZE").as_deref() {
            Err(_) => Self::Plain,
            Ok("address") => Self::Address,
            Ok("thread") => Self::Thread,
            Ok(other) => panic!("BN_LENET_SANITIZE is {other}, neither address nor thread"),
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Plain => "cuda-shim",
            Self::Fma => "cuda-shim-fma",
            Self::Address => "cuda-shim-address",
            Self::Thread => "cuda-shim-thread",
        }
    }

    /// For the kernels.
    fn options(self) -> &'static str {
        match self {
            Self::Plain => "-O3",
            Self::Fma if cfg!(target_arch = "x86_64") => "-O3 -ffp-contract=fast -mfma",
            Self::Fma => "-O3 -ffp-contract=fast",
            Self::Address => {
                "-O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fsanitize-sections=cuda_shared"
            }
            Self::Thread => {
                "-O2 -fsanitize=thread --param tsan-instrument-func-entry-exit=0 --param tsan-distinguish-volatile=1"
            }
        }
    }

    /// For the linker, which compiles the race detector as well.
    fn link(self) -> Vec<String> {
        match self {
            Self::Plain | Self::Fma => vec![],
            Self::Address => vec!["-fsanitize=address,undefined".into()],
            Self::Thread => {
                vec!["-std=c++17".into(), "-O2".into(), kernels().join("cpu/races.cpp").to_string_lossy().into()]
            }
        }
    }
}

pub(crate) fn kernels() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").join("kernels")
}

fn modified(path: &Path) -> SystemTime {
    path.metadata().and_then(|metadata| metadata.modified()).expect("a readable file")
}

fn compiler() -> String {
    std::env::var("CXX").unwrap_or_else(|_| "g++".into())
}

/// The directory with the fake driver, for other programs than this one.
pub(crate) fn fake_driver() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| driver(Build::Plain))
}

/// The directory with that build of it, compiled if its sources are newer.
fn driver(build: Build) -> PathBuf {
    // One compiles, the others wait.
    static COMPILES: Mutex<()> = Mutex::new(());
    let _compiles = COMPILES.lock();
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(build.folder());
    let library = directory.join("libcuda.so");
    let sources =
        [kernels(), kernels().join("cpu")].into_iter().flat_map(|folder| folder.read_dir().expect("a folder"));
    let newest = sources.map(|entry| modified(&entry.expect("a readable entry").path())).max().expect("sources");
    if !library.exists() || modified(&library) <= newest {
        std::fs::create_dir_all(&directory).unwrap();
        let ptx = ["lenet.ptx", "persistent.ptx", "persistent_cluster.ptx"]
            .map(|file| std::fs::read_to_string(kernels().join(file)).unwrap())
            .concat();
        let names = ptx.lines().filter_map(|line| line.strip_prefix(".visible .entry ")?.strip_suffix('('));
        let register: String = names.map(|name| format!("REGISTER({name})\n")).collect();
        std::fs::write(directory.join("kernels.inc"), register).unwrap();
        // Another process may be reading the old one.
        let new = directory.join(format!("libcuda.so.{}", std::process::id()));
        compile(build, "cpu/driver.cpp", &new, &["-shared", "-Wl,-z,defs"]);
        std::fs::rename(new, library).unwrap();
    }
    directory
}

fn compile(build: Build, source: &str, program: &Path, link: &[&str]) {
    let object = program.with_extension(format!("{}.o", std::process::id()));
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", text(&output));
    };
    let options = "-std=c++17 -g -Wall -Wextra -Werror -Wno-unknown-pragmas -fPIC -c";
    run(Command::new(compiler())
        .args(options.split(' '))
        .args(build.options().split(' '))
        .args(["-I".as_ref(), program.parent().expect("a folder").as_os_str(), "-o".as_ref(), object.as_os_str()])
        .arg(kernels().join(source)));
    run(Command::new(compiler())
        .args(["-g", "-fPIC"])
        .args(link)
        .arg(&object)
        .args(build.link())
        .arg("-o")
        .arg(program));
    std::fs::remove_file(object).unwrap();
}

/// Runs a mode of `kernels/cpu/selftest.cpp` with that seed: whether it succeeded, and what it said.
pub(crate) fn selftest(build: Build) -> impl Fn(&str, &str) -> (bool, String) {
    let folder = tempfile::TempDir::new_in(driver(build)).unwrap();
    let program = |folder: &tempfile::TempDir| folder.path().join("selftest");
    compile(build, "cpu/selftest.cpp", &program(&folder), &[]);
    move |mode: &str, seed: &str| {
        let output = Command::new(program(&folder)).arg(mode).env("BN_LENET_SHIM_SEED", seed).output().unwrap();
        (output.status.success(), text(&output))
    }
}

/// The f32 bounds of the engine suite are for any GPU; results on the CPU build keep this many times below.
const MARGIN: &str = "3";

/// Runs the ignored tests whose names contain `filter` in a process of their own, on the fake driver.
pub(crate) fn on_the_fake_driver(filter: &str, variables: &[(&str, &str)]) -> Output {
    on(Build::wished(), filter, variables)
}

/// Likewise, on a build of one's choice.
pub(crate) fn on(build: Build, filter: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--nocapture", filter]).env("LD_LIBRARY_PATH", driver(build));
    command.env("BN_LENET_MARGIN", MARGIN);
    if build == Build::Address {
        // It has to be there before all else. The driver keeps its blocks until the process ends.
        let library = Command::new(compiler()).arg("-print-file-name=libasan.so").output().unwrap();
        command.env("LD_PRELOAD", text(&library).trim()).env("ASAN_OPTIONS", "detect_leaks=0");
    }
    command.envs(variables.iter().copied()).output().unwrap()
}

pub(crate) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[track_caller]
pub(crate) fn assert_passed(output: &Output, at_least: usize) {
    let text = text(output);
    assert!(output.status.success(), "{text}");
    let passed = text.split(" passed").next().and_then(|head| head.rsplit(' ').next()?.parse().ok());
    assert!(passed.is_some_and(|passed: usize| passed >= at_least), "{text}");
}
