//! Models that travel: what PyTorch's exporters wrote imports, to PyTorch's logits; what `export` writes for other programs
//! gives them in ONNX Runtime, which pip fetches into the target directory.

use std::path::{Path, PathBuf};

use host_trainer::data::Inputs;
use host_trainer::exchange::{Form, Format, ImportOptions, Imported, Source, import, to_bytes};
use host_trainer::model::fold::fold;
use host_trainer::model::inference::{self, samples};
use host_trainer::model::input::gather;
use host_trainer::model::lenet::to_lenet;
use host_trainer::network::Network;
use host_trainer::train::checkpoint::Checkpoint;
use tests::{fashion_mnist, golden};

use crate::onnx_runtime::onnx_runtime;

/// Largest difference of a logit from PyTorch's.
const LOGITS_ATOL: f32 = 1e-4;

fn path_of(golden: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(golden)
}

fn imported(name: &str) -> Imported {
    import(&path_of(name), &ImportOptions::default()).unwrap()
}

/// PyTorch's logits of the trained model, ten an image.
fn expected() -> Vec<f32> {
    golden("trained_test_logits_f32.bin").as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |worst, d| if d.is_nan() { d } else { worst.max(d) })
}

/// What each exporter of PyTorch leaves of the four BatchNorms.
const WRITTEN_BY_PYTORCH: [(&str, usize); 3] =
    [("onnx/dynamo.onnx", 0), ("onnx/dynamo_plain.onnx", 4), ("onnx/torchscript.onnx", 2)];

#[test]
fn onnx_files_that_pytorch_wrote_have_pytorchs_parameters() {
    let lenet = |name: &str| to_lenet(&imported(name).checkpoint.parameters).expect("LeNet");
    let state_dict = lenet("trained.safetensors");
    for (name, batch_norms) in WRITTEN_BY_PYTORCH {
        let onnx = imported(name);
        let found = onnx.checkpoint.parameters.network.batch_norms().count();
        assert_eq!((onnx.source, found), (Source::Onnx, batch_norms), "{name}");
        let net = lenet(name);
        if batch_norms == 4 {
            assert_eq!(*net, *state_dict, "{name}: nothing is computed, so nothing is rounded");
        } else {
            assert_eq!(net.linear3, state_dict.linear3, "{name}");
            let (ours, theirs) = (state_dict.fold(), net.fold());
            assert!(largest_difference(ours.linear1.flat(), theirs.linear1.flat()) < 1e-5, "{name}");
        }
    }
}

#[test]
#[cfg_attr(not(fashion_mnist), ignore = "needs Fashion-MNIST: `cargo trainer data` fetches it")]
fn onnx_files_that_pytorch_wrote_have_pytorchs_logits() {
    let dataset = fashion_mnist();
    for (name, _) in WRITTEN_BY_PYTORCH {
        for logits in our_logits(&imported(name).checkpoint, &dataset.test.inputs) {
            let worst = largest_difference(&logits, &expected());
            assert!(worst <= LOGITS_ATOL, "{name}: a logit differs by {worst}");
        }
    }
}

/// PyTorch's state_dict in, ONNX out, ONNX Runtime on it: the logits are PyTorch's and ours, on every test image.
#[test]
#[ignore = "fetches ONNX Runtime; `.ci/run exchange` runs it"]
fn onnx_runtime_computes_the_logits_of_exported_files() {
    let dataset = fashion_mnist();
    let python = onnx_runtime();
    let directory = tempfile::tempdir().unwrap();
    let checkpoint = imported("trained.safetensors").checkpoint;
    let forms = [(Form::Unfolded, "unfolded.onnx"), (Form::Folded, "folded.onnx")];
    let files = forms.map(|(form, name)| {
        let file = directory.path().join(name);
        std::fs::write(&file, to_bytes(&checkpoint, Format::Onnx, form).unwrap()).unwrap();
        file
    });
    let inputs = &dataset.test.inputs;
    let read = gather(&Network::lenet(), inputs, samples(0..inputs.len()));
    for (file, ours) in files.iter().zip(&our_logits(&checkpoint, inputs)) {
        let theirs = python.outputs(&read, file);
        let (from_pytorch, from_us) = (largest_difference(&theirs, &expected()), largest_difference(&theirs, ours));
        eprintln!("{}: largest difference {from_pytorch:e} from PyTorch, {from_us:e} from us", file.display());
        assert!(from_pytorch <= LOGITS_ATOL && from_us <= LOGITS_ATOL, "{}", file.display());
    }
}

/// Unfolded and folded.
fn our_logits(checkpoint: &Checkpoint, inputs: &Inputs) -> [Vec<f32>; 2] {
    let parameters = &checkpoint.parameters;
    [inference::outputs(parameters, inputs), inference::folded_outputs(&fold(parameters), inputs)]
        .map(|outputs| outputs.values().to_vec())
}
