//! The programs that this one starts: none outlives it, whatever ends it, and nothing of the host's environment bends what they
//! build. Stand-ins for cargo and others lie in a directory that comes first on the PATH; they hang where a test asks for it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::desk::{Desk, behind, text};

/// A variable that every process of a test has, by which it is found.
const MARK: &str = "HOST_TRAINER_TEST_MARK";

/// A script in the desk's `tools`, which come first on the PATH. It says that it hangs by making the file `hangs`; a child hangs
/// with it.
fn tool(desk: &Desk, name: &str, script: &str) {
    let path = desk.path("tools").join(name);
    fs::create_dir_all(desk.path("tools")).unwrap();
    fs::write(&path, format!("#!/bin/sh\nhang() {{ sleep 1000 & echo > '{}'; sleep 1000; }}\n{script}\n", hangs(desk)))
        .unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn hangs(desk: &Desk) -> String {
    desk.path("hangs").display().to_string()
}

/// Processes that have the mark, apart from the dead that nobody has buried.
fn left(mark: &str) -> Vec<String> {
    let wanted = format!("{MARK}={mark}");
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let has_mark = |process: &Path| {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|variable| variable == wanted.as_bytes())
    };
    let marked = processes.filter(|process| has_mark(process));
    marked.map(|process| text(&fs::read(process.join("cmdline")).unwrap_or_default()).replace('\0', " ")).collect()
}

/// A verb that is waiting for a program that hangs. It hears every signal, as [`crate::faults`] says.
fn hanging(desk: &Desk, mark: &str, path: &str, arguments: &str) -> Child {
    let _ = fs::remove_file(desk.path("hangs"));
    let mut command = behind(desk, "env", &["--default-signal=INT,HUP,TERM"], arguments);
    command.env(MARK, mark).env("PATH", path).env("CARGO", desk.path("tools/cargo"));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while !desk.path("hangs").exists() {
        assert!(child.try_wait().unwrap().is_none(), "{arguments} ended before it hung");
        assert!(started.elapsed() < Duration::from_secs(60), "{arguments} does not start it");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

/// Ends a verb in every way while a program hangs that it has started, and looks for what is left two seconds later.
fn nothing_is_left(desk: &Desk, what: &str, path: &str, arguments: &str) {
    for signal in ["-TERM", "-INT", "-KILL"] {
        let mark = format!("{}{what}{signal}", std::process::id());
        let mut child = hanging(desk, &mark, path, arguments);
        assert!(left(&mark).len() >= 3, "the verb, the program and its child: {:?}", left(&mark));
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        child.wait().unwrap();
        let ended = Instant::now();
        while !left(&mark).is_empty() && ended.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(left(&mark), [""; 0], "{arguments} {signal} during {what}");
    }
}

fn tools_first(desk: &Desk) -> String {
    format!("{}:{}", desk.path("tools").display(), std::env::var("PATH").unwrap())
}

/// A cargo whose builds end with what `build` does; it answers everything else.
fn cargo(desk: &Desk, build: &str) {
    let target = desk.path("target").display().to_string();
    let metadata = format!(r#"echo '{{"target_directory":"{target}"}}'"#);
    tool(desk, "cargo", &format!("case \"$1\" in metadata) {metadata} ;; build) {build} ;; esac"));
}

/// A build that has made each of the programs: this one, which is no firmware, but an ELF.
fn builds_anything(desk: &Desk) {
    let name = |name| format!(r#"echo '{{"executable":"{}"}}'"#, desk.path(name).display());
    fs::copy("/bin/true", desk.path("demo")).unwrap();
    cargo(desk, &name("demo"));
}

/// rustc with all targets, QEMU with all machines, probe-rs.
fn complete(desk: &Desk) {
    fs::create_dir_all(desk.path("sysroot/lib/rustlib/thumbv7em-none-eabihf/lib")).unwrap();
    tool(desk, "rustc", &format!("echo '{}'", desk.path("sysroot").display()));
    tool(desk, "qemu-system-arm", "case \"$1\" in --version) ;; -machine) echo netduinoplus2 ;; *) hang ;; esac");
    tool(desk, "probe-rs", "case \"$1\" in --version) ;; *) hang ;; esac");
}

#[test]
fn no_build_outlives_the_verb_that_started_it() {
    let desk = Desk::new();
    desk.train("run");
    complete(&desk);
    cargo(&desk, "hang");
    let path = tools_first(&desk);
    for verb in [
        "emulate --data-dir data --no-checksum",
        "emulate --demo",
        "emulate --profile --data-dir data --no-checksum",
        "report run --data-dir data --no-checksum",
        "demo --data-dir data --no-checksum --epochs 20",
        "board",
    ] {
        nothing_is_left(&desk, "cargo", &path, verb);
    }
}

#[test]
fn no_emulator_flasher_or_installer_outlives_the_verb_that_started_it() {
    let desk = Desk::new();
    complete(&desk);
    builds_anything(&desk);
    let path = tools_first(&desk);
    nothing_is_left(&desk, "qemu", &path, "emulate --demo");
    nothing_is_left(&desk, "qemu-elf", &path, "emulate --elf demo");
    nothing_is_left(&desk, "probe-rs", &path, "board");
    // Without the target's libraries, and then without an emulator.
    fs::remove_dir_all(desk.path("sysroot")).unwrap();
    tool(&desk, "rustup", "case \"$1\" in --version) ;; *) hang ;; esac");
    nothing_is_left(&desk, "rustup", &path, "emulate --demo");
    complete(&desk);
    fs::remove_file(desk.path("tools/qemu-system-arm")).unwrap();
    tool(&desk, "id", "echo 0");
    tool(&desk, "apt-get", "case \"$1\" in --version) ;; *) hang ;; esac");
    for name in ["sh", "env", "sleep", "mkdir"] {
        symlink(which(name), desk.path("tools").join(name)).unwrap();
    }
    nothing_is_left(&desk, "apt-get", &desk.path("tools").display().to_string(), "emulate --demo");
}

fn which(name: &str) -> String {
    let path = std::env::var("PATH").unwrap();
    let found = path.split(':').map(|folder| format!("{folder}/{name}")).find(|path| Path::new(path).exists());
    found.unwrap_or_else(|| panic!("no {name} on the PATH"))
}

#[test]
fn a_program_that_fails_is_quoted_and_what_it_was_asked() {
    let desk = Desk::new();
    complete(&desk);
    let with_tools = |arguments: &str| {
        let mut command = desk.command(arguments);
        let output = command.env("PATH", tools_first(&desk)).env("CARGO", desk.path("tools/cargo")).output().unwrap();
        assert_eq!(text(&output.stdout), "");
        let stderr = text(&output.stderr);
        (output.status.code().unwrap(), stderr.lines().last().unwrap().to_owned())
    };
    cargo(&desk, "echo 'error: linker `cc` not found' >&2; exit 101");
    let (code, message) = with_tools("emulate --demo");
    assert!(
        message.starts_with("error: the build of the firmware failed: linker `cc` not found (exit status: 101"),
        "{message}"
    );
    assert!(message.contains("tools/cargo build --profile firmware --target thumbv7em-none-eabihf"), "{message}");
    assert_eq!(code, 1);
    tool(&desk, "qemu-system-arm", "echo 'error while loading shared libraries: libfdt.so.1' >&2; exit 127");
    let (code, message) = with_tools("emulate --demo");
    assert!(message.contains("qemu-system-arm is on the PATH, but does not work: "), "{message}");
    assert!(message.contains("libfdt.so.1") && message.contains("; mend or reinstall it"), "{message}");
    assert_eq!(code, 3);
    fs::remove_dir_all(desk.path("sysroot")).unwrap();
    tool(&desk, "rustup", "case \"$1\" in --version) ;; *) echo 'error: no network' >&2; exit 1 ;; esac");
    let (code, message) = with_tools("emulate --demo");
    assert!(message.contains("no network") && message.contains("rustup target add thumbv7em-none-eabihf"), "{message}");
    assert_eq!(code, 3);
}

/// What a host may have set for its own builds: each would fail a build of the firmware or change its instructions.
const FLAGS: [(&str, &str); 9] = [
    ("RUSTFLAGS", "-C target-cpu=native -D warnings -C linker=false"),
    ("CARGO_BUILD_RUSTFLAGS", "-C target-cpu=native -D warnings"),
    ("CARGO_TARGET_THUMBV7EM_NONE_EABIHF_RUSTFLAGS", "-C opt-level=0"),
    ("CARGO_TARGET_THUMBV7EM_NONE_EABIHF_LINKER", "false"),
    ("CARGO_PROFILE_FIRMWARE_OPT_LEVEL", "0"),
    ("CARGO_INCREMENTAL", "1"),
    ("RUSTC_WRAPPER", "false"),
    ("DEFMT_LOG", "trace"),
    ("NODE_OPTIONS", "--no-such-option"),
];

/// Needs the emulators and the compiler's targets, which the program installs where it can.
#[test]
fn flags_of_the_host_change_no_instruction_of_the_firmware() {
    let desk = Desk::new();
    // One a compiler's target: flags go by that.
    for machine in ["netduinoplus2", "mps2-an385", "mps2-an505", "microbit", "riscv32", "wasm32"] {
        let emulate = format!("emulate --data-dir data --no-checksum --images 2 --json --machine {machine}");
        let plain = desk.run(&emulate);
        let report = |output: &Output| {
            assert_eq!(output.status.code(), Some(0), "{emulate}: {}", text(&output.stderr));
            let mut report: Value = serde_json::from_slice(&output.stdout).unwrap();
            report.as_object_mut().unwrap().remove("seconds");
            report
        };
        let encoded = ("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-cpu=native\x1f-Dwarnings");
        for flags in [&FLAGS[..], &[encoded]] {
            let output = desk.command(&emulate).envs(flags.iter().copied()).output().unwrap();
            assert_eq!(report(&output), report(&plain), "{machine}");
            assert!(!text(&output.stderr).contains("Compiling"), "nothing is built anew: {}", text(&output.stderr));
        }
    }
}
