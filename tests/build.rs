//! Says which prerequisites of tests are here. A test whose prerequisite is not is ignored, and counted so, with the reason and what
//! to type. What is said is a cfg: `fashion_mnist`, `zoo`, `emulators`, `gnu_arm_as`, `gnu_arm_c`, `cuda_on_cpu`, `cuda_with_fma`.
//!
//! With `BN_LENET_REQUIRE_ALL=1` all of them count as here, so that what is missing fails its tests.

use std::path::PathBuf;
use std::process::{Command, Stdio};

fn main() {
    for variable in ["BN_LENET_REQUIRE_ALL", "FASHION_MNIST_DIR", "XDG_CACHE_HOME", "BN_ZOO_DIR", "CXX", "PATH"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    // What is installed is a new file in one of these.
    for folder in ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"] {
        if PathBuf::from(folder).is_dir() {
            println!("cargo::rerun-if-changed={folder}");
        }
    }
    let all = std::env::var("BN_LENET_REQUIRE_ALL").is_ok_and(|value| value == "1");
    let on_cpu =
        cfg!(target_os = "linux") && answers(&[&std::env::var("CXX").unwrap_or_else(|_| "g++".into()), "--version"]);
    for (name, here) in [
        ("fashion_mnist", fashion_mnist()),
        ("zoo", std::env::var_os("BN_ZOO_DIR").is_some()),
        ("emulators", emulators()),
        ("gnu_arm_as", answers(&["arm-none-eabi-as", "--version"])),
        // The C library is no program of its own.
        ("gnu_arm_c", answers(&["arm-none-eabi-gcc", "--specs=rdimon.specs", "--version"])),
        ("cuda_on_cpu", on_cpu),
        ("cuda_with_fma", on_cpu && has_fma()),
    ] {
        println!("cargo::rustc-check-cfg=cfg({name})");
        if here || all {
            println!("cargo::rustc-cfg={name}");
        }
    }
}

/// Where the program looks: the variable's directory, else the user's cache.
fn fashion_mnist() -> bool {
    let cache = if cfg!(windows) {
        std::env::var_os("LOCALAPPDATA").map(PathBuf::from)
    } else if cfg!(target_os = "macos") {
        std::env::home_dir().map(|home| home.join("Library/Caches"))
    } else {
        let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        named.or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
    };
    let cache = cache.map(|cache| cache.join("bn-lenet/fashion-mnist"));
    if let Some(cache) = cache.as_ref().filter(|cache| cache.is_dir()) {
        println!("cargo::rerun-if-changed={}", cache.display());
    }
    std::env::var_os("FASHION_MNIST_DIR").is_some() || cache.is_some_and(|cache| cache.is_dir())
}

/// Whether QEMU and Node.js are here, or the program would install them: as root through apt-get, or through Homebrew.
fn emulators() -> bool {
    let here = |name: &&str| answers(&[name, "--version"]);
    let installs = || {
        let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0");
        here(&if root { "apt-get" } else { "brew" })
    };
    ["qemu-system-arm", "qemu-system-riscv32", "node"].iter().all(here) || installs()
}

fn answers(command: &[&str]) -> bool {
    let mut command_line = Command::new(command[0]);
    command_line.args(&command[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command_line.status().is_ok_and(|status| status.success())
}

/// Whether this processor multiplies and adds with one rounding: all others than x86 that run this do.
fn has_fma() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    true
}
