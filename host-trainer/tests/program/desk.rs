//! A directory with a small data set in it, and the program run there. Trains on a few hundred patterns that are drawn here, so
//! that a test takes a moment.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) const TRAINING_IMAGES: usize = 640;
pub(crate) const TEST_IMAGES: usize = 100;

/// A directory with a small data set in it, and the program run there.
pub(crate) struct Desk {
    directory: TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        std::fs::create_dir(&data).unwrap();
        for (prefix, count) in [("train", TRAINING_IMAGES), ("t10k", TEST_IMAGES)] {
            let labels: Vec<u8> = (0..count).map(|i| (i % 10) as u8).collect();
            let pixels: Vec<u8> = (0..count).flat_map(pattern).collect();
            let header = |kind: u8, sizes: &[usize]| {
                let sizes = sizes.iter().flat_map(|&n| (n as u32).to_be_bytes());
                [0, 0, 8, kind].into_iter().chain(sizes).collect::<Vec<u8>>()
            };
            let images = [header(3, &[count, 28, 28]), pixels].concat();
            std::fs::write(data.join(format!("{prefix}-images-idx3-ubyte")), images).unwrap();
            std::fs::write(data.join(format!("{prefix}-labels-idx1-ubyte")), [header(1, &[count]), labels].concat())
                .unwrap();
        }
        Self { directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_host-trainer"));
        command.current_dir(&self.directory).args(arguments.split_whitespace()).env_remove("FASHION_MNIST_DIR");
        command
    }

    /// Lets every user look into the directory, and puts a copy of the program there that everybody may run.
    #[cfg(unix)]
    pub(crate) fn open_to_all(&self) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::copy(env!("CARGO_BIN_EXE_host-trainer"), self.path("host-trainer")).unwrap();
        std::fs::set_permissions(self.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Stdout of a run that must succeed.
    pub(crate) fn ok(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    pub(crate) fn json(&self, arguments: &str) -> Value {
        let stdout = self.ok(arguments);
        assert_eq!(stdout.lines().count(), 1, "{stdout}");
        serde_json::from_str(&stdout).unwrap()
    }

    /// The one line on stderr of a run that must fail with `code` and print nothing on stdout.
    pub(crate) fn refused(&self, code: i32, arguments: &str) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "", "{arguments}");
        let stderr = text(&output.stderr);
        let lines: Vec<_> = stderr.lines().filter(|l| l.starts_with("error: ")).collect();
        assert_eq!(lines.len(), 1, "{arguments}: {stderr}");
        lines[0].to_owned()
    }

    /// What lies in a directory, in order.
    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(directory)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Trains for two epochs into `out`.
    pub(crate) fn train(&self, out: &str) -> Value {
        self.json(&format!("train --data-dir data --no-checksum --batch-size 32 --epochs 2 --json -q --out {out}"))
    }
}

#[cfg(unix)]
/// The program as a shell starts it that has run `script`.
pub(crate) fn after(desk: &Desk, script: &str, arguments: &str) -> Command {
    behind(desk, "sh", &["-c", &format!("{script} && exec \"$0\" \"$@\"")], arguments)
}

#[cfg(unix)]
/// The program as the last arguments of another one.
pub(crate) fn behind(desk: &Desk, wrapper: &str, before: &[&str], arguments: &str) -> Command {
    let program = desk.command(arguments);
    let mut wrapped = Command::new(wrapper);
    wrapped.args(before).arg(program.get_program()).args(program.get_args());
    wrapped.current_dir(desk.path("")).env_remove("FASHION_MNIST_DIR");
    wrapped
}

/// What stderr says, which must be one line.
#[cfg(unix)]
pub(crate) fn only_error(output: &Output) -> String {
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with("error: ") && stderr.lines().count() == 1, "{stderr}");
    stderr
}

/// The program as a user who is not root, for whom every directory is writable; [`Desk::open_to_all`] comes before.
#[cfg(unix)]
pub(crate) fn as_nobody(desk: &Desk, arguments: &str) -> Output {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65534;
    let mut command = Command::new(desk.path("host-trainer"));
    command.current_dir(desk.path("")).args(arguments.split_whitespace()).env_remove("FASHION_MNIST_DIR");
    if std::fs::metadata(desk.path("")).unwrap().uid() == 0 {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.output().unwrap()
}

/// An image that its class can be told from: a bar whose place and slant follow from the class, and some noise.
fn pattern(index: usize) -> Vec<u8> {
    let class = index % 10;
    let noise = |x: usize, y: usize| ((index * 7919 + x * 104_729 + y * 1_299_709) % 251) as u8 / 8;
    let pixel = |y: usize, x: usize| {
        let bar = (x + y * (class % 3)) % 28 / 3 == class % 9;
        if bar || (class == 9 && y / 3 == 4) { 220 + noise(x, y) } else { noise(x, y) }
    };
    (0..28).flat_map(|y| (0..28).map(move |x| pixel(y, x))).collect()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the program writes UTF-8")
}
