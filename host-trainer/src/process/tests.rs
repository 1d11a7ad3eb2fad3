//! Programs that fail, hang and leave children behind.

use super::*;

#[test]
fn the_reason_is_the_first_error() {
    let words = "   Compiling x\n\x1b[1;31merror\x1b[0m: firmware-demo@0.1.0: weights.bin: damaged; export it anew\nerror: build failed\n";
    assert_eq!(reason(words).unwrap(), "firmware-demo@0.1.0: weights.bin: damaged; export it anew");
    assert_eq!(reason("killed\n\n").unwrap(), "killed");
    assert_eq!(reason(""), None);
}

#[test]
fn what_bends_a_build_is_not_passed_on() {
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_PROFILE_FIRMWARE_OPT_LEVEL"] {
        assert!(!is_passed_on(name), "{name}");
    }
    for name in ["CARGO_TARGET_THUMBV7EM_NONE_EABIHF_LINKER", "RUSTC_WRAPPER", "CARGO_INCREMENTAL", "NODE_OPTIONS"] {
        assert!(!is_passed_on(name), "{name}");
    }
    for name in
        ["PATH", "HOME", "CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_NET_OFFLINE", "RUSTUP_TOOLCHAIN", "https_proxy"]
    {
        assert!(is_passed_on(name), "{name}");
    }
}

#[test]
fn a_program_that_is_missing_is_named_with_what_it_was_asked() {
    let error = Command::new("a-tool-that-does-not-exist").args(["--version"]).finish(Shown::Nothing).unwrap_err();
    let expected = "a-tool-that-does-not-exist is not on the PATH; install it; it was to run: a-tool-that-does-not-exist --version";
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.exit_code(), 3);
}

#[cfg(unix)]
fn shell(script: &str) -> Command {
    Command::new("/bin/sh").args(["-c", script])
}

#[cfg(unix)]
#[test]
fn a_program_that_fails_is_quoted_with_what_it_was_asked() {
    let finished = shell("echo result; echo error: no luck >&2; exit 3").finish(Shown::Nothing).unwrap();
    assert_eq!((finished.stdout.as_str(), finished.status.code()), ("result\n", Some(3)));
    let error = finished.succeeded("the luck").unwrap_err().to_string();
    let expected =
        "the luck failed: no luck (exit status: 3; it was asked: /bin/sh -c echo result; echo error: no luck";
    assert!(error.starts_with(expected), "{error}");
}

#[cfg(unix)]
#[test]
fn a_program_that_takes_too_long_is_ended_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = shell("sleep 1000 & echo $! > child; wait").directory(folder.path()).start().unwrap();
    let error = running.wait_within(Duration::from_millis(300)).unwrap_err();
    assert!(error.to_string().contains("it did not end within 0.3 s and was stopped"), "{error}");
    let child = std::fs::read_to_string(folder.path().join("child")).unwrap();
    drop(running);
    assert!(!is_alive(child.trim()), "{child}");
}

/// Whether a process runs; one that nobody has buried yet does not.
#[cfg(unix)]
fn is_alive(number: &str) -> bool {
    let state = process::Command::new("ps").args(["-o", "stat=", "-p", number]).output().unwrap().stdout;
    !state.is_empty() && !state.starts_with(b"Z")
}

#[cfg(unix)]
#[test]
fn a_program_that_ended_well_may_leave_something_behind() {
    let finished = shell("sleep 5 >/dev/null 2>&1 & echo $!").finish(Shown::Nothing).unwrap();
    assert!(is_alive(finished.stdout.trim()));
    process::Command::new("kill").arg(finished.stdout.trim()).status().unwrap();
}
