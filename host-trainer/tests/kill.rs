//! Training ended by SIGKILL at random moments, again and again, and resumed: the model must be that of a run that nobody
//! disturbed, to the last bit. `BN_LENET_KILLS` is the number of runs for each engine, 4 without it.
#![cfg(unix)]

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use host_trainer::data::garments;

const TRAINING_IMAGES: usize = 320;
const TEST_IMAGES: usize = 40;

/// A small data set of drawings, in the published format.
fn draw_data(directory: &Path) {
    for (prefix, count) in [("train", TRAINING_IMAGES), ("t10k", TEST_IMAGES)] {
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

struct Desk {
    directory: tempfile::TempDir,
    engine: &'static str,
}

impl Desk {
    fn new(engine: &'static str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        draw_data(directory.path());
        Self { directory, engine }
    }

    /// The run's beginning, or its continuation where there is something to continue.
    fn command(&self, out: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_host-trainer"));
        command.current_dir(&self.directory).arg("train").stdout(Stdio::null()).stderr(Stdio::piped());
        if self.directory.path().join(out).join("checkpoint.safetensors").exists() {
            command.args(["--resume", out, "--data-dir", ".", "--no-checksum", "-q"]);
        } else {
            command.args(["--engine", self.engine, "--data-dir", ".", "--no-checksum", "-q"]);
            command.args(["--batch-size", "16", "--epochs", "5", "--out", out]);
        }
        command
    }

    /// Runs to the end. A run that was killed after its last checkpoint has nothing left to do, and says so.
    fn finish(&self, out: &str) {
        let output = self.command(out).output().expect("the program starts");
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || words.contains("has its 5 epochs"), "{words}");
    }

    fn model(&self, out: &str) -> Vec<u8> {
        std::fs::read(self.directory.path().join(out).join("checkpoint.safetensors")).expect("a checkpoint")
    }
}

/// A run counts where SIGKILL found the program still running: one that had ended by itself proves nothing.
fn killed_runs_end_in_the_same_bits(engine: &'static str) {
    let wanted = std::env::var("BN_LENET_KILLS").map_or(4, |text| text.parse().expect("a number of runs"));
    let desk = Desk::new(engine);
    let started = Instant::now();
    desk.finish("whole");
    let mut longest = started.elapsed();
    let (expected, mut random, mut runs, mut kills, mut tries) = (desk.model("whole"), 1_u64, 0, 0, 0);
    while runs < wanted {
        tries += 1;
        assert!(tries <= 20 + 4 * wanted, "{engine}: {kills} kills in {tries} runs came in time");
        let mut landed = 0;
        // Twice: the second kill hits a run that was resumed.
        for _ in 0..2 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut child = desk.command("run").stderr(Stdio::null()).spawn().expect("the program starts");
            std::thread::sleep(longest.mul_f64((random >> 33) as f64 / f64::from(1_u32 << 31)));
            child.kill().expect("SIGKILL");
            let killed = child.wait().expect("a child").signal() == Some(9);
            // The machine may be busier or quieter than it was: follow it, so that a few kills come too late.
            longest = longest.mul_f64(if killed { 1.03 } else { 0.9 });
            landed += usize::from(killed);
        }
        desk.finish("run");
        assert!(desk.model("run") == expected, "{engine}, run {tries}: another model");
        std::fs::remove_dir_all(desk.directory.path().join("run")).expect("a run's directory");
        runs += usize::from(landed > 0);
        kills += landed;
    }
    println!("engine {engine}: {runs} runs, killed {kills} times in {:.0?}, the same bits", started.elapsed());
}

#[test]
fn killed_runs_of_the_cpu_engine_end_in_the_same_bits() {
    killed_runs_end_in_the_same_bits("cpu");
}

#[test]
fn killed_runs_of_the_reference_engine_end_in_the_same_bits() {
    killed_runs_end_in_the_same_bits("reference");
}
