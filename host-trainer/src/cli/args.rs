//! Verbs and their flags; those that several verbs have are in `shared_args`. The texts here are `--help`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::classify::ClassifyArgs;
use super::compare::CompareArgs;
use super::data::DataVerbArgs;
use super::doctor::DoctorArgs;
use super::goal_args::GoalArgs;
use super::init::InitArgs;
use super::inspect::InspectArgs;
use super::library::LibraryArgs;
use super::plan::PlanArgs;
use super::predict::PredictArgs;
use super::recipe_args::{RecipeArgs, TeachingArgs};
use super::reestimate::ReestimateArgs;
use super::shared_args::{ConsoleArgs, DataArgs, QatArgs, between_0_and_1, positive, ratio};
use crate::data::own::rule::DEFAULT_SHARE;
use crate::device::board::Board;
use crate::device::emulate::Machine;
use crate::device::firmware::Build;
use crate::engine::EngineName;
use crate::exchange::Format;
use crate::export::DEFAULT_LIMIT;
use crate::model::parameters::Variance;

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    a tool or a disk failed, or two implementations disagree: not the input's fault
  2    bad input: the command line, a damaged file, a model that must not be exported
  3    something is missing; the message has the command that installs or fetches it
  4    training diverged: the loss is no longer finite
  130  interrupted; what was done is saved

Results go to stdout, progress and notices to stderr. Colours are for terminals only, and
NO_COLOR turns them off.";

/// Trains d2l's BatchNorm LeNet on Fashion-MNIST, exports it as integers, and runs it on an emulated microcontroller
#[derive(Debug, Parser)]
#[command(name = "host-trainer", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a model; writes a checkpoint, the epochs' figures and their curves into a run directory
    Train(Box<TrainArgs>),
    /// Train networks that differ in a few things, with several seeds, and draw their curves in one picture
    Compare(Box<CompareArgs>),
    /// Classify the test images with a model, as f32 and as integers, and compare
    Evaluate(EvaluateArgs),
    /// Say what pictures show: their classes with bars, what was done to each picture, and what the network saw of it
    Classify(ClassifyArgs),
    /// Turn a checkpoint into the integers of a weights.bin, prove them, and verify the file; or write it for other programs
    Export(ExportArgs),
    /// Turn another program's model, a PyTorch state_dict (safetensors) or ONNX, into a checkpoint
    Import(ImportArgs),
    /// Write an untrained model of a network, with statistics from seeded noise: for measuring what a network takes
    Init(InitArgs),
    /// Compute a model's outputs in f32 for inputs from a file
    Predict(PredictArgs),
    /// Replace BatchNorm's moving statistics in a checkpoint by the exact ones of the training images; say what that changes
    Reestimate(ReestimateArgs),
    /// Show what is in a checkpoint or a weights.bin, or what a network is made of
    Inspect(InspectArgs),
    /// Show what the device will run: each layer's kernel, work and bytes, and the memory as a picture
    Plan(PlanArgs),
    /// Write one HTML file about a run, or about a comparison: curves, BatchNorm, mistakes, quantiser, device
    Report(ReportArgs),
    /// Run a weights.bin in the emulated microcontroller and compare every layer's every output with the host's
    Emulate(EmulateArgs),
    /// Write a weights.bin as a static library for C, with its header
    Library(LibraryArgs),
    /// Flash the demo onto a connected board and show its log
    Board(BoardArgs),
    /// Everything: data, training, export, firmware, emulator, and a few classified images. Takes the built-in garments where
    /// Fashion-MNIST cannot be had, and says so
    Demo(DemoArgs),
    /// Find or fetch a data set, check it, and say where it lies
    Data(DataVerbArgs),
    /// Say what is here, what is missing, and the command that mends it
    Doctor(DoctorArgs),
}

/// `train`.
#[derive(Args, Debug)]
pub struct TrainArgs {
    /// What is trained: a shipped network's name, or a .net file [default: lenet]
    #[arg(long, value_name = "FILE|NAME", conflicts_with = "resume")]
    pub network: Option<String>,
    /// What trains [default: auto; of a resumed run, the engine it began on]
    #[arg(long, value_enum)]
    pub engine: Option<EngineName>,
    #[command(flatten)]
    pub data: DataArgs,
    /// Fixes everything random: initial weights and the order of the examples. Same seed, same device, same bits
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "resume")]
    pub seed: u64,
    /// Which variance the running statistics track
    #[arg(long, value_enum, default_value = "biased", conflicts_with = "resume")]
    pub variance: Variance,
    /// BatchNorm's eps [default: the network's]
    #[arg(long, conflicts_with = "resume", value_parser = between_0_and_1)]
    pub eps: Option<f64>,
    #[command(flatten)]
    pub recipe: RecipeArgs,
    #[command(flatten)]
    pub teaching: TeachingArgs,
    /// Hold out the last N training examples and test on them instead of the test examples: for choosing between recipes. Of data without
    /// test examples they are the test examples
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "resume")]
    pub holdout: usize,
    /// The share of each class that tests, of data that has no test examples of its own
    #[arg(long, value_name = "SHARE", default_value_t = DEFAULT_SHARE, value_parser = between_0_and_1,
          conflicts_with_all = ["resume", "holdout"])]
    pub test_share: f64,
    /// Draws the examples of --test-share
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with_all = ["resume", "holdout"])]
    pub split_seed: u64,
    /// Continue the run in this directory, to the same bits as if it had not stopped
    #[arg(long, value_name = "RUN", conflicts_with = "out")]
    pub resume: Option<PathBuf>,
    /// Directory of the run [default: runs/DATASET-ENGINE-seedN]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Replace a run that lies in that directory
    #[arg(long, conflicts_with = "resume")]
    pub force: bool,
    #[command(flatten)]
    pub console: ConsoleArgs,
}

/// `evaluate`.
#[derive(Args, Debug)]
pub struct EvaluateArgs {
    /// A checkpoint, or a weights.bin
    pub file: PathBuf,
    /// With a weights.bin: the checkpoint it was exported from, to compare with
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    #[command(flatten)]
    pub data: DataArgs,
    /// Classify the first N test images [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub images: Option<u64>,
    /// Write FILE's logits here, little-endian f32, ten an image (of a checkpoint: f32 unfolded)
    #[arg(long, value_name = "OUT")]
    pub logits: Option<PathBuf>,
    /// Print one JSON object on stdout instead of text
    #[arg(long)]
    pub json: bool,
}

/// `export`.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// The checkpoint
    pub checkpoint: PathBuf,
    /// Where it goes
    #[arg(long, value_name = "FILE", default_value = "weights.bin")]
    pub out: PathBuf,
    /// What to write [default: by the name of FILE: .bin, .safetensors or .onnx]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// With safetensors and onnx: fold BatchNorm into the layers before it. A weights.bin is always folded
    #[arg(long)]
    pub folded: bool,
    #[command(flatten)]
    pub data: DataArgs,
    /// What calibrates the integers, in place of the training examples: a data set of one's own, a file as `predict` takes it, or
    /// seeded noise, which needs no data and fits nothing well
    #[arg(long, value_name = "DATA|FILE|noise", conflicts_with_all = ["data", "data_dir"])]
    pub calibrate: Option<String>,
    /// Refuse to export when the integers lose more accuracy than this on the calibration images, in percentage points
    #[arg(long, value_name = "POINTS", default_value_t = DEFAULT_LIMIT, value_parser = positive)]
    pub limit: f64,
    /// With a weights.bin: keep channels that have one integer value for every input. Otherwise they leave the network, and no bit
    /// of the others changes
    #[arg(long)]
    pub keep_dead: bool,
    /// With a weights.bin: keep the plan of this one, so that a firmware built with it takes the new file as well. Refused, with the
    /// layer, where the network has another shape
    #[arg(long, value_name = "OLD.bin", conflicts_with_all = ["keep_dead", "core", "flash", "ram"])]
    pub plan: Option<PathBuf>,
    #[command(flatten)]
    pub goal: GoalArgs,
    #[command(flatten)]
    pub qat: QatArgs,
    /// Print one JSON object on stdout instead of text
    #[arg(long)]
    pub json: bool,
}

/// `import`.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// An ONNX file; or a state_dict in safetensors, with nn.BatchNorm's names or d2l's own (gamma, beta, moving_mean, moving_var).
    /// BatchNorm may be folded
    pub file: PathBuf,
    /// The network of a state_dict: a shipped one's name, or a .net file [default: lenet]
    #[arg(long, value_name = "FILE|NAME")]
    pub network: Option<String>,
    /// What raw values are multiplied by before the network reads them: 1/255, or 0.5 [default: the network's, 1 for ONNX]
    #[arg(long, value_name = "S", value_parser = ratio)]
    pub scale: Option<(f32, f32)>,
    /// What is taken off after that: one number, or one a channel [default: the network's, 0 for ONNX]
    #[arg(long, value_name = "M,..", value_delimiter = ',', allow_negative_numbers = true)]
    pub mean: Option<Vec<f32>>,
    /// What is divided by in the end: one number, or one a channel [default: the network's, 1 for ONNX]
    #[arg(long, value_name = "S,..", value_delimiter = ',')]
    pub std: Option<Vec<f32>>,
    /// Names of the classes, by label [default: the network's, none for ONNX]
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    pub classes: Option<Vec<String>>,
    /// Where the checkpoint goes
    #[arg(long, value_name = "CHECKPOINT")]
    pub out: PathBuf,
    /// BatchNorm's eps, which a state_dict does not hold [default: the network's]
    #[arg(long, value_parser = between_0_and_1)]
    pub eps: Option<f64>,
    /// Which variance the running statistics hold [default: unbiased for nn.BatchNorm's names, biased for d2l's]
    #[arg(long, value_enum)]
    pub variance: Option<Variance>,
    /// Replace a file that is there
    #[arg(long)]
    pub force: bool,
    /// Print one JSON object on stdout instead of text
    #[arg(long)]
    pub json: bool,
}

/// `report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// The directory of a run, that of `train` or `demo` or any with a checkpoint.safetensors, or of a comparison
    pub run: PathBuf,
    /// Where the report goes [default: RUN/report.html]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub data: DataArgs,
    /// Classify the first N test images [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub images: Option<u64>,
    /// QEMU's machine, or WebAssembly in Node.js
    #[arg(long, value_enum, default_value_t)]
    pub machine: Machine,
    /// Leave the emulated device out; the report says so
    #[arg(long, conflicts_with = "machine")]
    pub host_only: bool,
    #[command(flatten)]
    pub qat: QatArgs,
    /// Print one JSON object on stdout instead of text
    #[arg(long)]
    pub json: bool,
}

impl ReportArgs {
    /// Whether a flag was given that is about a model.
    pub fn names_a_model(&self) -> bool {
        let DataArgs { dataset, data_dir, data, no_checksum } = &self.data;
        let names_data = dataset.is_some() || data_dir.is_some() || data.is_some() || *no_checksum;
        names_data || self.images.is_some() || self.machine != Machine::default() || self.host_only || self.qat.qat
    }
}

/// `emulate`.
#[derive(Args, Debug)]
pub struct EmulateArgs {
    /// The integers to run [default: those that the repository ships]
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// QEMU's machine, or WebAssembly in Node.js
    #[arg(long, value_enum, default_value_t)]
    pub machine: Machine,
    /// Take the small build, for parts with little flash and RAM; the core needs the DSP extension
    #[arg(long, conflicts_with = "portable")]
    pub small: bool,
    /// Force the portable path where the core has a faster one
    #[arg(long)]
    pub portable: bool,
    /// Show what each layer takes, with a model of a Cortex-M4's cycles, beside CMSIS-NN, and what folding BatchNorm saves
    #[arg(long)]
    pub profile: bool,
    /// The profile's f32 network: a checkpoint [default: PyTorch's trained model of tests/golden]
    #[arg(long, value_name = "FILE", requires = "profile")]
    pub checkpoint: Option<PathBuf>,
    /// Take these inputs in place of a data set, without labels: before any preprocessing, as `predict` takes them. u8 are the device's
    /// codes, f32 become codes
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dataset", "data_dir", "no_checksum", "data"])]
    pub inputs: Option<PathBuf>,
    /// Classify the first N test images, or inputs [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub images: Option<u64>,
    /// Go through the images N times without a restart; the report counts every inference
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "profile")]
    pub repeat: u32,
    #[command(flatten)]
    pub data: DataArgs,
    /// Run the program that `board` flashes instead, which classifies a few images baked into it, and show its log
    #[arg(long, conflicts_with_all = ["images", "inputs", "dataset", "data_dir", "no_checksum", "json"])]
    pub demo: bool,
    /// Run this built program of the firmware instead and show its log; `cargo run` with the firmware's target does so
    #[arg(long, hide = true, value_name = "ELF", conflicts_with_all = ["weights", "images", "inputs", "dataset", "data_dir", "no_checksum", "json", "demo"])]
    pub elf: Option<PathBuf>,
    /// Print one JSON object on stdout instead of text
    #[arg(long)]
    pub json: bool,
}

impl EmulateArgs {
    /// Which build of the network.
    pub fn build(&self) -> Build {
        match (self.small, self.portable) {
            (true, _) => Build::Small,
            (_, true) => Build::Portable,
            _ => Build::Default,
        }
    }
}

/// `board`.
#[derive(Args, Debug)]
pub struct BoardArgs {
    /// Which board
    #[arg(long, value_enum, default_value_t)]
    pub board: Board,
    /// The integers to flash [default: those that the repository ships]
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
}

/// `demo`.
#[derive(Args, Debug)]
pub struct DemoArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Passes over the training examples [default: the chapter's 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub epochs: Option<u64>,
    /// Classify the first N test images with the exported model and in the emulator [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub images: Option<u64>,
    /// Directory for what is made; a demo that lies there is replaced
    #[arg(long, value_name = "DIR", default_value = "runs/demo")]
    pub out: PathBuf,
    #[command(flatten)]
    pub console: ConsoleArgs,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn resume_takes_no_flag_that_the_run_has_fixed() {
        for flag in
            ["--seed=1", "--variance=unbiased", "--recipe=seed", "--batch-size=8", "--lr=0.5", "--out=x", "--force"]
        {
            assert!(Cli::try_parse_from(["host-trainer", "train", "--resume", "r", flag]).is_err(), "{flag}");
        }
        assert!(Cli::try_parse_from(["host-trainer", "train", "--resume", "r", "--epochs", "20"]).is_ok());
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused() {
        for flag in
            ["--lr=0", "--lr=-1", "--lr=nan", "--lr=inf", "--epochs=0", "--batch-size=1", "--seed=-1", "--recipe=x"]
        {
            assert!(Cli::try_parse_from(["host-trainer", "train", flag]).is_err(), "{flag}");
        }
    }
}
