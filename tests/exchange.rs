//! Models that travel: what PyTorch's exporters wrote imports, to PyTorch's logits; what `export` writes for other programs
//! gives them in ONNX Runtime, which pip fetches into the target directory.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bn_core::Image;
use host_trainer::exchange::{Form, Format, ImportOptions, Imported, Source, import, to_bytes};
use host_trainer::export::Networks;
use host_trainer::model::inference;
use host_trainer::train::checkpoint::Checkpoint;
use tests::{fashion_mnist, golden, skipped};

/// Largest difference of a logit from PyTorch's.
const LOGITS_ATOL: f32 = 1e-4;
/// What tests/onnx_runtime.py needs.
const PACKAGES: [&str; 2] = ["onnxruntime==1.32.0", "numpy==2.4.6"];

fn path_of(golden: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(golden)
}

fn imported(name: &str) -> Imported {
    import(&path_of(name), ImportOptions::default()).unwrap()
}

/// PyTorch's logits of the trained model, ten an image.
fn expected() -> Vec<f32> {
    golden("trained_test_logits_f32.bin").as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |worst, d| if d.is_nan() { d } else { worst.max(d) })
}

/// What each exporter of PyTorch makes of BatchNorm.
const WRITTEN_BY_PYTORCH: [(&str, &[&str]); 3] = [
    ("onnx/dynamo.onnx", &["1", "5", "10", "13"]),
    ("onnx/dynamo_plain.onnx", &[]),
    ("onnx/torchscript.onnx", &["1", "5"]),
];

#[test]
fn onnx_files_that_pytorch_wrote_have_pytorchs_parameters() {
    let state_dict = imported("trained.safetensors").checkpoint.parameters.to_lenet();
    for (name, folded) in WRITTEN_BY_PYTORCH {
        let onnx = imported(name);
        assert_eq!((onnx.source, &onnx.folded[..]), (Source::Onnx, folded), "{name}");
        let net = onnx.checkpoint.parameters.to_lenet();
        if folded.is_empty() {
            assert_eq!(*net, *state_dict, "{name}: nothing is computed, so nothing is rounded");
        } else {
            assert_eq!(net.linear3, state_dict.linear3, "{name}");
            let (ours, theirs) = (state_dict.fold(), net.fold());
            assert!(largest_difference(ours.linear1.flat(), theirs.linear1.flat()) < 1e-5, "{name}");
        }
    }
}

#[test]
fn onnx_files_that_pytorch_wrote_have_pytorchs_logits() {
    let Some(dataset) = fashion_mnist() else { return };
    for (name, _) in WRITTEN_BY_PYTORCH {
        let nets = Networks::new(&imported(name).checkpoint.parameters);
        let images = &dataset.test.images;
        for logits in [inference::unfolded(&nets.unfolded, images), inference::folded(&nets.folded, images)] {
            let worst = largest_difference(logits.as_flattened(), &expected());
            assert!(worst <= LOGITS_ATOL, "{name}: a logit differs by {worst}");
        }
    }
}

/// PyTorch's state_dict in, ONNX out, ONNX Runtime on it: the logits are PyTorch's and ours, on every test image.
#[test]
fn onnx_runtime_computes_the_logits_of_exported_files() {
    let Some(dataset) = fashion_mnist() else { return };
    let Some(python) = onnx_runtime() else { return };
    let directory = tempfile::tempdir().unwrap();
    let checkpoint = imported("trained.safetensors").checkpoint;
    let forms = [(Form::Unfolded, "unfolded.onnx"), (Form::Folded, "folded.onnx")];
    let files = forms.map(|(form, name)| {
        let file = directory.path().join(name);
        std::fs::write(&file, to_bytes(&checkpoint, Format::Onnx, form).unwrap()).unwrap();
        file
    });
    let ours = our_logits(&checkpoint, &dataset.test.images);
    for (file, ours) in files.iter().zip(&ours) {
        let theirs = python.logits(directory.path(), &dataset.test.images, file);
        let (from_pytorch, from_us) = (largest_difference(&theirs, &expected()), largest_difference(&theirs, ours));
        eprintln!("{}: largest difference {from_pytorch:e} from PyTorch, {from_us:e} from us", file.display());
        assert!(from_pytorch <= LOGITS_ATOL && from_us <= LOGITS_ATOL, "{}", file.display());
    }
}

/// Unfolded and folded.
fn our_logits(checkpoint: &Checkpoint, images: &[Image]) -> [Vec<f32>; 2] {
    let nets = Networks::new(&checkpoint.parameters);
    [inference::unfolded(&nets.unfolded, images), inference::folded(&nets.folded, images)]
        .map(|logits| logits.as_flattened().to_vec())
}

/// An interpreter that can import ONNX Runtime.
struct Python {
    program: PathBuf,
    /// Where the packages lie, if not with the interpreter.
    packages: Option<PathBuf>,
}

impl Python {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(packages) = &self.packages {
            command.env("PYTHONPATH", packages);
        }
        command.stdin(Stdio::null());
        command
    }

    fn imports(&self) -> bool {
        let output = self.command().args(["-c", "import numpy, onnxruntime"]).output();
        output.is_ok_and(|output| output.status.success())
    }

    fn logits(&self, directory: &Path, images: &[Image], model: &Path) -> Vec<f32> {
        let raw = directory.join("images");
        std::fs::write(&raw, images.as_flattened().as_flattened()).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("onnx_runtime.py");
        let output = self.command().arg(script).arg(raw).arg(model).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let logits = std::fs::read(model.with_extension("onnx.logits")).unwrap();
        logits.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
    }
}

/// `PEERS_PYTHON` or `python3` as it is, or with packages of our own.
fn onnx_runtime() -> Option<Python> {
    let program = PathBuf::from(std::env::var_os("PEERS_PYTHON").unwrap_or_else(|| "python3".into()));
    let as_it_is = Python { program: program.clone(), packages: None };
    if as_it_is.imports() {
        return Some(as_it_is);
    }
    let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).join(PACKAGES.join("-"));
    let python = Python { program, packages: Some(packages.clone()) };
    if python.imports() || (install(&as_it_is, &packages) && python.imports()) {
        return Some(python);
    }
    let remedy = format!("install python3 with pip, or type: pip install {}", PACKAGES.join(" "));
    skipped("ONNX Runtime is not there and pip could not fetch it", &remedy);
    None
}

/// Fetches the packages beside their place and renames them, so that nobody finds half of them.
fn install(python: &Python, packages: &Path) -> bool {
    let Ok(beside) = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")) else { return false };
    let place = beside.path().join("packages");
    let mut pip = python.command();
    let quietly = ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore"];
    pip.args(["-m", "pip", "install"]).args(quietly).arg("--target").arg(&place).args(PACKAGES);
    let installed = pip.stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    // Another process may have been faster; its packages are as good.
    installed && (std::fs::rename(&place, packages).is_ok() || packages.exists())
}
