//! Training ended by SIGKILL at random moments, again and again, and resumed, on every engine; now and then the last
//! checkpoint is cut off as well. The run's directory must be that of a run that nobody disturbed, to the last bit.
//! `BN_LENET_KILLS` is the number of runs for each engine, 4 without it.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use clap::Parser;
use host_trainer::cli::{self, Cli};
use host_trainer::data::garments;
use host_trainer::engine::cuda;
use host_trainer::train::metrics::EpochMetrics;

use crate::cuda_build::fake_driver;

const TEST_IMAGES: usize = 40;
const CHECKPOINT: &str = "checkpoint.safetensors";
const PREVIOUS: &str = "checkpoint.previous.safetensors";

/// A small data set of drawings, in the published format.
fn draw_data(directory: &Path, training_images: usize) {
    for (prefix, count) in [("train", training_images), ("t10k", TEST_IMAGES)] {
        let header = |kind: u8, sizes: &[usize]| {
            let sizes = sizes.iter().flat_map(|&n| (n as u32).to_be_bytes());
            [0, 0, 8, kind].into_iter().chain(sizes).collect::<Vec<u8>>()
        };
        let drawings: Vec<_> = (0..count).map(|i| garments::draw(i as u64, i % 10)).collect();
        let pixels = drawings.as_flattened().as_flattened();
        let labels: Vec<u8> = (0..count).map(|i| (i % 10) as u8).collect();
        let write = |name: &str, content: [&[u8]; 2]| {
            std::fs::write(directory.join(format!("{prefix}-{name}-ubyte")), content.concat())
                .expect("a writable file");
        };
        write("images-idx3", [&header(3, &[count, 28, 28]), pixels]);
        write("labels-idx1", [&header(1, &[count]), &labels]);
    }
}

/// This very binary as the program: a process of its own, that can be killed.
#[test]
#[ignore = "a process of `kill::`, which hands it a command line"]
fn the_program() {
    let arguments = std::env::var("BN_LENET_COMMAND_LINE").expect("a command line");
    let result = cli::run(Cli::parse_from(arguments.split(' ')), &mut std::io::sink());
    if let Err(error) = result {
        cli::report_error(&error);
        std::process::exit(error.exit_code().into());
    }
}

struct Desk {
    directory: tempfile::TempDir,
    engine: &'static str,
    /// The directory of a CUDA driver that is to be taken for the machine's.
    driver: Option<&'static Path>,
}

impl Desk {
    fn new(engine: &'static str, driver: Option<&'static Path>) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // Kernels on the CPU take their time.
        draw_data(directory.path(), if driver.is_some() { 64 } else { 320 });
        Self { directory, engine, driver }
    }

    fn path(&self, out: &str, name: &str) -> PathBuf {
        self.directory.path().join(out).join(name)
    }

    /// The run's beginning, or its continuation where there is something to continue.
    fn command(&self, out: &str) -> Command {
        let saved = [CHECKPOINT, PREVIOUS].iter().any(|name| self.path(out, name).exists());
        let arguments = if saved {
            format!("program train --resume {out} --data-dir . --no-checksum -q")
        } else {
            let schedule = "--batch-size 16 --epochs 5";
            format!("program train --engine {} --data-dir . --no-checksum -q {schedule} --out {out}", self.engine)
        };
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        command.args(["--ignored", "--exact", "--nocapture", "kill::the_program"]);
        command.current_dir(&self.directory).env("BN_LENET_COMMAND_LINE", arguments);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        if let Some(driver) = self.driver {
            command.env("LD_LIBRARY_PATH", driver);
        }
        command
    }

    /// Runs to the end. A run that was killed after its last checkpoint has nothing left to do, and says so.
    fn finish(&self, out: &str) -> String {
        let output = self.command(out).output().expect("the program starts");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() || words.contains("has its 5 epochs"), "{words}");
        words
    }

    /// Everything in the run's directory that does not tell of processes and times.
    fn outcome(&self, out: &str) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(self.directory.path().join(out)).expect("a run's directory");
        let mut files: BTreeMap<_, _> = entries
            .map(|entry| {
                let path = entry.expect("an entry").path();
                let name = path.file_name().expect("a name").to_string_lossy().into_owned();
                (name, std::fs::read(path).expect("a readable file"))
            })
            .collect();
        files.insert("run.lock".into(), Vec::new());
        let metrics = files.get_mut("metrics.jsonl").expect("the epochs' figures");
        let without_speed = |line| EpochMetrics { examples_per_second: None, ..line };
        let lines = serde_json::Deserializer::from_slice(metrics).into_iter::<EpochMetrics>();
        *metrics = lines.map(|line| format!("{:?}\n", without_speed(line.expect("a line")))).collect::<String>().into();
        files
    }

    /// Cuts the checkpoint off, where there is one before it; whether it did.
    fn cut(&self, out: &str, share: f64) -> bool {
        let (path, previous) = (self.path(out, CHECKPOINT), self.path(out, PREVIOUS));
        let (Ok(bytes), true) = (std::fs::read(&path), previous.exists()) else { return false };
        std::fs::write(path, &bytes[..(bytes.len() as f64 * share) as usize]).expect("a writable file");
        true
    }
}

/// Evenly from 0 to 1, the same in every run of the tests.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1_u32 << 31)
    }
}

/// A run counts where SIGKILL found the program still running: one that had ended by itself proves nothing.
fn killed_runs_end_in_the_same_bits(engine: &'static str, driver: Option<&'static Path>) {
    let wanted = std::env::var("BN_LENET_KILLS").map_or(4, |text| text.parse().expect("a number of runs"));
    let desk = Desk::new(engine, driver);
    let started = Instant::now();
    desk.finish("whole");
    let mut longest = started.elapsed();
    let expected = desk.outcome("whole");
    let (mut random, mut runs, mut kills, mut cuts, mut tries) = (Random(1), 0, 0, 0, 0);
    while runs < wanted {
        tries += 1;
        assert!(tries <= 20 + 4 * wanted, "{engine}: {kills} kills in {tries} runs came in time");
        let mut landed = 0;
        // Twice: the second kill hits a run that was resumed.
        for _ in 0..2 {
            let mut child = desk.command("run").stderr(Stdio::null()).spawn().expect("the program starts");
            std::thread::sleep(longest.mul_f64(random.next()));
            child.kill().expect("SIGKILL");
            let killed = child.wait().expect("a child").signal() == Some(9);
            // The machine may be busier or quieter than it was: follow it, so that a few kills come too late.
            longest = longest.mul_f64(if killed { 1.03 } else { 0.9 });
            landed += usize::from(killed);
        }
        let cut = tries % 3 == 0 && desk.cut("run", random.next());
        let words = desk.finish("run");
        assert_eq!(cut, words.contains("going on from the one before it"), "{engine}, run {tries}: {words}");
        assert!(desk.outcome("run") == expected, "{engine}, run {tries}: another outcome");
        std::fs::remove_dir_all(desk.directory.path().join("run")).expect("a run's directory");
        runs += usize::from(landed > 0);
        kills += landed;
        cuts += usize::from(cut);
    }
    let took = started.elapsed();
    println!("engine {engine}: {runs} runs, killed {kills} times, {cuts} cut off, in {took:.0?}: the same bits");
}

#[test]
fn killed_runs_of_the_cpu_engine_end_in_the_same_bits() {
    killed_runs_end_in_the_same_bits("cpu", None);
}

#[test]
fn killed_runs_of_the_reference_engine_end_in_the_same_bits() {
    killed_runs_end_in_the_same_bits("reference", None);
}

/// On the GPU, or without one on the CPU build of the kernels.
#[test]
#[cfg_attr(not(cuda_on_cpu), ignore = "needs Linux and g++: install g++, or set CXX")]
fn killed_runs_of_the_cuda_engine_end_in_the_same_bits() {
    if cuda::is_present() {
        return killed_runs_end_in_the_same_bits("cuda", None);
    }
    killed_runs_end_in_the_same_bits("cuda", Some(fake_driver()));
}
